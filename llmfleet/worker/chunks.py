"""Pieces of a streamed answer on their way to the client.

`Release` lets them go only at places where the answer could be cut and continued: behind a whole character, and before
anything that may be the beginning of a stop string. So the tokens that a gateway knows of and the text that a client
has are always the same, and a continuation needs to know nothing else.
"""

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


class Chunk(msgspec.Struct):
    """One chunk of an answer in OpenAI's form, and its tokens."""

    body: dict[str, Any]
    ids: list[int] | None = None
    """Tokens of this chunk; None when the engine does not tell."""
    prompt_ids: list[int] | None = None
    """Tokens of the prompt, in the first chunk."""


class Released(msgspec.Struct):
    """What may go to the client now."""

    bodies: list[dict[str, Any]]
    ids: list[int]


class Release:
    """Holds chunks back until they may go."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held: list[tuple[Chunk, str]] = []
        self.stopped = False
        """A stop string was found: the answer is complete, whatever the engine still sends."""
        self.count = 0
        """Tokens seen so far."""

    def push(self, chunk: Chunk) -> Released | None:
        """Take a chunk; return what may go now, if anything."""
        content = text(chunk.body)
        self.count += len(chunk.ids or ())
        self._held.append((chunk, content))
        if not content or content.endswith("\ufffd"):
            return None  # a character is not whole yet, or there is nothing to show
        if not self._stops:
            return self.flush()
        return self._up_to_a_stop()

    def flush(self) -> Released | None:
        """Return all that is held."""
        return self._let_go(len(self._held)) if self._held else None

    def _up_to_a_stop(self) -> Released | None:
        whole = "".join(content for _, content in self._held)
        found = [place for stop in self._stops if (place := whole.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._cut(min(found))
            return self.flush()
        safe = len(whole) - max(_overlap(whole, stop) for stop in self._stops)
        length = number = 0
        for _, content in self._held:
            length += len(content)
            if length > safe:
                break
            number += 1
        return self._let_go(number) if number else None

    def _cut(self, place: int) -> None:
        """Drop all text from `place` on."""
        length = 0
        for chunk, content in self._held:
            keep = max(0, place - length)
            if keep < len(content):
                set_text(chunk.body, content[:keep])
            length += len(content)

    def _let_go(self, number: int) -> Released:
        going, self._held = self._held[:number], self._held[number:]
        ids = [token for chunk, _ in going for token in chunk.ids or ()]
        return Released([chunk.body for chunk, _ in going if not _is_empty(chunk.body)], ids)


def _overlap(whole: str, stop: str) -> int:
    """Length of the longest end of `whole` that is a beginning of `stop`."""
    for length in range(min(len(stop) - 1, len(whole)), 0, -1):
        if whole.endswith(stop[:length]):
            return length
    return 0


def text(body: dict[str, Any]) -> str:
    """The text in a chunk of either kind."""
    choices = body.get("choices")
    if not choices:
        return ""
    choice = choices[0]
    delta = choice.get("delta")
    return (choice.get("text") if delta is None else delta.get("content")) or ""


def set_text(body: dict[str, Any], content: str) -> None:
    """Replace the text in a chunk of either kind."""
    choice = body["choices"][0]
    if "delta" in choice:
        choice["delta"]["content"] = content
    else:
        choice["text"] = content


def says_more_than_text(body: dict[str, Any]) -> bool:
    """Whether a chunk carries something that token ids alone cannot bring back: a tool call, reasoning, a refusal."""
    delta = body["choices"][0].get("delta")
    return bool(delta) and any(value for key, value in delta.items() if key not in {"role", "content"})


def _is_empty(body: dict[str, Any]) -> bool:
    """Whether a chunk says nothing: neither text, nor a role, nor an end."""
    choices = body.get("choices")
    if not choices:
        return False
    choice = choices[0]
    delta = choice.get("delta")
    return not choice.get("finish_reason") and not (any(delta.values()) if delta else choice.get("text"))


def events(bodies: list[dict[str, Any]]) -> bytes:
    """Return chunks as server-sent events."""
    return b"".join(b"data: %b\n\n" % _encode(body) for body in bodies)
