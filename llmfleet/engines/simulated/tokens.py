"""Vocabulary, tokenizer and chat template of the simulated model.

Small, but with the habits of real ones that break careless programs: characters that are split over several tokens,
generated ids that are not the ids of re-tokenising their text, special tokens that decode to nothing.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_TEXT: Final = """
the a of to in and is it for on with that as by from at this an be or are was not which can when will one all has been
more other some than then there also only into over after before where how each time work worker workers token tokens
pool pools engine engines lease leases model models order orders queue queues slot slots region zone cloud machine
price hour spot small large slow fast cheap new old good real next last first second long short high low open ready
answer question prompt stream text word number name place way day night light water stone river road wind sound song
city house garden window door table paper letter color green blue red white dark bright quiet loud warm cold early
late keep take give find make run wait hold send read write begin end move turn stop start call ask tell show grow
carry bring follow leave return reach cross pass build learn think know see hear feel speak stay rest still again
never always often soon here now once twice between under above near far along across through without because while
"""
_WORDS: Final = re.findall(r"\w+", _TEXT)
_OPENERS: Final = re.findall(r"\w+", "The A When In One Each This That After Before Here Now While Some Every No")
_ROLES: Final = ("system", "user", "assistant", "tool")
_SPLIT: Final = ((b" \xf0\x9f", b"\x99\x82"), (b" \xe6", b"\xbc", b"\xa2"), (b" caf\xc3", b"\xa9"))
"""Characters that generation emits in pieces: an emoji in two, a CJK character in three, an accent behind text."""

BOS_TEXT: Final = "<|endoftext|>"
START_TEXT: Final = "<|im_start|>"
EOS_TEXT: Final = "<|im_end|>"

_pieces: list[bytes] = [bytes([byte]) for byte in range(256)]


def _add(piece: bytes) -> int:
    _pieces.append(piece)
    return len(_pieces) - 1


BOS: Final = _add(b"")
START: Final = _add(b"")
EOS: Final = _add(b"")
SPECIAL: Final = {BOS_TEXT: BOS, START_TEXT: START, EOS_TEXT: EOS}

STOP: Final = ord(".")
COMMA: Final = ord(",")
NEWLINE: Final = ord("\n")
PLURAL: Final = ord("s")
"""Behind " worker" it makes the text of the token " workers": re-tokenising a text need not give its ids back."""

WORDS: Final = tuple(_add(f" {word}".encode()) for word in _WORDS)
OPENERS: Final = tuple(_add(word.encode()) for word in _OPENERS)
SPACED_OPENERS: Final = tuple(_add(f" {word}".encode()) for word in _OPENERS)
_ROLE_IDS: Final = tuple(_add(role.encode()) for role in _ROLES)
_whole: Final = {piece.decode(): number for number, piece in enumerate(_pieces) if number > EOS}
SPLIT: Final = tuple(tuple(_add(piece) for piece in character) for character in _SPLIT)
"""Ids of each split character, in order. Encoding never gives them; only generation does."""

PIECES: Final = tuple(_pieces)
"""Bytes of every token; those of special tokens are empty, as decoding skips them."""
STEMS: Final = tuple(_whole[f" {word}"] for word in _WORDS if f" {word}s" in _whole)
VOCABULARY: Final = len(PIECES)

_find = re.compile("|".join([*map(re.escape, SPECIAL), r" ?[A-Za-z]+", r"[\s\S]"])).findall


@lru_cache(maxsize=8192)
def _ids_of_piece(piece: str) -> tuple[int, ...]:
    known = SPECIAL.get(piece) or _whole.get(piece)
    return (known,) if known else tuple(piece.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=512)
def encode(text: str) -> tuple[int, ...]:
    """Return the token ids of a text; special tokens written out in it become their ids, as in real tokenizers."""
    return tuple(number for piece in _find(text) for number in _ids_of_piece(piece))


def bytes_of(ids: Sequence[int]) -> bytes:
    """Return the bytes of some tokens; they may end inside a character."""
    return b"".join([PIECES[number] for number in ids])


def decode(ids: Sequence[int]) -> str:
    """Return the text of some tokens; a character that is cut at either end becomes U+FFFD."""
    return bytes_of(ids).decode("utf-8", "replace")


def render(messages: Sequence[tuple[str, str]], *, add_generation_prompt: bool = True, open_end: bool = False) -> str:
    """Return the prompt of a chat.

    Args:
        messages: pairs of role and content
        add_generation_prompt: end with the head of the assistant's answer
        open_end: leave the last message open, so that the model continues it
    """
    turns = [f"{START_TEXT}{role}\n{content}{EOS_TEXT}\n" for role, content in messages]
    if open_end and turns:
        turns[-1] = turns[-1].removesuffix(f"{EOS_TEXT}\n")
    if add_generation_prompt:
        turns.append(f"{START_TEXT}assistant\n")
    return "".join(turns)
