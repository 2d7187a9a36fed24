"""What pools of every kind share."""

from typing import Annotated

from pydantic import Field

from llmfleet.config.model import ModelName
from llmfleet.config.part import Part
from llmfleet.config.wording import NAME

PoolName = Annotated[str, Field(pattern=NAME)]


class PoolPart(Part):
    """A group of equal replicas. A kind is a subclass with a literal field `kind`, in a module of its own."""

    name: PoolName = Field(examples=["east"])
    """Unique in the fleet."""
    models: tuple[ModelName, ...] = Field(default=(), min_length=1)
    """Names of the models that it serves. Default: all models of the fleet, which `Fleet` fills in."""
