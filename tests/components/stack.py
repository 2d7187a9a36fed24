"""A stack of its own, run by the real Pulumi CLI as a user would by hand."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@dataclass
class Run:
    """What one command did."""

    code: int
    text: str
    operations: dict[str, str] = field(default_factory=dict)
    """Name of the resource to operation, without those that stayed the same."""

    @property
    def counts(self) -> Counter[str]:
        """Number of resources by operation."""
        return Counter(self.operations.values())


class Stack:
    """A copy of this project's Pulumi program in a folder of its own, with its own state, home and stack file."""

    def __init__(self, folder: Path, name: str = "test") -> None:
        if shutil.which("pulumi") is None:
            raise AssertionError(
                'no pulumi on PATH: run the tests by `make test`, or put it there by `eval "$(make env)"`'
            )
        self.folder, self.name = folder, name
        self.home = folder / ".llmfleet" / name
        self.file = folder / "stacks" / f"Pulumi.{name}.yaml"
        (folder / "stacks").mkdir(parents=True)
        (folder / "state").mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        shutil.copy(ROOT / "stacks" / "__main__.py", folder / "stacks")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")} | {
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
            "PULUMI_PYTHON_CMD": sys.executable,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        assert self.run("stack", "init", name).code == 0

    def write(self, fleet: Any) -> None:
        """Write the stack file."""
        config = {"pulumi:disable-default-providers": ["*"], "llmfleet:fleet": fleet}
        self.file.write_text(yaml.safe_dump({"config": config}))

    def run(self, *words: str) -> Run:
        """Run `pulumi` and return what it said."""
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def change(self, command: str, *words: str) -> Run:
        """Run `pulumi up`, `refresh` or `destroy` and return what it did to each resource."""
        run = self.run(command, "--yes", "--skip-preview", "--json", *words)
        messages = []
        for line in run.text.splitlines():
            if not line.startswith("{"):
                messages.append(line)
                continue
            event = json.loads(line)
            for kind in ("resOutputsEvent", "resOpFailedEvent"):
                if kind in event:
                    metadata = event[kind]["metadata"]
                    operation = metadata["op"] if kind == "resOutputsEvent" else "failed"
                    if operation not in ("same", "refresh"):
                        run.operations[metadata["urn"].rpartition("::")[2]] = operation
            diagnostic = event.get("diagnosticEvent", {})
            if diagnostic.get("severity") == "error":
                messages.append(diagnostic["message"])
        run.text = "\n".join(messages)
        return run

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs."""
        return json.loads(self.run("stack", "output", "--json").text)
