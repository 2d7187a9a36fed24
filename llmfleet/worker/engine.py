"""HTTP to the engine beside the worker."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from llmfleet.errors import ConfigError
from llmfleet.worker.http import Http, HttpError

_HEALTH_SECONDS: Final = 5.0
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class EngineFailedError(Exception):
    """The engine is dead, ill or refuses for now: another worker can serve the order."""


class RequestRefusedError(Exception):
    """The engine refuses the request for good: every other one would, too."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:200].decode(errors='replace')}")
        self.status = status
        self.body = body


class Engine:
    """The model server that a worker drives."""

    def __init__(self, url: str) -> None:
        """Prepare to speak to the engine at `url`.

        Args:
            url: http://HOST:PORT

        Raises:
            ConfigError: it is none.
        """
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"--engine-url is {url!r}; it must be like http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self._http = Http(self.url)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    async def health(self) -> bool | None:
        """Whether the engine is ready; None when it does not say in time, which a busy one may well not."""
        try:
            async with asyncio.timeout(_HEALTH_SECONDS), self._http.request("GET", "/health") as response:
                await response.read()
                return response.status == 200
        except TimeoutError:
            return None
        except HttpError:
            return False

    async def get(self, path: str) -> Any:
        """GET a JSON document.

        Raises:
            EngineFailedError: there is none.
        """
        return _decode(await self._ask("GET", path, b""))

    async def post(self, path: str, body: dict[str, Any] | bytes) -> bytes:
        """POST JSON; return the answer's body.

        Raises:
            EngineFailedError: the engine is dead or refuses for now.
            RequestRefusedError: the engine refuses this request.
        """
        return await self._ask("POST", path, body if isinstance(body, bytes) else _encode(body))

    async def _ask(self, method: str, path: str, body: bytes) -> bytes:
        try:
            async with self._http.request(method, path, body) as response:
                answer = await response.read()
        except HttpError as error:
            raise EngineFailedError(f"the engine at {self.url} failed: {error}") from error
        _check(response.status, answer)
        return answer

    async def events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[list[bytes], None]:
        """POST JSON; yield the payloads of the server-sent events, as many at a time as arrived together.

        Raises:
            EngineFailedError: the engine is dead, died, or refuses for now.
            RequestRefusedError: the engine refuses this request.
        """
        try:
            async with self._http.request("POST", path, _encode(body)) as response:
                if response.status != 200:
                    _check(response.status, await response.read())
                rest = b""
                async for data in response.pieces():
                    *whole, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
                    if batch := [event[5:].strip() for event in whole if event.startswith(b"data:")]:
                        yield batch
        except HttpError as error:
            raise EngineFailedError(f"the engine at {self.url} failed: {error}") from error


def _check(status: int, body: bytes) -> None:
    if status < 400:
        return
    if status >= 500 or status in {408, 425, 429}:
        raise EngineFailedError(f"the engine answered {status}: {body[:200].decode(errors='replace')}")
    raise RequestRefusedError(status, openai_error(status, body))


def openai_error(status: int, body: bytes) -> bytes:
    """Return an engine's error in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        found = {}
    inner = found.get("error", found) if isinstance(found, dict) else {}
    if isinstance(inner, str):
        inner = {"message": inner}
    if not isinstance(inner, dict) or not inner.get("message"):
        inner = {"message": body[:500].decode(errors="replace") or f"the engine answered {status}"}
    code = inner.get("code")
    if inner.get("type") == "exceed_context_size_error" or inner.get("param") == "input_tokens":
        code = "context_length_exceeded"
    elif isinstance(code, int):
        code = None  # some engines repeat the status here
    error = {
        "message": inner["message"],
        "type": "invalid_request_error",
        "param": inner.get("param"),
        "code": code,
    }
    return _encode({"error": error})
