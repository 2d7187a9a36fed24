"""Engines as the processes that they are in a fleet."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import aiohttp
from talk import Talk


@contextlib.asynccontextmanager
async def program(port: int, *arguments: object) -> AsyncIterator[tuple[asyncio.subprocess.Process, Talk]]:
    """Run `llmfleet engine ARGUMENTS` on a port until it is ready; end it at last if it still runs."""
    command = [sys.executable, "-m", "llmfleet", "engine", *map(str, arguments), "--listen", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        # llama.cpp closes kept-alive connections when it likes, so none is kept.
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
            talk = Talk(f"http://127.0.0.1:{port}", session)
            async with asyncio.timeout(30):
                while not await _ready(talk):
                    assert process.returncode is None, f"ended with {process.returncode} before it was ready"
                    await asyncio.sleep(0.05)
            yield process, talk
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(talk: Talk) -> bool:
    try:
        return (await talk.get("/health"))[0] == 200
    except aiohttp.ClientError:
        return False


async def fails(*arguments: object) -> str:
    """Run `llmfleet engine ARGUMENTS`, which must end with exit code 1 and no traceback; return what it says."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "llmfleet", "engine", *map(str, arguments)],
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in said
    return said.decode()
