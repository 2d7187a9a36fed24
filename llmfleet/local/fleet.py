"""The programs that make a local fleet: their command lines, ports and signs of health.

`{queue_url}` and `{weights}` stand for values that are known when the queue and the weights are there.
"""

import hashlib
import re
from collections.abc import Mapping

from llmfleet.local.ports import Port
from llmfleet.local.program import Program

_NATS_CONF = """\
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor_port}
max_payload: 8MB
jetstream {{
  store_dir: data/nats
  max_file: 2GB
}}
"""


def queue(port: int, monitor_port: int) -> Program:
    """Return the NATS server; its JetStream store is removed with it."""
    return Program(
        name="queue",
        command=("nats-server", "-c", "nats.conf"),
        health_url=f"http://127.0.0.1:{monitor_port}/healthz",
        ports=(Port(port, "queue.port"), Port(monitor_port, "queue.monitor_port")),
        files={"nats.conf": _NATS_CONF.format(port=port, monitor_port=monitor_port)},
        folders=("data/nats",),
    )


def gateway(host: str, port: int, models: list[str], progress_timeout_seconds: float) -> Program:
    """Return the gateway; its value is `queue_url`."""
    options = {
        "listen": f"{host}:{port}",
        "queue": "{queue_url}",
        "name": "gateway",
        "progress_timeout": progress_timeout_seconds,
    }
    return Program(
        name="gateway",
        command=("llmfleet", "gateway", *_flags(options), *(f"--model={model}" for model in models)),
        health_url=f"http://{_reachable(host)}:{port}/health",
        ports=(Port(port, "gateway.port"),),
        # Longer than it waits for answers under way.
        stop_seconds=35,
    )


def replica_name(index: int, model: str) -> str:
    """Return a name for a replica that is unique in its pool and can be part of a file's name.

    The index first: a pool "a" with a model "b-c" and a pool "a-b" with a model "c" stay apart.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", model)
    # org/model and org-model are two models.
    mark = "" if plain == model else "-" + hashlib.sha256(model.encode()).hexdigest()[:6]
    return f"{index}-{plain}{mark}"


def needs_weights(kind: str) -> bool:
    """Say whether an engine of this kind reads a file of weights."""
    return kind != "simulated"


def engine(replica: str, port: Port, kind: str, options: Mapping[str, object]) -> Program:
    """Return a model server; a kind that needs weights has the value `weights`.

    Args:
        replica: Name of the replica, unique in the stack.
        port: Where it listens.
        kind: A command of `llmfleet engine`.
        options: What that command takes beside `--listen` and the weights.
    """
    weights = ["--model-path={weights}"] if needs_weights(kind) else []
    return Program(
        name=f"{replica}-engine",
        command=("llmfleet", "engine", kind, f"--listen=127.0.0.1:{port.number}", *weights, *_flags(options)),
        health_url=f"http://127.0.0.1:{port.number}/health",
        ports=(port,),
        # Weights of some gigabytes come from a cold disk.
        start_seconds=300,
    )


def worker(replica: str, pool: str, model: str, kind: str, engine_port: int, slots: int) -> Program:
    """Return the worker beside a model server; its value is `queue_url`."""
    ready_file = f"run/{replica}.ready"
    options = {
        "queue": "{queue_url}",
        "model": model,
        "engine": kind,
        "engine_url": f"http://127.0.0.1:{engine_port}",
        "pool": pool,
        "slots": slots,
        "name": replica,
        "ready_file": ready_file,
    }
    return Program(
        name=f"{replica}-worker",
        command=("llmfleet", "worker", *_flags(options)),
        ready_file=ready_file,
        # Longer than its --drain-seconds: running orders end or go to others before it is killed.
        stop_seconds=20,
    )


def _flags(options: Mapping[str, object]) -> list[str]:
    return [f"--{key.replace('_', '-')}={_text(value)}" for key, value in options.items()]


def _text(value: object) -> str:
    # 2 and 2.0 mean the same in a stack file; the command line, and so the program, must be the same too.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 the address is read here, not listened on
