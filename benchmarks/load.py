"""Load on an OpenAI-compatible endpoint: as many requests as it takes, or at a steady rate whatever it does."""

import asyncio
import json
import random
import time
from dataclasses import dataclass

from llmfleet.worker.http import Http

PATH = "/v1/chat/completions"
_BODY = {"model": "m", "messages": [{"role": "user", "content": "hello " * 160}], "max_tokens": 50}
WHOLE = json.dumps(_BODY).encode()


@dataclass
class Latencies:
    """Seconds of each request, from the instant when it should have been sent."""

    seconds: list[float]
    failed: int

    def quantile(self, share: float) -> float:
        """The latency that `share` of the requests stayed below, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def throughput(url: str, connections: int, seconds: float) -> float:
    """Requests a second over so many connections, each asking again as soon as it has its answer."""
    http = Http(url)
    end = time.perf_counter() + seconds
    done = 0

    async def ask_on() -> None:
        nonlocal done
        while time.perf_counter() < end:
            async with http.request("POST", PATH, WHOLE) as response:
                await response.read()
                if response.status != 200:
                    raise SystemExit(f"{url} answered {response.status} under load")
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(ask_on() for _ in range(connections)))
    http.close()
    return done / (time.perf_counter() - began)


async def latencies(url: str, rate: float, seconds: float) -> Latencies:
    """Latencies at Poisson arrivals of `rate` a second: a late answer does not delay the next question."""
    http = Http(url)
    found = Latencies([], 0)
    rng = random.Random(7)

    async def ask(scheduled: float) -> None:
        async with http.request("POST", PATH, WHOLE) as response:
            await response.read()
            if response.status != 200:
                found.failed += 1
                return
        found.seconds.append(time.perf_counter() - scheduled)

    asking = []
    at = time.perf_counter()
    end = at + seconds
    while (at := at + rng.expovariate(rate)) < end:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        asking.append(asyncio.ensure_future(ask(at)))
    await asyncio.gather(*asking)
    http.close()
    return found
