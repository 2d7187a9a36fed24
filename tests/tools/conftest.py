"""Fake programs on a PATH of their own, and the real CLI of this machine with a checkout to use it in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import script

from tools.pulumi_cli.environment import exports
from tools.pulumi_cli.find import ensure

# What the scripts of these tests call; nothing else is on the PATH, above all no real pulumi and no real go.
UTILITIES = ("sh", "cat", "chmod", "cp", "dirname", "echo", "mkdir", "pwd", "sleep", "touch")


@pytest.fixture
def lonely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the whole PATH; the cache and the home are empty, too. No network is needed or used."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in UTILITIES:
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMFLEET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMFLEET_PULUMI", raising=False)
    # A port nobody listens on: a test that wants an installer says where it is.
    monkeypatch.setenv("LLMFLEET_PULUMI_INSTALLER", "http://127.0.0.1:9")
    return folder


@pytest.fixture
def fake_pulumi() -> Callable[..., Path]:
    """A function that puts a fake CLI, which only knows its version, into a directory."""

    def make(folder: Path, version: str, host: bool = True) -> Path:
        if host:
            script(folder / "pulumi-language-python", "exit 0")
        return script(folder / "pulumi", f'[ "$1" = version ] && echo "{version}"')

    return make


@pytest.fixture(scope="session")
def cli() -> Path:
    """The directory of the real CLI, found as `make test` has found it."""
    return ensure()


class Checkout:
    """A checkout in a directory with an awkward name, in which Pulumi runs as in a user's shell."""

    def __init__(self, folder: Path, cli: Path) -> None:
        self.root = folder / "my fleet's checkout"
        self.home = folder / "home"
        self.project = self.root / "project"
        self.project.mkdir(parents=True)
        self.home.mkdir()
        (self.root / ".venv").symlink_to(sys.prefix)
        self.write("Pulumi.yaml", "name: tiny\nruntime: python\n")
        self._exports = exports(self.root, cli, "test", {})

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        place = self.project / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a command line in a shell that has evaluated the printed environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
        return subprocess.Popen(
            ["sh", "-ec", f"{self._exports}\nexec {command}"],
            cwd=self.project,
            env={**clean, "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def run(self, command: str, *, fails: bool = False) -> str:
        """Run a command line to its end, expect it to succeed or to fail, and return what it has printed."""
        process = self.start(command)
        said, _ = process.communicate(timeout=120)
        assert (process.returncode != 0) is fails, said
        return said


@pytest.fixture
def checkout(tmp_path: Path, cli: Path) -> Checkout:
    """A checkout with a project `tiny` and the stack `test`."""
    place = Checkout(tmp_path, cli)
    place.run("pulumi stack init test")
    return place
