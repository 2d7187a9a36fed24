"""Pydantic's errors in the words of this project: what was found, what is allowed, what to do."""

import re
from collections.abc import Mapping
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
    if kind in {"extra_forbidden", "invalid_key"}:
        near = nearest(str(key), fields)
        return f"unknown field; did you mean {near}?" if near else f"unknown field; known: {', '.join(fields)}"
    field = fields.get(key) if isinstance(key, str) else None
    if kind == "missing":
        return "missing" + (f"; for example {key}: {field.examples[0]}" if field and field.examples else "")
    need = _need(entry, fields, field, context)
    return f"found {shown(entry['input'])}; {need}{_hint(kind, entry['input'], field)}"


def _need(
    entry: Mapping[str, Any], fields: Mapping[str, FieldInfo], field: FieldInfo | None, context: Mapping[str, Any]
) -> str:
    """Return what is allowed."""
    match entry["type"]:
        case "int_type" | "int_parsing_size":
            return f"needs a whole number{_range(field, context)}"
        case "float_type" | "finite_number":
            return f"needs a number{_range(field, context)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"allowed: {_range(field, context)[2:]}"
        case "string_type" | "string_unicode":
            return "needs text"
        case "string_pattern_mismatch":
            return f"allowed: {_PATTERNS[context['pattern']]}"
        case "tuple_type" | "list_type":
            return "needs a list"
        case "too_short":
            return f"needs at least {context['min_length']}"
        case "model_type" | "dict_type":
            return f"needs a mapping with the fields {', '.join(fields)}"
        case _:
            message = str(entry["msg"])
            return f"{message[:1].lower()}{message[1:]}"


def _range(field: FieldInfo | None, context: Mapping[str, Any]) -> str:
    """Return ", 1 to 16": the limits of a field, or those that the error names."""
    names = ("ge", "gt", "le", "lt")
    limits = {name: context[name] for name in names if name in context}
    for limit in field.metadata if field else ():
        limits |= {name: getattr(limit, name) for name in names if hasattr(limit, name)}
    # Pydantic makes 0 to 0.0 on its way through an error.
    limits = {name: int(limit) if float(limit).is_integer() else limit for name, limit in limits.items()}
    match limits:
        case {"ge": least, "le": most}:
            return f", {least} to {most}"
        case {"ge": least}:
            return f", at least {least}"
        case {"gt": limit}:
            return f", more than {limit}"
        case {"le": most}:
            return f", at most {most}"
        case {"lt": limit}:
            return f", less than {limit}"
        case _:
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
