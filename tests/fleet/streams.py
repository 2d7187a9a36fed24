"""Many clients that read streams at once, and remember every byte."""

import asyncio
import json
from dataclasses import dataclass, field

import aiohttp


@dataclass
class Read:
    """What one client got."""

    status: int = 0
    text: str = ""
    finish: str | None = None
    done: bool = False
    error: str | None = None
    tokens: int | None = None
    gaps: list[float] = field(default_factory=list)


async def read(session: aiohttp.ClientSession, url: str, model: str, prompt: str, **body: object) -> Read:
    """Ask for a stream and read it to its end."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        **body,
    }
    got = Read()
    loop = asyncio.get_running_loop()
    async with session.post(f"{url}/v1/chat/completions", json=asked) as response:
        got.status = response.status
        if response.status != 200:
            got.error = await response.text()
            return got
        last = loop.time()
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            got.gaps.append(loop.time() - last)
            last = loop.time()
            data = line[6:].strip()
            if data == b"[DONE]":
                got.done = True
                continue
            event = json.loads(data)
            if "error" in event:
                got.error = event["error"]["message"]
            elif event["choices"]:
                choice = event["choices"][0]
                got.text += choice["delta"].get("content") or ""
                got.finish = choice["finish_reason"] or got.finish
            else:
                got.tokens = event["usage"]["completion_tokens"]
    return got


async def read_many(url: str, model: str, prompts: list[str], **body: object) -> list[Read]:
    """Read one stream for each prompt, all at once."""
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(read(session, url, model, prompt, **body) for prompt in prompts))
