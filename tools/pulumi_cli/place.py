"""Puts an installed CLI in its place at once or not at all, also when two processes want to."""

import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.pulumi_cli.progress import Progress, tell

PART_PREFIX = ".part-"


def placed(place: Path, usable: Callable[[Path], bool], make: Callable[[Path], None]) -> Path:
    """Return `place` once it is usable; if it is not, let `make` fill a new directory that then becomes `place`.

    One process makes, others wait for it. A process that dies leaves a part directory, which the next one removes.
    """
    if usable(place):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(place.with_name(f".{place.name}.lock")):
        if usable(place):  # Another process has made it while we waited.
            return place
        for left_over in place.parent.glob(f"{PART_PREFIX}{place.name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f"{PART_PREFIX}{place.name}-", dir=place.parent))
        try:
            make(part)
            part.chmod(0o755)  # mkdtemp's 0700 would keep others out where a cache is shared on purpose.
            if place.exists():
                shutil.rmtree(place)
            part.rename(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return place


@contextlib.contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold the lock file; wait for whoever holds it. The kernel frees it when its holder dies."""
    with lock.open("w") as file:
        if not _locked(file.fileno()):
            tell("Another process is installing the Pulumi CLI at this moment; waiting for it.")
            with Progress("waiting for the other process"):
                while not _locked(file.fileno()):
                    time.sleep(0.2)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
