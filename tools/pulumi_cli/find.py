"""Chooses the Pulumi CLI: the user's, one installed before, or a new one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.pulumi_cli.build import build, refresh_language_host
from tools.pulumi_cli.installer import InstallerError, install
from tools.pulumi_cli.place import placed
from tools.pulumi_cli.progress import tell
from tools.pulumi_cli.settings import OLDEST, PulumiCliError, Version, cache_dir, parse, pinned, spell

LANGUAGE_HOST = "pulumi-language-python"


def ensure() -> Path:
    """Return the directory of a Pulumi CLI that runs Python programs; install one if there is none.

    The environment variable LLMFLEET_PULUMI says how: unset or `auto`, `install`, `build`, or the path of a
    `pulumi` binary.

    Raises:
        PulumiCliError: there is none and none could be installed, or the path is no usable CLI.
    """
    wish = os.environ.get("LLMFLEET_PULUMI") or "auto"
    ways = {"auto": _auto, "install": _official, "build": _built}
    folder = ways[wish]() if wish in ways else _named(wish)
    if folder == bin_folder("built"):
        refresh_language_host(folder)
    return folder


def bin_folder(kind: str) -> Path:
    """Return where the pinned CLI of a kind (`official`, `built`) is kept, or will be."""
    return cache_dir() / spell(pinned()) / kind / "bin"


def flaw(program: Path) -> str | None:
    """Return why a pulumi binary cannot be used, to follow its name in a sentence; None if it can."""
    version = cli_version(program)
    if version is None:
        return "does not run"
    if version < OLDEST:
        return f"is {spell(version)}, but {spell(OLDEST)} or newer is needed"
    # The engine looks at these two places; elsewhere it would have to download one, which we forbid.
    if not (shutil.which(LANGUAGE_HOST) or (program.resolve().parent / LANGUAGE_HOST).exists()):
        return f"has no {LANGUAGE_HOST} beside it or on PATH"
    return None


def cli_version(program: Path) -> Version | None:
    """Return the version of a pulumi binary, or None if it does not run or is not Pulumi."""
    # A home of its own: even asking for the version writes a log there, which must not be the user's.
    with tempfile.TemporaryDirectory(prefix="pulumi-home-") as home:
        try:
            run = subprocess.run(
                [program, "version"],
                env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": home},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    return parse(run.stdout) if run.returncode == 0 else None


def _auto() -> Path:
    found = _on_path()
    if found:
        return found
    for kind in ("official", "built"):
        if bin_folder(kind).exists() and flaw(bin_folder(kind) / "pulumi") is None:
            return bin_folder(kind)
    try:
        return _official()
    except InstallerError as error:
        first, *more = str(error).splitlines()
        tell("\n".join([f"{first.rstrip(';:')}: building the Pulumi CLI from Go modules instead.", *more]))
        return _built()


def _on_path() -> Path | None:
    program = shutil.which("pulumi")
    if program is None:
        return None
    problem = flaw(Path(program))
    if problem:
        tell(f"{program} {problem}: passed over.")
        return None
    return Path(program).absolute().parent


def _official() -> Path:
    return _made("official", install)


def _built() -> Path:
    return _made("built", build)


def _made(kind: str, make: Callable[[Path, Version], None]) -> Path:
    version, folder = pinned(), bin_folder(kind)

    def checked(part: Path) -> None:
        make(part, version)
        problem = flaw(part / "bin" / "pulumi")
        if problem:
            raise InstallerError(f"the Pulumi CLI just installed {problem}")

    placed(folder.parent, lambda place: flaw(place / "bin" / "pulumi") is None, checked)
    return folder


def _named(wish: str) -> Path:
    program = Path(wish).expanduser().absolute()
    problem = flaw(program) if program.name == "pulumi" and program.is_file() else "is no file called pulumi"
    if problem:
        raise PulumiCliError(
            f"LLMFLEET_PULUMI={wish}: {program} {problem}.\n"
            "Allowed are auto, install, build, or the path of a pulumi binary."
        )
    return program.parent
