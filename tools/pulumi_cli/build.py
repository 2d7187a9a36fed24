"""Builds the Pulumi CLI from Go modules and puts the Python language host beside it."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.pulumi_cli.go import Go, find_go
from tools.pulumi_cli.progress import Progress, tell
from tools.pulumi_cli.settings import PACKAGE, PulumiCliError, Version, spell

COMMAND = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
SDK = "github.com/pulumi/pulumi/sdk/v3"
# Ours: the language host that the modules lack. Relative to this package.
HOST_FILES = ("language_host.py", "pulumi-language-python")
# Pulumi's: what runs a program, and the provider of dynamic resources. Relative to the SDK's module.
SDK_FILES = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")

OnLine = Callable[[str], None]


def build(target: Path, version: Version) -> None:
    """Build a version of the CLI into `target`/bin, with everything that Python programs need beside it.

    Raises:
        PulumiCliError: a module cannot be downloaded or the build fails, with Go's last lines.
    """
    go = find_go()
    tell(f"Building the Pulumi CLI {spell(version)} from Go modules: once, about 7 minutes on 2 cores.")
    # Without a version the CLI calls itself a development build and the automation API refuses it.
    link = f"-s -w -X {SDK}/go/common/version.Version=v{spell(version)}"
    how = ["-trimpath", "-tags", "osusergo,grpcnotrace", "-ldflags", link]
    folder = target / "bin"
    folder.mkdir()
    with Progress("reading the list of modules") as progress:
        compiled = ["list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", *how, COMMAND]
        progress.total = len(_run(go, compiled, _downloads(progress)).split())
        _run(go, ["build", "-v", "-o", str(folder / "pulumi"), *how, COMMAND], _packages(progress))
        progress.total, progress.doing = 0, "adding the Python language host"
        sdk = Path(_run(go, ["list", "-m", "-f", "{{.Dir}}", SDK], lambda _: None).strip())
        for name in SDK_FILES:
            _copy(sdk / name, folder)
        refresh_language_host(folder)
        go.forget_caches()
    tell(f"Built in {progress.elapsed}.")


def refresh_language_host(folder: Path) -> None:
    """Bring the language host beside a CLI that we have built up to this checkout's state."""
    for name in HOST_FILES:
        place = folder / name
        if not place.exists() or place.read_bytes() != (PACKAGE / name).read_bytes():
            _copy(PACKAGE / name, folder)


def _copy(source: Path, folder: Path) -> None:
    """Copy an executable at once: a CLI that starts meanwhile sees the old file or the new one."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{source.name}-", delete=False) as part:
        part.write(source.read_bytes())
    copy = Path(part.name)
    copy.chmod(0o755)
    copy.replace(folder / source.name)


def _downloads(progress: Progress) -> OnLine:
    """Count `go: downloading MODULE VERSION`."""

    def on_line(line: str) -> None:
        if found := re.match(r"go: downloading (\S+) ", line):
            progress.done += 1
            progress.doing = f"downloading Go modules: {progress.done} so far ({found[1]})"

    return on_line


def _packages(progress: Progress) -> OnLine:
    """Count the packages that `go build -v` names, each when its compilation starts."""
    progress.done = 0
    progress.doing = "compiling"

    def on_line(line: str) -> None:
        if not re.fullmatch(r"[\w.~/-]+", line):
            return
        progress.done += 1
        progress.doing = f"compiling: {progress.done} of {progress.total} packages ({line})"
        if line == COMMAND:
            progress.doing = "linking, the last step"

    return on_line


def _run(go: Go, arguments: list[str], on_line: OnLine) -> str:
    """Run a go command to its end, giving each line of its stderr to `on_line`; return its stdout.

    Raises:
        PulumiCliError: it failed.
    """
    last: deque[str] = deque(maxlen=15)

    def read(lines: Iterable[str]) -> None:
        for line in map(str.rstrip, lines):
            on_line(line)
            # Names of packages and modules are progress; what is left is what went wrong.
            if not re.match(r"go: downloading |[\w.~/-]+$", line):
                last.append(f"  {line}")

    with go.start(*arguments) as process:
        try:
            reader = threading.Thread(target=read, args=(process.stderr or (),), daemon=True)
            reader.start()
            output = process.stdout.read() if process.stdout else ""
            reader.join()
            code = process.wait()
        finally:
            _stop(process)
    if code:
        raise PulumiCliError(
            f"`go {arguments[0]}` failed with exit code {code} while building the Pulumi CLI; Go said:\n"
            + "\n".join(last)
            + "\nIs the Go module proxy reachable (GOPROXY)? What was downloaded and compiled is kept: try again, "
            "or install Pulumi yourself (https://www.pulumi.com/docs/install/)."
        )
    return output


def _stop(process: subprocess.Popen[str]) -> None:
    """End a go command with its compilers, if it still runs: we are being interrupted."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
