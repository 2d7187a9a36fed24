"""The cache of weights: one writer, whole files, damage noticed.

Proves it for processes of one machine; a cache on a network disk whose server keeps no locks is not covered.
"""

import hashlib
import subprocess
import sys
import textwrap

import pytest

from llmfleet.models import cache

CONTENT = b"GGUF" + b"weights" * 1000
WANTED = cache.Wanted("a.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Maker:
    def __init__(self):
        self.made = 0

    def __call__(self, workplace):
        self.made += 1
        path = workplace / "whatever"
        path.write_bytes(CONTENT)
        return path


def test_a_file_is_made_once(tmp_path):
    maker = Maker()
    first, second = (cache.get(WANTED, maker, tmp_path / "new") for _ in range(2))
    assert first == second
    assert first.read_bytes() == CONTENT
    assert maker.made == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(CONTENT[:-1]),
        lambda path: path.write_bytes(b"X" + CONTENT[1:]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["cut", "same size", "empty", "gone"],
)
def test_a_damaged_file_is_made_again(tmp_path, damage):
    maker = Maker()
    damage(cache.get(WANTED, maker, tmp_path))
    assert cache.get(WANTED, maker, tmp_path).read_bytes() == CONTENT
    assert maker.made == 2


def test_the_checksum_is_taken_only_after_somebody_touched_the_file(tmp_path, monkeypatch):
    maker, taken = Maker(), []
    path = cache.get(WANTED, maker, tmp_path)
    sha256 = cache.sha256
    monkeypatch.setattr(cache, "sha256", lambda path: taken.append(path) or sha256(path))
    cache.get(WANTED, maker, tmp_path)
    assert taken == []
    path.touch()
    for _ in range(2):
        cache.get(WANTED, maker, tmp_path)
    assert taken == [path]
    assert maker.made == 1


def test_a_failure_leaves_nothing_behind_and_the_next_call_tries_again(tmp_path):
    def fail(workplace):
        (workplace / "half").write_bytes(CONTENT[:10])
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError, match="no network"):
        cache.get(WANTED, fail, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".a.gguf.lock"]
    assert cache.get(WANTED, Maker(), tmp_path).read_bytes() == CONTENT


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / ".a.gguf-killed").mkdir()
    (tmp_path / ".a.gguf-killed" / "half").write_bytes(b"x")
    cache.get(WANTED, Maker(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.gguf.lock", "a.gguf"]


def test_processes_that_start_together_make_it_once(tmp_path):
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from llmfleet.models import cache
        folder = Path(sys.argv[1])
        def make(workplace):
            with (folder / "made").open("a") as file:
                file.write("x")
            time.sleep(0.5)
            path = workplace / "w"
            path.write_bytes({CONTENT[:4]!r} + b"weights" * 1000)
            return path
        print("ready", flush=True)
        sys.stdin.readline()
        wanted = cache.Wanted("a.gguf", {WANTED.size}, {WANTED.sha256!r})
        sys.exit(not cache.is_right(cache.get(wanted, make, folder), wanted))
        """
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=30)
    assert [process.returncode for process in processes] == [0] * 4
    assert (tmp_path / "made").read_text() == "x"
