"""The command line. Each command has a module; what is heavy is imported when a command runs."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from llmfleet import __version__
from llmfleet.cli import chat, engine, gateway, status, weights, worker
from llmfleet.errors import LlmfleetError

app = typer.Typer(
    name="llmfleet",
    help="Serve open LLMs on the cheapest GPUs of many clouds through one queue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("chat")(chat.chat)
app.command("status")(status.status)
app.command("gateway")(gateway.gateway)
app.command("worker")(worker.worker)
app.add_typer(engine.app, name="engine")
app.command("weights")(weights.weights)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's mistake ends with a plain text and exit code 1."""
    try:
        app()
    except LlmfleetError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print("error", style="bold red", end=" ")
        console.print(str(error), markup=False)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
