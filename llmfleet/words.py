"""How a value and a choice read in an error's text."""

import difflib
from collections.abc import Iterable

_LONGEST = 60


def cut(text: str, longest: int = _LONGEST) -> str:
    """Return a text in at most `longest` characters, with "..." for what was left out."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shown(value: object) -> str:
    """Return a value of a YAML or JSON file in one short line: "text", 5, true, nothing, a list, a mapping."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(cut(value))
    if isinstance(value, int):
        # Python refuses to print an int of thousands of digits.
        return str(value) if abs(value) < 10**_LONGEST else "a number of more than 60 digits"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list" if value else "an empty list"
    return f"a {type(value).__name__}"


def listed(names: Iterable[str], conjunction: str = "and") -> str:
    """Return "a, b and c"."""
    *head, last = names
    return f"{', '.join(head)} {conjunction} {last}" if head else last


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a misspelt one most likely stands for."""
    by_folded = {_folded(name): name for name in known}
    found = difflib.get_close_matches(_folded(cut(word)), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def choices(word: object, known: Iterable[str]) -> str:
    """Return "did you mean b?" when that is likely, else "allowed: a, b, c"."""
    known = tuple(known)
    near = nearest(word, known) if isinstance(word, str) else None
    return f"did you mean {near}?" if near else f"allowed: {', '.join(known)}"


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")


def _quoted(text: str) -> str:
    # Line breaks, control characters and lone surrogates would break the table or the terminal.
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f'"{safe}"'
