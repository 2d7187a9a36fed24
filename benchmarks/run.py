"""Gateway, queue and worker against LiteLLM's proxy, in one run.

The whole path under test runs on one core, the stub engine and the load on another. Rounds are interleaved; the table
shows medians and the ratio, which is what can be trusted. `make bench`, or `python -m benchmarks.run --help`. LiteLLM
is measured when it is installed in an environment of its own: LITELLM_ENV (default .venv-litellm).
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.load import latencies, throughput

LITELLM = Path(os.environ.get("LITELLM_ENV", ".venv-litellm"), "bin", "litellm")
# Exact: versions differ by tens of percent, and a later one has been reported as compromised.
LITELLM_VERSION = "1.106.2"
CONNECTIONS = 64
RATE = 20.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(core: int, arguments: list[str], ready: str, log: Path, **environment: str) -> Iterator[None]:
    """A process on one core, from when `ready` answers to the end of the block."""
    pin = [shutil.which("taskset") or "taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []
    with log.open("wb") as out:
        started = subprocess.Popen([*pin, *arguments], stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        until = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(ready, timeout=1):
                break
            if time.monotonic() > until or started.poll() is not None:
                raise SystemExit(f"{arguments[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(10)
        started.kill()


@contextlib.contextmanager
def subjects(folder: Path) -> Iterator[dict[str, str]]:
    """Start what is measured; yields URLs by name."""
    stub, broker, monitor, gateway, other = (free_port() for _ in range(5))
    python = [sys.executable, "-m"]
    config = folder / "nats.conf"
    config.write_text(
        f"listen: 127.0.0.1:{broker}\nhttp: 127.0.0.1:{monitor}\nmax_payload: 8MB\n"
        f'jetstream {{ store_dir: "{folder}/store" }}\n'
    )
    nats = str(Path(sysconfig.get_path("scripts"), "nats-server"))
    queue, engine = f"nats://127.0.0.1:{broker}", f"http://127.0.0.1:{stub}"
    urls = {"direct": engine, "llmfleet": f"http://127.0.0.1:{gateway}"}
    with contextlib.ExitStack() as stack:

        def start(core: int, arguments: list[str], ready: str, **environment: str) -> None:
            log = folder / f"{len(list(folder.glob('*.log')))}.log"
            stack.enter_context(process(core, arguments, ready, log, **environment))

        start(1, [*python, "benchmarks.stub", str(stub)], f"{engine}/health")
        start(0, [nats, "-c", str(config)], f"http://127.0.0.1:{monitor}/healthz")
        ready = folder / "ready"
        worker = ["worker", "--queue", queue, "--model", "m", "--engine", "vllm", "--engine-url", engine]
        slots = ["--pool", "bench", "--slots", "256", "--ready-file", str(ready)]
        listen = ["gateway", "--queue", queue, "--listen", f"127.0.0.1:{gateway}"]
        start(0, [*python, "llmfleet", *listen], f"{urls['llmfleet']}/health")
        start(0, [*python, "llmfleet", *worker, *slots], f"{urls['llmfleet']}/health")
        while not ready.exists():
            time.sleep(0.1)
        if LITELLM.exists():
            urls["litellm"] = f"http://127.0.0.1:{other}"
            settings = folder / "litellm.json"
            model = {"model": "openai/m", "api_base": f"{engine}/v1", "api_key": "none"}
            settings.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": model}]}))
            arguments = ["--config", str(settings), "--host", "127.0.0.1", "--port", str(other), "--num_workers", "1"]
            quiet = {
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_LOG": "ERROR",
                "LITELLM_TELEMETRY": "False",
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            }
            start(0, [str(LITELLM), *arguments], f"{urls['litellm']}/health/liveliness", **quiet)
        yield urls


def measure(urls: dict[str, str], rounds: int, seconds: float, console: Console) -> dict[str, dict[str, float]]:
    """Measure all in turn, several times; return the medians."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in urls}
    for number in range(rounds):
        for name, url in urls.items():
            console.print(f"[dim]round {number + 1} of {rounds}: {name}[/]")
            uvloop.run(throughput(url, CONNECTIONS, 1))
            most = uvloop.run(throughput(url, CONNECTIONS, seconds))
            at_rate = uvloop.run(latencies(url, RATE, seconds))
            times = {"p50": at_rate.quantile(0.5), "p99": at_rate.quantile(0.99)}
            found[name].append({"requests_per_second": most, **times})
    return {
        name: {key: statistics.median(item[key] for item in rows) for key in rows[0]} for name, rows in found.items()
    }


def table(medians: dict[str, dict[str, float]]) -> Table:
    """The result as a table."""
    shown = Table(title=f"1 KB prompt, 50 tokens out; {platform.machine()}, Python {platform.python_version()}")
    for column in ("path", "requests/s", "x LiteLLM", "added p50 ms", "added p99 ms", "p50 / LiteLLM's"):
        shown.add_column(column, justify="left" if column == "path" else "right")
    direct, peer = medians["direct"], medians.get("litellm")
    for name, row in medians.items():
        p50, p99 = row["p50"] - direct["p50"], row["p99"] - direct["p99"]
        times = share = "-"
        if peer is not None and name != "direct":
            times = f"{row['requests_per_second'] / peer['requests_per_second']:.1f}"
            share = f"{p50 / (peer['p50'] - direct['p50']):.3f}"
        own = name == "direct"
        cells = (times, "-" if own else f"{p50:.2f}", "-" if own else f"{p99:.2f}", share)
        shown.add_row(name, f"{row['requests_per_second']:,.0f}", *cells)
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    options = parser.parse_args()
    console = Console(stderr=True)
    if not LITELLM.exists():
        console.print(
            f"LiteLLM is not installed in {LITELLM.parent.parent}; measuring llmfleet alone. To compare:\n"
            f"  python3 -m venv .venv-litellm && .venv-litellm/bin/pip install 'litellm[proxy]=={LITELLM_VERSION}'"
        )
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as folder, subjects(Path(folder)) as urls:
        medians = measure(urls, options.rounds, options.seconds, console)
    if options.json:
        print(json.dumps(medians, indent=2))
    else:
        Console().print(table(medians))


if __name__ == "__main__":
    main()
