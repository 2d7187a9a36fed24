"""What a source may say. Proves the reading of the text only, not that anything is behind it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfleet.errors import LocalError
from llmfleet.models.sources import DEFAULT, Embedded, File, Hub, parse


@pytest.mark.parametrize(
    ("source", "meaning"),
    [
        (DEFAULT, Embedded("smollm2-135m")),
        ("file:///models/a.gguf", File(Path("/models/a.gguf"))),
        ("file://localhost/models/a%20b.gguf", File(Path("/models/a b.gguf"))),
        ("hf://org/repo", Hub("org/repo", None)),
        ("hf://org/Repo-1.5_x/sub/folder/a.Q4_K_M.gguf", Hub("org/Repo-1.5_x", "sub/folder/a.Q4_K_M.gguf")),
    ],
)
def test_each_scheme_is_read(source, meaning):
    assert parse(source) == meaning


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("embeded://smollm2-135m", 'found "embeded://smollm2-135m", an unknown scheme; did you mean embedded://?'),
        ("s3://bucket/model", "allowed: embedded://smollm2-135m, file:///models/model.gguf, hf://org/repo or"),
        ("embedded://smollm-135m", "no embedded model; did you mean smollm2-135m?"),
        ("embedded://llama", "no embedded model; allowed: smollm2-135m"),
        ("smollm2-135m", 'needs a scheme, like "embedded://smollm2-135m"'),
        ("/models/a.gguf", 'needs a scheme, like "file:///models/a.gguf"'),
        ("org/repo", 'needs a scheme, like "hf://org/repo"'),
        ("", 'found ""; needs a scheme, like embedded://'),
        ("file://models/a.gguf", "needs an absolute path, like file:///models/model.gguf"),
        ("file:///a%00b", "a path has no zero bytes"),
        ("hf://org", "allowed: hf://org/repo or hf://org/repo/file.gguf"),
        ("hf://org/re--po", "allowed: hf://org/repo"),
        ("hf://org/repo/../../etc/passwd", "allowed: hf://org/repo"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(source, text):
    with pytest.raises(LocalError) as error:
        parse(source)
    assert text in str(error.value)


@given(st.builds(str.__add__, st.sampled_from(["", "hf://", "file://", "embedded://"]), st.text()))
def test_any_text_is_a_source_or_a_mistake_of_one_printable_line(text):
    told = ""
    try:
        parse(text)
    except LocalError as error:
        told = str(error)
    assert told.isprintable()
    assert len(told) < 400
