"""Where things are, which version is pinned, and what the user may set."""

import os
import re
from pathlib import Path

import platformdirs

from llmfleet.errors import LlmfleetError

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parents[1]
"""The checkout."""

Version = tuple[int, int, int]
OLDEST: Version = (3, 220, 0)
"""The oldest CLI that the project's Pulumi.yaml and its programs work with."""


class PulumiCliError(LlmfleetError):
    """The Pulumi CLI could not be found, installed or built."""


def cache_dir() -> Path:
    """Return the directory in which installed CLIs are kept, shared by all checkouts of the user."""
    own = os.environ.get("LLMFLEET_CACHE_DIR")
    base = Path(own).absolute() if own else Path(platformdirs.user_cache_dir("llmfleet"))
    return base / "pulumi"


def pinned() -> Version:
    """Return the version of Pulumi to install: the one in go.mod, so that both ways give the same."""
    return required(r"github\.com/pulumi/pulumi/sdk/v3 v(\S+)")


def pinned_go() -> Version:
    """Return the oldest Go that can build it, from go.mod."""
    return required(r"go (\S+)")


def required(line: str) -> Version:
    """Return the version that go.mod names in the line of this pattern."""
    found = re.search(rf"^\s*{line}", (PACKAGE / "go.mod").read_text(), re.MULTILINE)
    version = parse(found[1]) if found else None
    if version is None:
        raise PulumiCliError(f"{PACKAGE / 'go.mod'} has no line like {line!r}: restore the file")
    return version


def parse(text: str) -> Version | None:
    """Return the first version in a text (`v3.259.0`, `go1.26`, `3.260.0-alpha.1+dirty`), or None."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def spell(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))
