"""What every part of the stack file shares: strict, frozen, and with mistakes in plain words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from llmfleet.config.ports import Ports
from llmfleet.config.wording import plain
from llmfleet.words import choices, shown


def mistake(text: str, key: str = "") -> PydanticCustomError:
    """Return an error for a validator to raise.

    Args:
        text: What was found, what is allowed, what to do.
        key: The field below the validated value that is to blame.
    """
    return PydanticCustomError("mistake", "{text}", {"text": text, "key": key})


class Part(BaseModel):
    """One mapping of the stack file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def local_ports(self) -> tuple[Ports, ...]:
        """Return the ports that the part takes on this machine."""
        return ()

    @field_validator("*", mode="before")
    @classmethod
    def _as_integer(cls, value: object) -> object:
        # Protobuf, through which Pulumi hands values to components, has no integers: 2 arrives as 2.0.
        return int(value) if isinstance(value, float) and value.is_integer() else value

    @model_validator(mode="wrap")
    @classmethod
    def _speak_plainly(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        # Only here it is known which fields there are, and so which one an unknown field was meant to be.
        try:
            return validate(value)
        except ValidationError as error:
            details = [
                InitErrorDetails(type=mistake(text), loc=loc, input=found) for loc, text, found in _reworded(cls, error)
            ]
            raise ValidationError.from_exception_data(cls.__name__, details) from None


def _reworded(part: type[Part], error: ValidationError) -> Iterable[tuple[tuple[int | str, ...], str, object]]:
    for entry in error.errors(include_url=False):
        if entry["type"] == "default_factory_not_called" or (entry["type"] == "too_short" and entry["input"]):
            continue  # what is to blame is told beside it: another field, or the items of the list
        loc = untagged(entry["loc"])
        if entry["type"] == "invalid_key":  # a number, say, which is no position in a list here
            loc = (*loc[:-1], str(loc[-1]))
        if key := entry.get("ctx", {}).get("key"):
            loc += (key,)
        yield loc, plain(part.model_fields, {**entry, "loc": loc}), entry["input"]


Whole = Annotated[int, Field(strict=True)]
"""A whole number; neither "2" nor true."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A number; neither "2" nor true, inf or nan."""
Port = Annotated[Whole, Field(ge=1, le=65535)]
"""A TCP port."""


@dataclass(frozen=True)
class ByKind:
    """Marks a union of parts whose field `kind` says which one is meant: `Annotated[LocalPool | AwsPool, ByKind()]`.

    Pydantic's own discriminator refuses a union of one, and its texts name classes.
    """

    default: str | None = None
    """The kind that is meant when none is given."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's tagged union with our own texts in front."""
        parts = {get_args(part.model_fields["kind"].annotation)[0]: part for part in get_args(source) or (source,)}

        def check(value: object) -> object:
            if isinstance(value, tuple(parts.values())):
                return value
            if not isinstance(value, dict):
                raise mistake(f"found {shown(value)}; needs a mapping like {{kind: {next(iter(parts))}}}")
            if "kind" not in value and self.default is None:
                raise mistake(f"missing; allowed: {', '.join(parts)}", "kind")
            kind = value.get("kind", self.default)
            if not isinstance(kind, str) or kind not in parts:
                raise mistake(f"found {shown(kind)}; {choices(kind, parts)}", "kind")
            return value

        def tag(value: Any) -> str:
            return _tag(str(value.get("kind", self.default) if isinstance(value, dict) else value.kind))

        union = core_schema.tagged_union_schema(
            {_tag(kind): handler.generate_schema(part) for kind, part in parts.items()}, tag
        )
        return core_schema.no_info_before_validator_function(check, union)


# Pydantic puts the tag into an error's path, where it must not be taken for a key of the file.
def _tag(kind: str) -> str:
    return f"\0{kind}"


def untagged(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the path of one of pydantic's errors as the file has it."""
    return tuple(step for step in loc if not (isinstance(step, str) and step.startswith("\0")))
