"""A simulated engine inside the test, and somebody to talk to it."""

import contextlib
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from talk import Talk

from llmfleet.engines import simulated


@pytest.fixture
async def engine() -> AsyncIterator[Callable[..., Talk]]:
    """A function that starts an engine with the options given and returns a way to talk to it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: object) -> Talk:
            url = await stack.enter_async_context(simulated.running(**{"model": "m", **options}))
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)))
            return Talk(url, session)

        yield start
