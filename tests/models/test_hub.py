"""hf:// through the hub's real client and the real command, against a stand-in server.

Proves which file is chosen, the cache, the texts of errors, and that nothing but the path reaches the standard
output. Does not prove that the hub itself answers like the stand-in, nor its Xet storage.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_server import StandInHub, hub

GGUF = b"GGUF" + bytes(3_000_000)
REPOSITORIES = {
    "org/one-GGUF": {"README.md": b"# one", "one.gguf": GGUF},
    "org/many-GGUF": {"many.Q4_K_M.gguf": GGUF, "many.Q8_0.gguf": GGUF + b"8"},
    "org/split-GGUF": {f"big-0000{n}-of-00003.gguf": b"GGUF" + bytes([n]) * 99 for n in (1, 2, 3)},
    "org/none": {"model.safetensors": b"{}"},
    "org/broken-GGUF": {"page.gguf": b"<html>"},
    "org/gated-GGUF": {"one.gguf": GGUF},
}


@pytest.fixture(scope="module")
def server() -> Iterator[StandInHub]:
    with hub(REPOSITORIES, gated=frozenset({"org/gated-GGUF"})) as stand_in:
        yield stand_in


def weights(source: str, endpoint: str, cache: Path) -> "subprocess.CompletedProcess[str]":
    # The hub's client reads its environment when it is imported, so each call is a process of its own.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "PYTHONWARNINGS": "error", "COLUMNS": "400"}
    command = [sys.executable, "-m", "llmfleet", "weights", source]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def refusal(source: str, endpoint: str, cache: Path) -> str:
    done = weights(source, endpoint, cache)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_only_gguf_of_a_repository_is_taken_and_only_its_path_printed(server, tmp_path):
    done = weights("hf://org/one-GGUF", server.url, tmp_path)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.removesuffix("\n"))
    assert path.name == "one.gguf"
    assert path.is_relative_to(tmp_path)
    assert path.read_bytes() == GGUF
    assert done.stderr.splitlines()[-1] == "one-GGUF: 3 of 3 MB"


def test_a_second_call_downloads_nothing_and_says_nothing(server, tmp_path):
    source = "hf://org/many-GGUF/many.Q8_0.gguf"
    first = weights(source, server.url, tmp_path)
    downloads = len(server.downloads())
    second = weights(source, server.url, tmp_path)
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert len(server.downloads()) == downloads


def test_a_named_file_in_the_cache_needs_no_network(server, tmp_path, free_port):
    source = "hf://org/one-GGUF/one.gguf"
    first = weights(source, server.url, tmp_path)
    assert weights(source, f"http://127.0.0.1:{free_port()}", tmp_path).stdout == first.stdout


def test_weights_in_parts_come_whole_and_the_first_part_is_the_path(server, tmp_path):
    done = weights("hf://org/split-GGUF", server.url, tmp_path)
    path = Path(done.stdout.removesuffix("\n"))
    assert path.name == "big-00001-of-00003.gguf"
    assert sorted(part.name for part in path.parent.iterdir()) == sorted(REPOSITORIES["org/split-GGUF"])


def test_several_files_are_listed_to_choose_from(server, tmp_path):
    told = refusal("hf://org/many-GGUF", server.url, tmp_path)
    assert "hf://org/many-GGUF has 2 .gguf files; name one:" in told
    assert "  hf://org/many-GGUF/many.Q4_K_M.gguf\n  hf://org/many-GGUF/many.Q8_0.gguf\n" in told


def test_a_misspelt_file_gets_the_nearest_name(server, tmp_path):
    told = refusal("hf://org/many-GGUF/many.Q8.gguf", server.url, tmp_path)
    assert "hf://org/many-GGUF has no file many.Q8.gguf; did you mean many.Q8_0.gguf?" in told


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("hf://org/none", "hf://org/none has no .gguf file; look for a repository of the same model with -GGUF"),
        ("hf://org/nowhere", "hf://org/nowhere: no repository org/nowhere, or a private one"),
        ("hf://org/one-GGUF/zzz", "has no file zzz; it has:\n  hf://org/one-GGUF/one.gguf\n"),
        ("hf://org/gated-GGUF", "access must be asked for at"),
        ("hf://org/broken-GGUF", "page.gguf is no GGUF file"),
    ],
)
def test_what_cannot_be_had_is_told_in_a_sentence(server, tmp_path, source, text):
    assert text in refusal(source, server.url, tmp_path)


@pytest.mark.slow
def test_a_hub_that_is_away_is_named(tmp_path, free_port):
    endpoint = f"http://127.0.0.1:{free_port()}"
    sources = ["hf://org/one-GGUF", "hf://org/one-GGUF/one.gguf"]
    # The hub's client tries for half a minute before it gives up, so both at once.
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda source: refusal(source, endpoint, tmp_path), sources))
    for source, text in zip(sources, told, strict=True):
        assert f"error {source}: the hub at {endpoint} cannot be reached" in text
        assert "Connection refused" in text.splitlines()[-1]


def test_the_missing_library_is_told_with_its_install_command(monkeypatch):
    from llmfleet.errors import MissingExtraError
    from llmfleet.models import resolve

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llmfleet\[local\]'"):
        resolve("hf://org/one-GGUF")
