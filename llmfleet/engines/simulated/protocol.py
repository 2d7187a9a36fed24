"""Requests as vLLM's server takes them, and its way to refuse them."""

from typing import Any

import msgspec

from llmfleet.engines.simulated import tokens
from llmfleet.engines.simulated.generate import Generation, Limits


class RequestError(Exception):
    """The server's answer to a request it does not serve, in vLLM's shape."""

    def __init__(self, status: int, message: str, param: str | None = None, kind: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.kind = kind or _KINDS.get(status, "InternalServerError")

    def body(self) -> bytes:
        """Return the error as JSON."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return msgspec.json.encode({"error": error})


_KINDS = {400: "BadRequestError", 404: "NotFoundError", 503: "ServiceUnavailableError"}

_MOST_COPIES = 128
ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One turn of a chat."""

    role: str
    content: str | list[_Part] | None = None

    def pair(self) -> tuple[str, str]:
        """Return role and text."""
        if self.content is None or isinstance(self.content, str):
            return self.role, self.content or ""
        for part in self.content:
            if part.type != "text":
                raise RequestError(400, f"At most 0 {part.type.removesuffix('_url')}(s) may be provided in one prompt.")
        return self.role, "\n".join(part.text or "" for part in self.content)


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class Request(msgspec.Struct):
    """What both ways to generate have in common. Fields that a simulation has no use for are ignored."""

    model: str | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: int | None = 1
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    return_token_ids: bool | None = False

    @property
    def include_usage(self) -> bool:
        """Whether a usage chunk ends the stream."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def limits(self, max_tokens: int) -> Limits:
        """Return when a generation of this request ends."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if not all(stop):
            raise RequestError(400, "stop cannot contain an empty string.")
        return Limits(
            max_tokens=max_tokens,
            stop=tuple(stop),
            stop_token_ids=frozenset(self.stop_token_ids or ()),
            include_stop=self.include_stop_str_in_output,
            ignore_eos=self.ignore_eos,
        )


class ChatRequest(Request):
    """Body of POST /v1/chat/completions."""

    messages: list[Message] = msgspec.field(default_factory=list)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False

    def prompts(self) -> list[tuple[int, ...]]:
        """Return the prompt's token ids."""
        return [chat_ids(self)]

    def wanted(self) -> int | None:
        """Return how many tokens the client asks for."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionRequest(Request):
    """Body of POST /v1/completions."""

    prompt: str | list[str | int | list[int]] = ""
    max_tokens: int | None = 16
    add_special_tokens: bool = True

    def prompts(self) -> list[tuple[int, ...]]:
        """Return the token ids of every prompt."""
        if isinstance(self.prompt, list) and self.prompt and all(isinstance(item, int) for item in self.prompt):
            items: list[Any] = [self.prompt]
        else:
            items = self.prompt if isinstance(self.prompt, list) else [self.prompt]
        return [self._ids(item) for item in items]

    def _ids(self, item: str | int | list[int]) -> tuple[int, ...]:
        if isinstance(item, int):
            raise RequestError(
                400, "prompt must be a string, array of strings, array of tokens, or array of token arrays"
            )
        if isinstance(item, str):
            return text_ids(item, add_special_tokens=self.add_special_tokens)
        return checked_ids(item)

    def wanted(self) -> int | None:
        """Return how many tokens the client asks for."""
        return self.max_tokens


class TokenizeRequest(msgspec.Struct):
    """Body of POST /tokenize, for a text or for a chat."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    return_token_strs: bool | None = False

    def ids(self) -> tuple[int, ...]:
        """Return the token ids asked for."""
        if self.messages is not None:
            return chat_ids(self)
        if self.prompt is None:
            raise RequestError(400, "Field required: prompt or messages")
        return text_ids(self.prompt, add_special_tokens=self.add_special_tokens is not False)


class DetokenizeRequest(msgspec.Struct):
    """Body of POST /detokenize."""

    tokens: list[int]
    model: str | None = None

    def checked(self) -> tuple[int, ...]:
        """Return the token ids, all of which exist."""
        return checked_ids(self.tokens)


def checked_ids(ids: list[int]) -> tuple[int, ...]:
    """Return the ids if all of them exist.

    Raises:
        RequestError: one does not.
    """
    for number in ids:
        if not 0 <= number < tokens.VOCABULARY:
            raise RequestError(400, f"Token id {number} is out of vocabulary")
    return tuple(ids)


def text_ids(text: str, *, add_special_tokens: bool) -> tuple[int, ...]:
    """Return the ids of a plain prompt, behind the token that begins a text unless that is switched off."""
    ids = tokens.encode(text)
    return (tokens.BOS, *ids) if add_special_tokens else ids


def chat_ids(request: ChatRequest | TokenizeRequest) -> tuple[int, ...]:
    """Return the ids of a chat: the template has its own special tokens, so none is added unless asked for."""
    if not request.messages:
        raise RequestError(400, "messages must hold at least one message", "messages")
    if request.continue_final_message and request.add_generation_prompt:
        raise RequestError(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    text = tokens.render(
        [message.pair() for message in request.messages],
        add_generation_prompt=request.add_generation_prompt,
        open_end=request.continue_final_message,
    )
    return text_ids(text, add_special_tokens=request.add_special_tokens is True)


def generations(request: ChatRequest | CompletionRequest, max_model_len: int) -> list[Generation]:
    """Return the sequences a request asks for, `n` for each prompt, in the order of their choices.

    Raises:
        RequestError: the prompt is empty or does not fit.
    """
    if request.stream_options is not None and not request.stream:
        raise RequestError(400, "Stream options can only be defined when `stream=True`.", "stream_options")
    wanted, copies = request.wanted(), 1 if request.n is None else request.n
    if not 1 <= copies <= _MOST_COPIES:
        raise RequestError(400, f"n must be between 1 and {_MOST_COPIES}, got {copies}.", "n")
    if wanted is not None and wanted < 1:
        raise RequestError(400, f"max_tokens must be at least 1, got {wanted}.", "max_tokens")
    if (wanted or 0) > max_model_len:
        text = f"max_tokens={wanted} cannot be greater than max_model_len={max_model_len}."
        text += f" Please request fewer output tokens. (parameter=max_tokens, value={wanted})"
        raise RequestError(400, text, "max_tokens")
    prompts = request.prompts()
    if not prompts or not all(prompts):
        raise RequestError(400, "Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    found: list[Generation] = []
    for ids in prompts:
        room = max_model_len - len(ids)
        if room < max(wanted or 0, 1):
            raise _too_long(max_model_len, wanted or 0)
        limits = request.limits(wanted or room)
        found += [Generation(ids, limits, len(found) + copy) for copy in range(copies)]
    return found


def _too_long(max_model_len: int, wanted: int) -> RequestError:
    # vLLM stops tokenising one token behind the limit, hence "at least" and this number whatever the prompt's length.
    floor = max_model_len - wanted + 1
    text = (
        f"This model's maximum context length is {max_model_len} tokens. However, you requested {wanted} output tokens "
        f"and your prompt contains at least {floor} input tokens, for a total of at least {max_model_len + 1} tokens. "
        "Please reduce the length of the input prompt or the number of requested output tokens. "
        f"(parameter=input_tokens, value={floor})"
    )
    return RequestError(400, text, "input_tokens")
