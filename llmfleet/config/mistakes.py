"""Mistakes of a stack file and how they are told."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmfleet.errors import ConfigError
from llmfleet.words import cut, shown

_MOST_ROWS = 50
_WIDEST_PATH = 48
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}")


@dataclass(frozen=True)
class Mistake:
    """One thing to change."""

    path: str
    """Where, like pools[1].machine_types; empty for the whole value."""
    text: str
    """What was found, what is allowed, what to do; may have several lines."""


class FleetError(ConfigError):
    """A stack file is wrong."""

    def __init__(self, where: str, mistakes: Sequence[Mistake]) -> None:
        """Describe the mistakes.

        Args:
            where: The file, or what else was read.
            mistakes: At least one, in the order of the file.
        """
        self.mistakes = tuple(mistakes)
        """Every mistake."""
        super().__init__(table(where, self.mistakes))


def table(where: str, mistakes: Sequence[Mistake]) -> str:
    """Return a headline and a row for each mistake."""
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    rows = [(mistake.path or "llmfleet:fleet", mistake.text) for mistake in mistakes[:_MOST_ROWS]]
    width = min(max(len(path) for path, _ in rows), _WIDEST_PATH)
    indent = " " * (2 + width + 3)
    lines = [f"{where}: {count} in llmfleet:fleet", ""]
    for path, text in rows:
        head, *rest = text.splitlines()
        lines += [f"  {path:{width}}   {head}", *(f"{indent}{line}" for line in rest)]
    if len(mistakes) > _MOST_ROWS:
        lines += ["", f"  and {len(mistakes) - _MOST_ROWS} more"]
    # A lone surrogate, which YAML and JSON can hold, cannot be printed.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def path(steps: Iterable[int | str]) -> str:
    """Return the path of a value: pools[1].machine_types."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _PLAIN_KEY.fullmatch(step) else shown(cut(step, 40))
            text += f".{name}" if text else name
    return text
