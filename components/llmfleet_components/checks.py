"""The arguments of components, checked with the stack file's own vocabulary."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pulumi
from pydantic import ValidationError

from llmfleet.config import Fleet, FleetError, Mistake, load_fleet
from llmfleet.config.mistakes import path
from llmfleet.config.part import Part

P = TypeVar("P", bound=Part)


def checked(component: str, name: str, part: type[P], values: Mapping[str, Any]) -> P:
    """Return the part that a component's arguments describe.

    Raises:
        pulumi.InputPropertiesError: with every mistake at once, each with its property path.
    """
    try:
        return part.model_validate(values)
    except ValidationError as error:
        mistakes = [Mistake(path(entry["loc"]), entry["msg"]) for entry in error.errors(include_url=False)]
        raise _refusal(component, name, mistakes) from error


def checked_fleet(name: str, values: Mapping[str, Any]) -> Fleet:
    """Return the fleet that a Fleet's arguments describe.

    Raises:
        pulumi.InputPropertiesError: with every mistake at once, each with its property path.
    """
    try:
        return load_fleet(values)
    except FleetError as error:
        raise _refusal("Fleet", name, error.mistakes) from error


def given(args: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return those of the keys that the arguments hold, so that defaults stay in one place."""
    return {key: args[key] for key in keys if key in args}


def _refusal(component: str, name: str, mistakes: Iterable[Mistake]) -> pulumi.InputPropertiesError:
    details: list[Any] = [{"property_path": mistake.path, "reason": mistake.text} for mistake in mistakes]
    # Pulumi shows the details to programs of other languages only, so the message has them too.
    lines = "".join(f"\n  {detail['property_path']}: {detail['reason']}" for detail in details)
    return pulumi.InputPropertiesError(f"{component} {name!r} cannot be created{lines}", details)
