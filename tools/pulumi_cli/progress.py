"""Progress of something that takes minutes, on stderr: stdout belongs to the answer."""

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Self

BAR_WIDTH = 24


class Progress:
    """Shows elapsed time and what is happening now, from a thread of its own, until the `with` block ends.

    On a terminal one line is redrawn twice a second; in a log a line is written every `interval` seconds. Set
    `doing` (words), `done` and `total` (0 while unknown) from any thread.
    """

    def __init__(self, doing: str, interval: float = 5.0) -> None:
        self.doing = doing
        self.done = 0
        self.total = 0
        self._terminal = sys.stderr.isatty()
        self._interval = 0.5 if self._terminal else interval
        self._started = time.monotonic()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        """Start to show."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to show and leave the cursor on an empty line."""
        self._finished.set()
        self._thread.join()
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> str:
        """Time since the start, as people say it."""
        return spoken(time.monotonic() - self._started)

    def line(self) -> str:
        """Return what there is to tell now."""
        if not self.total:
            return f"  {self.elapsed:>12}  {self.doing}"
        share = min(self.done / self.total, 1.0)
        filled = round(share * BAR_WIDTH)
        bar = "█" * filled + "░" * (BAR_WIDTH - filled)
        return f"  {self.elapsed:>12}  {bar} {share:4.0%}  {self.doing}"

    def _show(self) -> None:
        while not self._finished.wait(self._interval):
            if self._terminal:
                width = shutil.get_terminal_size().columns - 1
                print(f"\r{self.line()[:width]}\033[K", end="", file=sys.stderr, flush=True)
            else:
                print(self.line(), file=sys.stderr, flush=True)


def spoken(seconds: float) -> str:
    """Return a duration like `3 min 07 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def tell(text: str) -> None:
    """Write one line for the user."""
    print(text, file=sys.stderr, flush=True)
