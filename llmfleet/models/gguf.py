"""GGUF, the only format that llama.cpp loads."""

from pathlib import Path

from llmfleet.errors import LocalError

MAGIC = b"GGUF"


def check(path: Path) -> Path:
    """Return the path of a file that can be read and is a GGUF.

    Raises:
        LocalError: it is not.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(MAGIC))
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}") from error
    if begin != MAGIC:
        raise LocalError(f"{path} is no GGUF file, and llama.cpp loads nothing else")
    return path
