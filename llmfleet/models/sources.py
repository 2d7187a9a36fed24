"""Where a model's weights come from: `source:` of the stack file, read but not followed."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias
from urllib.parse import unquote

from llmfleet.errors import LocalError
from llmfleet.words import choices, nearest, shown

DEFAULT: Final = "embedded://smollm2-135m"
EMBEDDED: Final = ("smollm2-135m",)
"""Models whose weights are in a package of the Python registry."""
_EXAMPLES: Final = {
    "embedded": DEFAULT,
    "file": "file:///models/model.gguf",
    "hf": "hf://org/repo or hf://org/repo/file.gguf",
}
# What the hub itself accepts as a name of an organisation or a repository.
_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,94}[A-Za-z0-9_]|[A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Weights inside a package of the Python registry."""

    name: str


@dataclass(frozen=True, slots=True)
class File:
    """A file of this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository of the Hugging Face hub."""

    repository: str
    """org/repo."""
    file: str | None
    """Path in the repository; None for its only file of weights."""


Source: TypeAlias = Embedded | File | Hub


def parse(source: str) -> Source:
    """Return what a source means, without looking whether it exists.

    Raises:
        LocalError: it is none; the text says what was found and what is allowed.
    """
    scheme, separator, rest = source.partition("://")
    if not separator:
        raise LocalError(f"found {shown(source)}; needs a scheme, like {_guess(source)}")
    match scheme:
        case "embedded":
            if rest not in EMBEDDED:
                raise LocalError(f"found {shown(source)}, no embedded model; {_embedded_choices(rest)}")
            return Embedded(rest)
        case "file":
            return _file(source, rest)
        case "hf":
            return _hub(source, rest)
    near = nearest(scheme, _EXAMPLES)
    hint = f"did you mean {near}://?" if near else f"allowed: {', '.join(_EXAMPLES.values())}"
    raise LocalError(f"found {shown(source)}, an unknown scheme; {hint}")


def _file(source: str, rest: str) -> File:
    # RFC 8089: file://localhost/path and file:///path name the same file; another host is another machine.
    path = unquote(rest.removeprefix("localhost"))
    if not path.startswith("/"):
        raise LocalError(f"found {shown(source)}; needs an absolute path, like {_EXAMPLES['file']}")
    if "\0" in path:
        raise LocalError(f"found {shown(source)}; a path has no zero bytes")
    return File(Path(path))


def _hub(source: str, rest: str) -> Hub:
    organisation, _, tail = rest.partition("/")
    repository, _, file = tail.partition("/")
    names = (organisation, repository)
    steps = PurePosixPath(file).parts
    if not all(_HUB_NAME.fullmatch(name) for name in names) or ".." in steps or not _is_clean(file):
        raise LocalError(f"found {shown(source)}; allowed: {_EXAMPLES['hf']}")
    return Hub(f"{organisation}/{repository}", file or None)


def _is_clean(file: str) -> bool:
    return not file.startswith("/") and file.isprintable() and "\\" not in file


def _embedded_choices(name: str) -> str:
    return choices(name, EMBEDDED)


def _guess(source: str) -> str:
    """Return the scheme that a text without one most likely wants."""
    if source.startswith("/"):
        return shown(f"file://{source}")
    if source in EMBEDDED:
        return shown(f"embedded://{source}")
    if source.count("/") in {1, 2}:
        return shown(f"hf://{source}")
    return f"{_EXAMPLES['embedded']}, {_EXAMPLES['file']} or {_EXAMPLES['hf']}"
