"""What the simulated model says: every token follows from the ids before it, however they came about.

So a generation that is cut and continued from prompt ids + output ids goes on exactly as it would have, like a real
model at temperature 0. The text is held back and cut as vLLM 0.32 does it.
"""

import itertools
import zlib
from array import array
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from llmfleet.engines.simulated import tokens

_CHOICES: Final = 1024
_PACKED: Final = tuple(array("I", [number]).tobytes() for number in range(tokens.VOCABULARY))
_TEXT: Final = tuple(
    None if text.endswith("\ufffd") else text
    for text in (tokens.decode([number]) for number in range(tokens.VOCABULARY))
)
"""Text of each token that stands for itself; None for a piece of a character."""


def _table(*shares: tuple[int, Ids[int]], rest: Ids[int]) -> tuple[int, ...]:
    """Return 1,024 successors: each share's ids so many times in turn, the rest filled up."""
    chosen = [ids[place % len(ids)] for count, ids in shares for place in range(count)]
    return tuple(chosen + [rest[place % len(rest)] for place in range(_CHOICES - len(chosen))])


def _successors() -> tuple[tuple[int, ...], ...]:
    """Return the table of possible successors of every token."""
    split_heads = [character[0] for character in tokens.SPLIT]
    punctuation = (90, [tokens.STOP]), (40, [tokens.COMMA]), (36, split_heads)
    table = [_table(*punctuation, rest=tokens.WORDS)] * tokens.VOCABULARY
    for stem in tokens.STEMS:
        table[stem] = _table((400, [tokens.PLURAL]), *punctuation, rest=tokens.WORDS)
    table[tokens.COMMA] = _table(rest=tokens.WORDS)
    table[tokens.STOP] = _table((85, [tokens.EOS]), rest=tokens.SPACED_OPENERS)
    for number in (tokens.BOS, tokens.EOS, tokens.START, tokens.NEWLINE):
        table[number] = _table(rest=tokens.OPENERS)
    for character in tokens.SPLIT:
        for piece, following in itertools.pairwise(character):
            table[piece] = (following,) * _CHOICES
    return tuple(table)


_SUCCESSORS: Final = _successors()


def _whole_characters(pending: bytes) -> tuple[str, bytes]:
    """Return the text of these bytes and no rest, or no text and the bytes while they end inside a character."""
    text = pending.decode("utf-8", "replace")
    return ("", pending) if text.endswith("\ufffd") else (text, b"")


@lru_cache(maxsize=1024)
def _rest(state: int, last: int, room: int, ends: frozenset[int]) -> tuple[tuple[int, ...], bool, str]:
    """Return up to `room` tokens behind a state and the token before it, whether the last one ends it, their text."""
    ids: list[int] = []
    ended = False
    while len(ids) < room and not ended:
        last = _SUCCESSORS[last][(state * 0x9E3779B1 >> 20) & (_CHOICES - 1)]
        state = zlib.crc32(_PACKED[last], state)
        ids.append(last)
        ended = last in ends
    spoken = ids[:-1] if ended else ids
    tail = len(spoken)
    while tail and _TEXT[spoken[tail - 1]] is None:
        tail -= 1
    text, pending = tokens.bytes_of(spoken[:tail]).decode(), b""
    for token in spoken[tail:]:
        more, pending = _whole_characters(pending + tokens.PIECES[token])
        text += more
    return tuple(ids), ended, text


def state_of(ids: Ids[int]) -> int:
    """Return the model's state behind these ids."""
    return zlib.crc32(array("I", ids).tobytes())


@dataclass(frozen=True, slots=True)
class Limits:
    """When a generation ends."""

    max_tokens: int
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    include_stop: bool = False
    ignore_eos: bool = False


Finish = Literal["stop", "length"]


class Generation:
    """One running sequence."""

    __slots__ = (
        "_held",
        "_last",
        "_pending",
        "_sent",
        "_state",
        "finish",
        "index",
        "limits",
        "output_ids",
        "prompt_ids",
        "stop_reason",
        "text",
    )

    def __init__(self, prompt_ids: Ids[int], limits: Limits, index: int = 0) -> None:
        self.prompt_ids = prompt_ids
        self.limits = limits
        self.index = index
        self.output_ids: list[int] = []
        self.text = ""
        self.finish: Finish | None = None
        self.stop_reason: str | int | None = None
        self._state = state_of(prompt_ids)
        self._last = prompt_ids[-1]
        self._sent = 0
        self._held = 0 if limits.include_stop else max((len(stop) - 1 for stop in limits.stop), default=0)
        # vLLM's detokenizer, given a prompt that ends inside a character, returns the prompt's whole text with the
        # first whole character. A worker that continues such a cut must see the same here, or it would pass tests.
        self._pending = tokens.bytes_of(prompt_ids) if tokens.decode(prompt_ids[-4:]).endswith("\ufffd") else b""

    def step(self) -> tuple[str, int]:
        """Produce the next token; return the text that it releases and its id."""
        token = _SUCCESSORS[self._last][(self._state * 0x9E3779B1 >> 20) & (_CHOICES - 1)]
        self._state = zlib.crc32(_PACKED[token], self._state)
        self._last = token
        self.output_ids.append(token)
        limits = self.limits
        if (token == tokens.EOS and not limits.ignore_eos) or token in limits.stop_token_ids:
            self.finish = "stop"
            self.stop_reason = None if token == tokens.EOS else token
            return self._release(), token
        grown = self._text_of(token)
        self.text += grown
        if grown and limits.stop:
            self._look_for_stop(len(grown))
        if self.finish is None and len(self.output_ids) >= limits.max_tokens:
            self.finish = "length"
        return self._release(), token

    def finish_at_once(self) -> int:
        """Produce all that is left, as `step` would but several times faster; return the number of tokens."""
        limits, before = self.limits, len(self.output_ids)
        if limits.stop or self._pending:
            while self.finish is None:
                self.step()
            return len(self.output_ids) - before
        ends = limits.stop_token_ids if limits.ignore_eos else limits.stop_token_ids | {tokens.EOS}
        ids, ended, text = _rest(self._state, self._last, limits.max_tokens - before, ends)
        self.output_ids += ids
        self.text += text
        self.finish = "stop" if ended else "length"
        if ended and ids[-1] != tokens.EOS:
            self.stop_reason = ids[-1]
        return len(ids)

    def _text_of(self, token: int) -> str:
        text = _TEXT[token]
        if text is not None and not self._pending:
            return text
        text, self._pending = _whole_characters(self._pending + tokens.PIECES[token])
        return text

    def _look_for_stop(self, grown: int) -> None:
        for stop in self.limits.stop:
            place = self.text.find(stop, max(0, len(self.text) - grown - len(stop) + 1))
            if place >= 0:
                self.text = self.text[: place + len(stop) if self.limits.include_stop else place]
                self.finish, self.stop_reason = "stop", stop
                return

    def _release(self) -> str:
        """Return the text that can be sent: never a part of what may become a stop string."""
        end = len(self.text) if self.finish else len(self.text) - self._held
        if end <= self._sent:
            return ""
        released = self.text[self._sent : end]
        self._sent = end
        return released
