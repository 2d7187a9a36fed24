"""`llmfleet engine`: model servers that llmfleet starts by itself."""

from pathlib import Path
from typing import Annotated

import typer

from llmfleet.cli.process import address, run
from llmfleet.errors import MissingExtraError

app = typer.Typer(help="Run a model server that a worker can stand beside.", no_args_is_help=True)

_LISTEN = typer.Option(help="Address of the server, HOST:PORT.")
_MODEL = typer.Option(help="Name of the model, as clients ask for it.")


@app.command("llamacpp")
def llamacpp(
    listen: Annotated[str, _LISTEN],
    model_path: Annotated[Path, typer.Option(help="The weights, a GGUF file.")],
    model: Annotated[str, _MODEL],
    slots: Annotated[int, typer.Option(min=1, max=256, help="Requests served at once.")] = 4,
    context: Annotated[int, typer.Option(min=16, help="Tokens of prompt and answer together, for each slot.")] = 2048,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads. More than the free cores is slower, by up to thirty times.")
    ] = 1,
    ubatch: Annotated[
        int,
        typer.Option(
            min=1,
            help="Prompt tokens computed at once. 1 makes an answer that is continued elsewhere bit for bit the same.",
        ),
    ] = 512,
) -> None:
    """Serve a GGUF file with llama.cpp."""
    from llmfleet.engines.llamacpp import Options, serve

    host, port = address(listen)
    run(serve(host, port, Options(model_path, model, slots, context, threads, ubatch)))


@app.command("simulated")
def simulated(
    listen: Annotated[str, _LISTEN],
    model: Annotated[str, _MODEL],
    slots: Annotated[int, typer.Option(min=1, help="Requests served at once; further ones wait.")] = 256,
    context: Annotated[int, typer.Option(min=16, help="Tokens of prompt and answer together.")] = 8192,
    ttft_ms: Annotated[float, typer.Option(min=0, help="Milliseconds before the first token.")] = 0.0,
    tokens_per_second: Annotated[
        float, typer.Option(min=0, help="Pace of each stream; 0 is as fast as possible.")
    ] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND[:key=value,...]: hang, die, error, slow or refuse; keys after_tokens, times, factor. "
            "At run time: POST, GET, DELETE /_faults."
        ),
    ] = None,
    shutdown_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests get after SIGTERM.")
    ] = 0.0,
) -> None:
    """Serve a model that is none, with vLLM's surface: for tests, drills and benchmarks."""
    try:
        from llmfleet.engines.simulated import Options, serve
        from llmfleet.engines.simulated.faults import parse
    except ImportError as error:
        raise MissingExtraError("the simulated engine", "gateway") from error

    host, port = address(listen)
    faults = tuple(parse(text) for text in fault or ())
    options = Options(model, slots, context, ttft_ms, tokens_per_second, faults, shutdown_timeout)
    run(serve(host, port, options))
