"""How a download is shown: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Takes the bytes that have come and their number in all, 0 when it is not known."""

_LINE_EVERY_SECONDS = 3.0


@contextmanager
def progress_shown(label: str) -> Iterator[Progress]:
    """Show a download on the standard error; nothing appears when nothing has to come."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True))
    task = bar.add_task(label, total=None)

    def show(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total or None)

    try:
        yield show
    finally:
        bar.stop()


def _lines(label: str) -> Progress:
    last, ended = 0.0, False

    def show(done: int, total: int) -> None:
        nonlocal last, ended
        now, was_ended = time.monotonic(), ended
        ended = done == total
        if (ended and was_ended) or (not ended and last and now - last < _LINE_EVERY_SECONDS):
            return
        last = now
        of = f" of {total / 1e6:.0f}" if total else ""
        print(f"{label}: {done / 1e6:.0f}{of} MB", file=sys.stderr, flush=True)  # noqa: T201 a command's own output

    return show
