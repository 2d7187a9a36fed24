"""The environment in which Pulumi works on a stack of this machine, apart from anything of the user's."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path


def variables(root: Path, stack: str) -> dict[str, str]:
    """Return the variables that keep Pulumi inside the checkout `root`, without PATH.

    State, plugins and login live in `root`/.llmfleet; the state directory is made, because the file backend asks
    for one that exists.
    """
    own = root / ".llmfleet"
    state = own / "state"
    state.mkdir(parents=True, exist_ok=True)
    return {
        "PULUMI_HOME": str(own / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_STACK": stack,
        # The state holds no secret of value; an unset passphrase would be asked for.
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
        "PULUMI_PYTHON_CMD": str(root / ".venv" / "bin" / "python"),
    }


def folders(root: Path, cli: Path) -> list[Path]:
    """Return the directories that go in front of PATH.

    The virtual environment's is first: a CLI in /usr/local/bin must not bring a Python from there along.
    """
    return [root / ".venv" / "bin", cli]


def exports(root: Path, cli: Path, stack: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return shell lines for `eval`; evaluated again they change nothing."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables(root, stack).items()]
    front = os.pathsep.join(map(str, folders(root, cli)))
    if not environment.get("PATH", "").startswith(front):
        lines.append(f'export PATH={shlex.quote(front)}:"$PATH"')
    return "\n".join(lines)
