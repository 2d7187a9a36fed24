"""What is right in a stack file that has mistakes, so that mistakes between parts are told in the same run."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from llmfleet.config.conflicts import Facts
from llmfleet.config.gateway import Gateway
from llmfleet.config.model import Model
from llmfleet.config.part import Part, untagged
from llmfleet.config.pools import Pool
from llmfleet.config.ports import Ports
from llmfleet.config.queues import Queue
from llmfleet.config.schedule import Window

T = TypeVar("T")


def facts(value: object) -> Facts:
    """Return what is known of a file's parts, without the fields that have mistakes of their own."""
    fields = value if isinstance(value, dict) else {}
    names = tuple(dict.fromkeys(_raw_names(fields.get("models"))))
    models = dict(_each(Model, fields.get("models")))
    pools = dict(_each(Pool, fields.get("pools")))
    schedule = fields.get("schedule")
    windows = schedule.get("windows") if isinstance(schedule, dict) else ()
    return Facts(
        models={index: model.name for index, (model, _) in models.items()},
        known_models=frozenset(names),
        pools={index: pool.name for index, (pool, _) in pools.items()},
        asked={index: pool.models for index, (pool, wrong) in pools.items() if "models" not in wrong},
        ports=(
            *_ports("gateway", *_salvaged(TypeAdapter(Gateway), fields.get("gateway", {}))),
            *_ports("queue", *_salvaged(TypeAdapter(Queue), fields.get("queue", {}))),
            *(
                ports
                for index, (pool, wrong) in pools.items()
                for ports in _ports(f"pools[{index}]", pool.model_copy(update={"models": pool.models or names}), wrong)
            ),
        ),
        windows={index: window for index, (window, _) in _each(Window, windows, replicas=0)},
    )


def _ports(path: str, part: Part | None, wrong: frozenset[str]) -> Iterator[Ports]:
    """Yield the ports of a part that follow from right fields only."""
    for ports in part.local_ports() if part else ():
        if not wrong & ports.follow_from:
            yield ports.below(path)


def _raw_names(models: object) -> tuple[str, ...]:
    names = (model.get("name") for model in models if isinstance(model, dict)) if isinstance(models, list) else ()
    return tuple(name for name in names if isinstance(name, str))


def _each(kind: Any, values: object, **stand_ins: object) -> Iterator[tuple[int, tuple[Any, frozenset[str]]]]:
    """Yield what can be saved of each item of a list, by position."""
    adapter = TypeAdapter[Any](kind)
    for index, value in enumerate(values if isinstance(values, list) else ()):
        found, wrong = _salvaged(adapter, value, stand_ins)
        if found is not None:
            yield index, (found, wrong)


def _salvaged(
    adapter: TypeAdapter[T], value: object, stand_ins: Mapping[str, object] = MappingProxyType({})
) -> tuple[T | None, frozenset[str]]:
    """Return a part without its wrong fields, and their names; None when it cannot be without them.

    Args:
        adapter: Reads the part.
        value: What to read.
        stand_ins: Values for required fields that are wrong or missing, and that nothing is compared by.
    """
    try:
        return adapter.validate_python(value), frozenset()
    except ValidationError as error:
        if not isinstance(value, dict):
            return None, frozenset()
        wrong = frozenset(str(loc[0]) for entry in error.errors() if (loc := untagged(entry["loc"])))
    kept = {key: item for key, item in value.items() if str(key) not in wrong}
    try:
        return adapter.validate_python({**stand_ins, **kept}), wrong
    except ValidationError:
        return None, wrong
