"""How the tests of engines talk to them: requests, and streams of server-sent events."""

import json
from dataclasses import dataclass, field

import aiohttp


@dataclass
class Stream:
    """A stream that has ended, however it did."""

    events: list[dict] = field(default_factory=list)
    done: bool = False
    """Whether [DONE] came."""
    broken: bool = False
    """Whether the connection broke in mid-stream."""

    @property
    def chunks(self) -> list[dict]:
        """Choices of all events, in order."""
        return [choice for event in self.events for choice in event.get("choices", ())]

    @property
    def text(self) -> str:
        """Text of the first choice."""
        return "".join(
            (chunk["text"] if "text" in chunk else chunk["delta"].get("content", ""))
            for chunk in self.chunks
            if chunk["index"] == 0
        )

    @property
    def ids(self) -> list[int]:
        """Token ids of the first choice."""
        return [number for chunk in self.chunks if chunk["index"] == 0 for number in chunk.get("token_ids") or ()]

    @property
    def finish(self) -> str | None:
        """Finish reason of the last choice that came."""
        return self.chunks[-1]["finish_reason"] if self.chunks else None

    @property
    def error(self) -> dict | None:
        """The error event, if one came."""
        return next((event["error"] for event in self.events if "error" in event), None)


class Talk:
    """An engine, as its client sees it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()

    async def post(self, path: str, body: object = None, **options: object) -> tuple[int, dict]:
        async with self.session.post(self.url + path, json=body, **options) as response:
            return response.status, await response.json()

    async def faults(self, *faults: dict) -> None:
        """Switch these faults on, and all others off."""
        await self.session.delete(self.url + "/_faults")
        for fault in faults:
            assert (await self.post("/_faults", fault))[0] == 200

    async def complete(self, prompt: object, **options: object) -> dict:
        """Return the first choice of a completion that is not streamed."""
        status, answer = await self.post("/v1/completions", {"prompt": prompt, "return_token_ids": True, **options})
        assert status == 200, answer
        return answer["choices"][0]

    async def stream(self, path: str, **body: object) -> Stream:
        """Read a stream to its end, whatever end that is."""
        found = Stream()
        async with self.session.post(self.url + path, json={"stream": True, **body}) as response:
            assert response.status == 200, await response.text()
            try:
                async for line in response.content:
                    take(line, found)
            except aiohttp.ClientError:
                found.broken = True
        return found

    async def metric(self, name: str) -> float:
        """Return the value of vLLM's metric of that name."""
        _, text = await self.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith(f"vllm:{name}{{")]
        assert lines, f"no metric vllm:{name}"
        return float(lines[0].rpartition(" ")[2])


def take(line: bytes, found: Stream) -> None:
    """Add a line of a stream to what was found."""
    data = line.removeprefix(b"data: ").strip()
    if not data:
        return
    assert line.startswith(b"data: "), line
    assert not found.done, "nothing may follow [DONE]"
    if data == b"[DONE]":
        found.done = True
    else:
        found.events.append(json.loads(data))


def user(text: str) -> list[dict]:
    """Return the messages of a chat with one question."""
    return [{"role": "user", "content": text}]
