"""Pydantic's errors in the words of this project: what was found, what is allowed, what to do."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from llmfleet.words import nearest, shown

NAME = r"^[a-z][a-z0-9-]{0,30}$"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,126}$"
HOST = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
TIME_OR_MIDNIGHT = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"

_PATTERNS = {
    NAME: "small letters, digits and -, a letter first, at most 31 characters; for example us-east-1",
    MODEL_NAME: "letters, digits and . _ - : /, a letter or digit first, at most 127; for example llama-3.1-8b",
    HOST: "an IPv4 address or a host name; for example 127.0.0.1",
    TIME: "hours and minutes in quotes, 00:00 to 23:59; for example 08:30",
    TIME_OR_MIDNIGHT: "hours and minutes in quotes, 00:00 to 24:00; for example 20:00",
}


def plain(fields: Mapping[str, FieldInfo], entry: Mapping[str, Any]) -> str:
    """Return the text of one of pydantic's errors.

    Args:
        fields: The fields of the part in which it was found.
        entry: An entry of `ValidationError.errors()`, its `loc` relative to that part.
    """
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "mistake":
        return str(context["text"])
    key = entry["loc"][0] if entry["loc"] else None
    if kind == "extra_forbidden":
        near = nearest(str(key), fields)
        return f"unknown field; did you mean {near}?" if near else f"unknown field; known: {', '.join(fields)}"
    field = fields.get(key) if isinstance(key, str) else None
    if kind == "missing":
        return "missing" + (f"; for example {_example(key, field)}" if field and field.examples else "")
    word = _WORDS.get(kind)
    need = word(fields, field, context) if word else f"{entry['msg'][:1].lower()}{entry['msg'][1:]}"
    return f"found {shown(entry['input'])}; {need}{_hint(kind, entry['input'], field)}"


_Word = Callable[[Mapping[str, FieldInfo], FieldInfo | None, Mapping[str, Any]], str]
_WORDS: dict[str, _Word] = {
    **dict.fromkeys(("int_type", "int_parsing_size"), lambda _a, field, _c: f"needs a whole number{_range(field)}"),
    **dict.fromkeys(("float_type", "finite_number"), lambda _a, field, _c: f"needs a number{_range(field)}"),
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
        lambda _a, field, _c: f"allowed: {_range(field)[2:]}",
    ),
    **dict.fromkeys(("string_type", "string_unicode"), lambda _a, _f, _c: "needs text"),
    "string_pattern_mismatch": lambda _a, _f, context: f"allowed: {_PATTERNS[context['pattern']]}",
    "literal_error": lambda _a, _f, context: f"allowed: {context['expected']}",
    **dict.fromkeys(("tuple_type", "list_type"), lambda _a, _f, _c: "needs a list"),
    "too_short": lambda _a, _f, context: f"needs at least {context['min_length']}",
    "too_long": lambda _a, _f, context: f"allowed: at most {context['max_length']}",
    **dict.fromkeys(
        ("model_type", "dict_type"), lambda fields, _f, _c: f"needs a mapping with the fields {', '.join(fields)}"
    ),
    "invalid_key": lambda _a, _f, _c: "a field's name is text",
}


def _example(key: object, field: FieldInfo) -> str:
    return f"{key}: {(field.examples or ('',))[0]}"


def _range(field: FieldInfo | None) -> str:
    """Return ", 1 to 16", as far as the field has limits."""
    limits = {
        name: getattr(limit, name)
        for limit in (field.metadata if field else ())
        for name in ("ge", "gt", "le")
        if hasattr(limit, name)
    }
    match limits:
        case {"ge": least, "le": most}:
            return f", {least} to {most}"
        case {"gt": limit, "le": most}:
            return f", more than {limit} and at most {most}"
        case {"ge": least}:
            return f", at least {least}"
        case {"gt": limit}:
            return f", more than {limit}"
    return ""


def _hint(kind: str, found: object, field: FieldInfo | None) -> str:
    """Return what to do about a value of nearly the right type."""
    if kind == "string_type" and isinstance(found, (bool, int, float)):
        pattern = next((limit.pattern for limit in (field.metadata if field else ()) if hasattr(limit, "pattern")), "")
        # YAML 1.1 reads 08:00 as the number 480, and quotes round that would not help.
        return f', in quotes: "{shown(found)}"' if re.match(pattern, shown(found)) else f": {_PATTERNS[pattern]}"
    if kind in {"int_type", "float_type"} and isinstance(found, str) and found.strip().replace(".", "", 1).isdecimal():
        return "; leave out the quotes"
    return ""
