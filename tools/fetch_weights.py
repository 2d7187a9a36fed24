"""Fetch the weights that a stack file names, with a progress bar, before Pulumi needs them.

`python -m tools.fetch_weights stacks/Pulumi.local.yaml`. Pulumi would fetch them, too, but in silence.
"""

import contextlib
import sys
from pathlib import Path

import yaml

from llmfleet.config import load_fleet
from llmfleet.errors import ConfigError, LlmfleetError
from llmfleet.models import progress_shown, resolve


def main(stack_file: Path) -> None:
    """Fetch what is missing; a mistake in the stack file is left for `pulumi` to tell."""
    config = (yaml.safe_load(stack_file.read_text()) or {}).get("config", {})
    with contextlib.suppress(ConfigError):
        for model in load_fleet(config.get("llmfleet:fleet"), str(stack_file)).models:
            if model.engine.kind == "llamacpp":
                with progress_shown(model.name) as progress:
                    resolve(model.source, progress=progress)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (LlmfleetError, OSError, yaml.YAMLError) as error:
        sys.exit(f"error: {error}")
