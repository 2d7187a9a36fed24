"""What a client asks for: checked as far as the gateway must know it, the rest is the engine's business."""

from typing import Annotated, Any, Final

import msgspec

from llmfleet.gateway.api_errors import ApiError

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Message(msgspec.Struct):
    role: str


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Common(msgspec.Struct):
    model: Annotated[str, msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None


class ChatRequest(_Common, kw_only=True):
    """A request for /v1/chat/completions; fields that are not named here go to the engine as they are."""

    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]


class CompletionRequest(_Common, kw_only=True):
    """A request for /v1/completions; the prompt is a text, texts, token ids, or lists of those."""

    prompt: str | list[Any]


_decoders: dict[str, msgspec.json.Decoder[ChatRequest] | msgspec.json.Decoder[CompletionRequest]] = {
    CHAT: msgspec.json.Decoder(ChatRequest),
    COMPLETIONS: msgspec.json.Decoder(CompletionRequest),
}
PATHS: Final = frozenset(_decoders)


def parse(path: str, body: bytes) -> ChatRequest | CompletionRequest:
    """Read a request body.

    Raises:
        ApiError: 400 with the field and what was expected there.
    """
    if not body.strip():
        raise ApiError(400, "the request has no body; send a JSON object with at least `model`", code="empty_body")
    try:
        return _decoders[path].decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.rstrip("`").removeprefix(".")
        raise ApiError(
            400, f"{field}: {what}" if field else what, param=field or _missing_field(what), code="invalid_value"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the request body is not valid JSON: {error}", code="invalid_json") from None
    except RecursionError:
        raise ApiError(400, "the request body is nested too deeply", code="invalid_json") from None


def _missing_field(text: str) -> str | None:
    """The field's name in msgspec's "Object missing required field `model`"."""
    parts = text.split("`")
    return parts[1] if "required field" in text and len(parts) > 1 else None
