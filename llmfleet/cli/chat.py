"""`llmfleet chat`: one question, one streamed answer. Needs nothing but the standard library."""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from llmfleet.errors import ConfigError, LlmfleetError

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 600.0
"""How long the gateway may stay silent, as in OpenAI's client: a request may wait in the queue."""
_INTERRUPTED = 130


def chat(
    prompt: Annotated[str, typer.Argument(help="What to say; - reads it from the standard input.")],
    url: Annotated[
        str, typer.Option(envvar="LLMFLEET_URL", help="The gateway, or any OpenAI-compatible server.")
    ] = "http://127.0.0.1:8080",
    model: Annotated[str, typer.Option(help="Name of the model. Default: the first one that the gateway has.")] = "",
    system: Annotated[str, typer.Option(help="A system message in front of the prompt.")] = "",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, tokens. Default: what fits the model.")
    ] = None,
) -> None:
    """Ask a model of the fleet and print its answer as it comes.

    Only the answer goes to the standard output, so it can be piped.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise ConfigError("the prompt is empty; say something: llmfleet chat 'Write a haiku about spot instances'")
    gateway = _Gateway(url)
    body: dict[str, Any] = {
        "model": model or gateway.first_model(),
        "messages": [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    answer = _Printer()
    try:
        for event in gateway.events("/v1/chat/completions", body):
            answer.take(event)
    except KeyboardInterrupt:
        answer.end_line()
        # Leaving closes the connection, by which the gateway sees that nobody waits any more.
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        gateway.close()
        answer.end_line()
    if not answer.finish:
        raise LlmfleetError("the answer was cut: the gateway closed the stream before it said why it ended")
    answer.print_figures(body["model"])


class _Printer:
    """Writes an answer to the standard output and counts."""

    def __init__(self) -> None:
        self.finish = ""
        self._started = time.monotonic()
        self._first = 0.0
        self._last = 0.0
        self._tokens = 0
        self._open_line = False

    def take(self, event: dict[str, Any]) -> None:
        """Print what an event brings."""
        if usage := event.get("usage"):
            self._tokens = usage.get("completion_tokens", 0)
        for choice in event.get("choices") or ():
            if text := (choice.get("delta") or {}).get("content"):
                self._last = time.monotonic()
                self._first = self._first or self._last
                sys.stdout.write(text)
                sys.stdout.flush()
                self._open_line = not text.endswith("\n")
            self.finish = choice.get("finish_reason") or self.finish

    def end_line(self) -> None:
        """End the answer's last line."""
        if self._open_line:
            self._open_line = False
            sys.stdout.write("\n")
            sys.stdout.flush()

    def print_figures(self, model: str) -> None:
        """Tell a person at a terminal how long it took."""
        if not (sys.stdout.isatty() and self._first):
            return
        decoding = self._last - self._first
        figures = [model, f"{self._tokens} tokens", f"first after {self._first - self._started:.2f} s"]
        if self._tokens > 1 and decoding > 0:
            figures.append(f"{(self._tokens - 1) / decoding:.1f} tokens/s")
        if self.finish == "length":
            figures.append("cut at the limit of tokens")
        Console(stderr=True, highlight=False).print("  ".join(figures), style="dim", markup=False)


class _Gateway:
    """A connection to an OpenAI-compatible server."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--url is {url!r}; it must be http://HOST:PORT, like http://127.0.0.1:8080")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=_CONNECT_SECONDS)
        except ValueError as error:
            raise ConfigError(f"--url is {url!r}: {error}") from error
        self._path = parts.path

    def close(self) -> None:
        """Hang up, also in the middle of an answer."""
        self._connection.close()

    def first_model(self) -> str:
        """Return the name of the first model that the server has."""
        found = json.loads(self._request("GET", "/v1/models").read())
        if not found.get("data"):
            raise LlmfleetError(f"the gateway at {self._url} has no model yet; `llmfleet status` shows its workers")
        return str(found["data"][0]["id"])

    def events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a streamed answer.

        Raises:
            LlmfleetError: the server is away, refuses the request, or tells of an error in mid-stream.
        """
        response = self._request("POST", path, json.dumps(body).encode())
        try:
            for line in response:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                event = json.loads(data)
                if "error" in event:
                    raise LlmfleetError(f"the answer was cut: {_message(event)}")
                yield event
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LlmfleetError(f"the answer was cut: {error or type(error).__name__}") from error

    def _request(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            self._connection.connect()
            self._connection.sock.settimeout(_ANSWER_SECONDS)
            self._connection.request(method, self._path + path, body, headers)
            response = self._connection.getresponse()
            if response.status != http.client.OK:
                raise LlmfleetError(f"the gateway answered {response.status}: {_message(response.read())}")
        except (OSError, http.client.HTTPException) as error:
            raise LlmfleetError(
                f"no gateway answers at {self._url}: {error}; is the fleet up? Another address: --url or LLMFLEET_URL"
            ) from error
        return response


def _message(answer: bytes | dict[str, Any]) -> str:
    """Return the text of an error in OpenAI's shape, or whatever came instead."""
    try:
        found = json.loads(answer) if isinstance(answer, bytes) else answer
        return str(found["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return (answer.decode("utf-8", "replace") if isinstance(answer, bytes) else json.dumps(answer))[:500]
