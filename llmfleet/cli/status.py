"""`llmfleet status`: the fleet as its queue sees it."""

import asyncio
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from llmfleet.cli.process import QUEUE_HELP
from llmfleet.errors import MissingExtraError

if TYPE_CHECKING:
    from llmfleet.queue import Survey, WorkerState

_PLAIN_WIDTH = 160
"""Columns where there is no terminal: wide enough for names not to be cut in a log."""


def status(
    queue: Annotated[str, typer.Option(envvar="LLMFLEET_QUEUE", help=QUEUE_HELP)] = "nats://127.0.0.1:4222",
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
    watch: Annotated[float, typer.Option(min=0, help="Look again every so many seconds, until Ctrl-C.")] = 0.0,
) -> None:
    """Show models, pools with their workers, and gateways."""
    try:
        import msgspec

        from llmfleet.queue import survey
    except ImportError as error:
        raise MissingExtraError("llmfleet status", "gateway") from error

    found = asyncio.run(survey(queue))
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    if not watch:
        console.print(report(found))
        return
    try:
        with Live(report(found), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(watch)
                live.update(report(asyncio.run(survey(queue))), refresh=True)
    except KeyboardInterrupt:
        return


def report(found: "Survey") -> Group:
    """Return a survey in tables, with a line that sums it up."""
    parts: list[Table | Text] = []
    if found.models:
        parts += [_models(found), Text()]
    if found.workers:
        parts += [_workers(found), Text()]
    if found.gateways:
        parts += [_gateways(found), Text()]
    return Group(*parts, summary(found))


def summary(found: "Survey") -> Text:
    """Return the state of the fleet in one line."""
    if not found.workers:
        waiting = sum(model.waiting for model in found.models)
        queued = f"; {_many(waiting, 'request')} waiting" if waiting else ""
        return Text(
            f"No worker answers{queued}. `make up` starts the local fleet, `llmfleet worker` one by hand.", "yellow"
        )
    ready = sum(worker.ready and not worker.draining for worker in found.workers)
    used, slots = _slots(found.workers)
    workers = f"{ready} of {_many(len(found.workers), 'worker')} ready"
    pools = _many(len({worker.pool for worker in found.workers}), "pool")
    waiting = sum(model.waiting for model in found.models)
    text = f"{workers} in {pools}, {used} of {_many(slots, 'slot')} in use, {_many(waiting, 'request')} waiting."
    if not found.gateways:
        text += " No gateway answers."
    return Text(text, "" if ready == len(found.workers) and found.gateways else "yellow")


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    return table


def _models(found: "Survey") -> Table:
    table = _table(
        "MODEL", "WAITING", "RUNNING", "SLOTS", "CONTEXT", numbers=("WAITING", "RUNNING", "SLOTS", "CONTEXT")
    )
    for model in found.models:
        workers = [worker for worker in found.workers if worker.model == model.name]
        context = min((worker.max_model_len for worker in workers if worker.max_model_len), default=0)
        waiting = Text(str(model.waiting), "yellow" if model.waiting else "")
        used, slots = _slots(workers)
        table.add_row(model.name, waiting, str(model.leased), f"{used}/{slots}", str(context or "-"))
    return table


def _workers(found: "Survey") -> Table:
    table = _table("POOL", "WORKER", "MODEL", "ENGINE", "SLOTS", "STATE", "UP", numbers=("SLOTS", "UP"))
    pool = ""
    for worker in found.workers:
        slots = f"{worker.used}/{worker.slots}"
        shown = worker.pool if worker.pool != pool else ""
        pool = worker.pool
        table.add_row(shown, worker.name, worker.model, worker.engine, slots, _state(worker), _since(worker.uptime_s))
    return table


def _gateways(found: "Survey") -> Table:
    table = _table("GATEWAY", "ADDRESS", "REQUESTS", "UP", numbers=("REQUESTS", "UP"))
    for gateway in found.gateways:
        table.add_row(gateway.name, gateway.listen, str(gateway.streams), _since(gateway.uptime_s))
    return table


def _state(worker: "WorkerState") -> Text:
    if worker.draining:
        return Text("draining", "yellow")
    return Text("ready", "green") if worker.ready else Text("engine away", "red")


def _slots(workers: "list[WorkerState]") -> tuple[int, int]:
    return sum(worker.used for worker in workers), sum(worker.slots for worker in workers)


def _since(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
