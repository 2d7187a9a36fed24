"""Where an answer may be cut: property tests of what the worker holds back. Proves that a cut at any released place,
continued by a fresh `Release`, gives the text that an uncut answer has; says nothing about engines.
"""

from hypothesis import given
from hypothesis import strategies as st

from llmfleet.worker.chunks import Chunk, Release, events, says_more_than_text, text


def chunk(content: str, *ids: int) -> Chunk:
    return Chunk({"choices": [{"index": 0, "delta": {"content": content}}]}, list(ids))


def said(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[tuple[str, list[int]]], bool]:
    """What is released, piece by piece, when token i has the text pieces[i]."""
    release = Release(stops)
    out = []
    for number, piece in enumerate(pieces):
        released = release.push(chunk(piece, number))
        if released:
            out.append(("".join(map(text, released.bodies)), released.ids))
        if release.stopped:
            return out, True
    if released := release.flush():
        out.append(("".join(map(text, released.bodies)), released.ids))
    return out, False


def truth(whole: str, stops: tuple[str, ...]) -> str:
    return whole[: min([whole.find(stop) for stop in stops if stop in whole], default=len(whole))]


PIECES = st.lists(st.text("ab", max_size=3), max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3).map(tuple)


@given(PIECES, STOPS)
def test_the_text_ends_where_the_first_stop_string_begins(pieces, stops):
    out, stopped = said(pieces, stops)
    whole = "".join(pieces)
    assert "".join(piece for piece, _ in out) == truth(whole, stops)
    assert stopped == any(stop in whole for stop in stops)


@given(PIECES, STOPS, st.integers(0, 12))
def test_a_cut_at_any_released_place_changes_nothing(pieces, stops, cut):
    """Nothing that a stop string began with was ever sent, so a fresh start sees every stop string whole."""
    out, stopped = said(pieces, stops)
    sent = out[:cut]
    if stopped and cut >= len(out):
        return
    done = sum(len(ids) for _, ids in sent)
    rest, _ = said(pieces[done:], stops)
    assert "".join(piece for piece, _ in [*sent, *rest]) == truth("".join(pieces), stops)


@given(PIECES)
def test_released_tokens_and_released_text_are_the_same(pieces):
    out, _ = said(pieces, ())
    for piece, ids in out:
        assert piece == "".join(pieces[number] for number in ids)
    assert [number for _, ids in out for number in ids] == list(range(len(pieces)))


def test_nothing_goes_before_a_character_is_whole():
    release = Release(())
    assert release.push(chunk("", 1)) is None
    assert release.push(chunk("\ufffd", 2)) is None
    released = release.push(chunk("ü", 3))
    assert released is not None
    assert released.ids == [1, 2, 3]


def test_chunks_that_say_more_than_text_are_noticed():
    assert says_more_than_text({"choices": [{"delta": {"tool_calls": [{}]}}]})
    assert says_more_than_text({"choices": [{"delta": {"reasoning_content": "hm"}}]})
    assert not says_more_than_text({"choices": [{"delta": {"role": "assistant", "content": "x", "refusal": None}}]})
    assert not says_more_than_text({"choices": [{"text": "x"}]})


def test_events_are_server_sent_events():
    assert events([{"a": 1}, {"b": 2}]) == b'data: {"a":1}\n\ndata: {"b":2}\n\n'
