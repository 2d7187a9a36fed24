"""Models: what is served, from which weights, by which engine."""

from typing import Annotated

from pydantic import Field, field_validator

from llmfleet.config.engines import Engine, LlamaCppEngine
from llmfleet.config.part import Number, Part, Whole, mistake
from llmfleet.config.wording import MODEL_NAME
from llmfleet.errors import LocalError
from llmfleet.models.sources import DEFAULT, parse

ModelName = Annotated[str, Field(pattern=MODEL_NAME)]


class Profile(Part):
    """What is known of a model's speed."""

    requests_per_second_per_gpu: Annotated[Number, Field(gt=0)] | None = None
    """Requests that one GPU serves per second. Default: unknown."""


class Model(Part):
    """A model that the fleet serves."""

    name: ModelName = Field(examples=["smollm2"])
    """As clients ask for it; unique in the fleet."""
    source: str = DEFAULT
    """The weights: embedded://smollm2-135m (default), file:///path/model.gguf or hf://org/repo[/file]."""
    engine: Engine = LlamaCppEngine()
    """What serves it. Default: {kind: llamacpp}."""
    context: Annotated[Whole, Field(ge=16, le=10_000_000)] = 2048
    """Tokens of prompt and answer together, for each slot. Default 2048."""
    profile: Profile | None = None
    """Its speed, for planning. Default: unknown."""

    @field_validator("source")
    @classmethod
    def _source_can_be_read(cls, source: str) -> str:
        try:
            parse(source)
        except LocalError as error:
            raise mistake(str(error)) from error
        return source
