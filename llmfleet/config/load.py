"""From the value of a stack file to a fleet, or to all of its mistakes."""

from collections.abc import Iterator

from pydantic import ValidationError

from llmfleet.config.conflicts import conflicts
from llmfleet.config.fleet import Fleet
from llmfleet.config.mistakes import FleetError, Mistake, path
from llmfleet.config.salvage import facts


def load_fleet(value: object, where: str = "stacks/Pulumi.<stack>.yaml") -> Fleet:
    """Return the fleet that a stack file's `llmfleet:fleet` describes.

    Args:
        value: What a YAML or JSON parser returned.
        where: The file's name, for the error's headline.

    Raises:
        FleetError: a ConfigError with every mistake at once, each with its path.
    """
    try:
        return Fleet.model_validate(value)
    except ValidationError as error:
        mistakes = list(_mistakes(error))
        if not any("mistakes" in entry.get("ctx", {}) for entry in error.errors()):
            # Pydantic compares parts only when each is right; the user shall see those mistakes at once too.
            mistakes += conflicts(facts(value))
    raise FleetError(where, _in_order(mistakes, value))


def _mistakes(error: ValidationError) -> Iterator[Mistake]:
    for entry in error.errors(include_url=False):
        if found := entry.get("ctx", {}).get("mistakes"):
            yield from found
        else:
            yield Mistake(path(entry["loc"]), entry["msg"])


def _in_order(mistakes: list[Mistake], value: object) -> list[Mistake]:
    """Sort by the file's own order of its uppermost fields; what is missing comes first."""
    fields = [str(key) for key in value] if isinstance(value, dict) else []

    def position(mistake: Mistake) -> tuple[int, int]:
        field, _, rest = mistake.path.partition("[")
        field = field.partition(".")[0]
        index = rest.partition("]")[0]
        return (fields.index(field) if field in fields else -1, int(index) if index.isdecimal() else -1)

    return sorted(mistakes, key=position)
