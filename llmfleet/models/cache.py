"""Files that all processes of this user share: one of them writes a file, and nobody sees half of it."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# A file carries this time of change from when its checksum was right; whoever writes to it changes that.
_CHECKED_NS = 1_000_000_000 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file whose content is known beforehand."""

    name: str
    size: int
    """Bytes."""
    sha256: str


def folder() -> Path:
    """Return where weights are kept: below XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS."""
    from platformdirs import user_cache_path

    return user_cache_path("llmfleet") / "models"


def get(wanted: Wanted, make: Callable[[Path], Path], into: Path) -> Path:
    """Return the path of a right file in a folder; what is missing or has changed is made again.

    Only one process at a time makes a file, the others wait for it. Needs POSIX.

    Args:
        wanted: The file.
        make: Makes it, given an empty folder; returns its path there. Raises when it turns out wrong.
        into: The folder of the cache.
    """
    path = into / wanted.name
    if is_right(path, wanted):
        return path
    into.mkdir(parents=True, exist_ok=True)
    with _locked(into / f".{wanted.name}.lock"):
        if is_right(path, wanted):
            return path
        prefix = f".{wanted.name}-"
        for left_by_killed in into.glob(f"{prefix}*"):
            shutil.rmtree(left_by_killed, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=prefix, ignore_cleanup_errors=True) as workplace:
            made = make(Path(workplace))
            _mark_checked(made)
            made.replace(path)
    return path


def is_right(path: Path, wanted: Wanted) -> bool:
    """Say whether a file is there with the right content. The checksum is taken only when the file was written to."""
    try:
        stat = path.stat()
        if stat.st_size != wanted.size:
            return False
        if stat.st_mtime_ns == _CHECKED_NS:
            return True
        if sha256(path) != wanted.sha256:
            return False
    except FileNotFoundError:
        return False
    # In a read-only cache the checksum is taken each time.
    with contextlib.suppress(OSError):
        _mark_checked(path)
    return True


def sha256(path: Path) -> str:
    """Return the checksum of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark_checked(path: Path) -> None:
    os.utime(path, ns=(_CHECKED_NS, _CHECKED_NS))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # POSIX only; importing the package must work everywhere

    with path.open("w") as file:
        # The kernel opens the lock when the process ends, however that happens.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
