"""The whole stack file."""

from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from llmfleet.config.conflicts import Facts, conflicts
from llmfleet.config.gateway import Gateway
from llmfleet.config.model import Model
from llmfleet.config.part import Number, Part
from llmfleet.config.pools import Pool
from llmfleet.config.queues import NatsQueue, Queue
from llmfleet.config.schedule import Schedule


class Budget(Part):
    """What the fleet may cost."""

    monthly_usd: Annotated[Number, Field(gt=0)] = Field(examples=["35000"])
    """US dollars per month."""


class Fleet(Part):
    """What is served, where, and by how much of it: the value `llmfleet:fleet` of a stack file."""

    models: tuple[Model, ...] = Field(min_length=1, examples=["[{name: smollm2}]"])
    """Models to serve, at least one."""
    pools: tuple[Pool, ...] = Field(min_length=1, examples=["[{name: east, kind: local}]"])
    """Where to serve them, at least one."""
    queue: Queue = NatsQueue()
    """What holds the orders. Default: NATS on its usual ports."""
    gateway: Gateway = Gateway()
    """Where clients reach the fleet. Default: 127.0.0.1:8080."""
    schedule: Schedule | None = None
    """Replicas by the time of day. Default: the pools' own counts, always."""
    budget: Budget | None = None
    """What the fleet may cost. Default: no limit."""

    @field_validator("pools")
    @classmethod
    def _fill_models(cls, pools: tuple[Pool, ...], info: ValidationInfo) -> tuple[Pool, ...]:
        names = tuple(dict.fromkeys(model.name for model in info.data.get("models", ())))
        return tuple(pool if pool.models else pool.model_copy(update={"models": names}) for pool in pools)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if found := conflicts(self._facts()):
            text = "\n".join(f"{mistake.path}: {mistake.text}" for mistake in found)
            raise PydanticCustomError("conflicts", "{text}", {"text": text, "mistakes": found})
        return self

    def _facts(self) -> Facts:
        parts: list[tuple[str, Part]] = [
            ("gateway", self.gateway),
            ("queue", self.queue),
            *((f"pools[{index}]", pool) for index, pool in enumerate(self.pools)),
        ]
        return Facts(
            models={index: model.name for index, model in enumerate(self.models)},
            known_models=frozenset(model.name for model in self.models),
            pools={index: pool.name for index, pool in enumerate(self.pools)},
            asked={index: pool.models for index, pool in enumerate(self.pools)},
            ports=tuple(ports.below(path) for path, part in parts for ports in part.local_ports()),
            windows=dict(enumerate(self.schedule.windows)) if self.schedule else {},
        )
