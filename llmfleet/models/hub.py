"""Weights of the Hugging Face hub, in its own cache, which other programs share."""

import io
import os
import re
from pathlib import Path
from typing import Any

from llmfleet.errors import LocalError, MissingExtraError
from llmfleet.models.progress import Progress
from llmfleet.models.sources import Hub
from llmfleet.words import nearest

_SUFFIX = ".gguf"
_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
_MOST_LISTED = 20


def fetch(source: Hub, progress: Progress | None = None) -> Path:
    """Return the path of a file of weights; of weights in parts all are fetched, and the first part's path returned.

    Honours HF_ENDPOINT, HF_HOME, HF_TOKEN and the hub's other variables.

    Raises:
        LocalError: no such repository or file, no access, no network, or no single file to choose.
        MissingExtraError: huggingface_hub is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtraError("a source hf://", "local") from error

    named = f"hf://{source.repository}" + (f"/{source.file}" if source.file else "")
    try:
        file = source.file or _only_file(source, huggingface_hub.HfApi().list_repo_files(source.repository))
        bar = _bar(progress)
        paths = [
            Path(huggingface_hub.hf_hub_download(source.repository, part, tqdm_class=bar)) for part in _parts(file)
        ]
    except errors.GatedRepoError as error:
        raise LocalError(
            f"{named}: access must be asked for at {_page(source)}; then set HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise LocalError(
            f"{named}: no repository {source.repository}, or a private one; look at {_page(source)}, or set HF_TOKEN"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise LocalError(_unreachable(named, error)) from error
    except errors.EntryNotFoundError as error:
        raise LocalError(_no_file(source, huggingface_hub.HfApi().list_repo_files(source.repository))) from error
    except errors.HfHubHTTPError as error:
        raise LocalError(f"{named}: {str(error).splitlines()[0]}") from error
    except (errors.HTTPError, ConnectionError) as error:  # type: ignore[attr-defined] # of httpx, or what replaced it
        raise LocalError(_unreachable(named, error)) from error
    return paths[0]


def _parts(file: str) -> list[str]:
    """Return the names of all parts of the weights to which a file belongs, the first one first."""
    found = _PART.search(file)
    if not found:
        return [file]
    stem, count = file[: found.start()], found["count"]
    return [f"{stem}-{number:05}-of-{count}{_SUFFIX}" for number in range(1, int(count) + 1)]


def _models(files: list[str]) -> list[str]:
    """Return the files of weights of a repository, of weights in parts the first."""
    parts = {_parts(file)[0] for file in files if file.endswith(_SUFFIX)}
    return sorted(parts & set(files))


def _only_file(source: Hub, files: list[str]) -> str:
    models = _models(files)
    if len(models) == 1:
        return models[0]
    raise LocalError(_no_file(source, files))


def _no_file(source: Hub, files: list[str]) -> str:
    """Return what to choose from, for a source that does not name a file of its repository."""
    models = _models(files)
    named = f"hf://{source.repository}"
    if not models:
        return f"{named} has no {_SUFFIX} file; look for a repository of the same model with -GGUF in its name"
    if source.file and (near := nearest(source.file, models)):
        return f"{named} has no file {source.file}; did you mean {near}?"
    head = (
        f"{named} has no file {source.file}; it has:"
        if source.file
        else f"{named} has {len(models)} {_SUFFIX} files; name one:"
    )
    listed = [f"  {named}/{model}" for model in models[:_MOST_LISTED]]
    more = [f"  and {len(models) - _MOST_LISTED} more"] * (len(models) > _MOST_LISTED)
    return "\n".join([head, *listed, *more])


def _unreachable(named: str, error: Exception) -> str:
    from huggingface_hub import constants

    told = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return (
        f"{named}: the hub at {constants.ENDPOINT} cannot be reached, and the file is not in its cache "
        f"({told[0]}); look at the network, or set HF_ENDPOINT to a mirror"
    )


def _page(source: Hub) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{source.repository}"


def _bar(progress: Progress | None) -> Any:
    """Return a class that the hub's client takes for its progress bar, and that prints nothing."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no thread that outlives the download

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": False, "file": io.StringIO()})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> Any:
            shown = super().update(n)
            if progress:
                progress(int(self.n), int(self.total or 0))
            return shown

    return Bar
