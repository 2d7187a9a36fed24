"""A program of the local environment: what it is, and how Supervisor is told of it."""

import re
import shlex
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from llmfleet.errors import LocalError
from llmfleet.local.ports import Port


@dataclass(frozen=True)
class Program:
    """One program of a stack. All paths are relative to the stack's folder, in which it runs."""

    name: str
    """Unique in the stack; also the name of its log."""
    command: tuple[str, ...]
    """The first word may be `llmfleet` or `nats-server`: those of this Python environment."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What `{key}` stands for in the command: parts that are known only when something else exists."""
    health_url: str = ""
    """It is healthy when this answers 200."""
    ready_file: str = ""
    """It is healthy when it has written this file. With neither, when it has run for a second."""
    ports: tuple[Port, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Files to write before the start: path to content."""
    folders: tuple[str, ...] = ()
    """Folders of its data below `data/`, removed together with it."""
    start_seconds: float = 60.0
    stop_seconds: float = 15.0

    def props(self) -> dict[str, Any]:
        """Return it as plain data, for JSON or Pulumi's state."""
        return {
            "name": self.name,
            "command": list(self.command),
            "values": dict(self.values),
            "health_url": self.health_url,
            "ready_file": self.ready_file,
            "ports": [{"number": port.number, "key": port.key} for port in self.ports],
            "files": dict(self.files),
            "folders": list(self.folders),
            "start_seconds": self.start_seconds,
            "stop_seconds": self.stop_seconds,
        }

    @classmethod
    def of(cls, props: Mapping[str, Any]) -> Self:
        """Return the program that plain data describe; numbers may have become floats on their way."""
        return cls(
            name=props["name"],
            command=tuple(props["command"]),
            values=dict(props["values"]),
            health_url=props["health_url"],
            ready_file=props["ready_file"],
            ports=tuple(Port(int(port["number"]), port["key"]) for port in props["ports"]),
            files=dict(props["files"]),
            folders=tuple(props["folders"]),
            start_seconds=float(props["start_seconds"]),
            stop_seconds=float(props["stop_seconds"]),
        )

    def runs_like(self, other: "Program") -> bool:
        """Say whether a running `other` need not be restarted to be this one.

        Where a port was set and how long a start may take change nothing for a process that runs: another pool
        written above this one in the stack file moves `pools[1].port` to `pools[2].port`.
        """

        def essence(program: Program) -> dict[str, Any]:
            return program.props() | {"ports": [port.number for port in program.ports], "start_seconds": 0}

        return essence(self) == essence(other)


def config(program: Program) -> str:
    """Return the section of Supervisor's configuration that describes one program.

    Raises:
        LocalError: its name or an argument cannot be written there.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", program.name):
        raise LocalError(f"{program.name!r} cannot be a program's name: letters, digits, dot, dash and underscore only")
    lines = {
        "command": _quoted(_argv(program)),
        "redirect_stderr": "true",
        "stdout_logfile": f"logs/{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "2",
        "autorestart": "true",
        "startretries": "20",
        "stopwaitsecs": str(max(1, round(program.stop_seconds))),
        "stopasgroup": "true",
        "killasgroup": "true",
    }
    return f"[program:{program.name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def _argv(program: Program) -> list[str]:
    """Put in the values, and the paths of this Python environment, which have no place in Pulumi's state."""
    first, *rest = (_filled(word, program.values) for word in program.command)
    if first == "llmfleet":
        # -P: a file in the working folder must not shadow a module.
        return [sys.executable, "-P", "-m", "llmfleet", *rest]
    if first == "nats-server":
        return [str(Path(sysconfig.get_path("scripts"), first)), *rest]
    return [first, *rest]


def _filled(word: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        word = word.replace(f"{{{key}}}", value)
    return word


def _quoted(argv: Iterable[str]) -> str:
    """Return a command line as Supervisor reads it back: by shlex, after % expansion and the end of comments."""
    words = []
    for word in argv:
        if "\n" in word or "\r" in word:
            raise LocalError(f"an argument of a program cannot hold a line break: {word!r}")
        # " #" and " ;" begin a comment wherever they stand; a quote closed and opened between hides them.
        words.append(re.sub(r"(?<=\s)(?=[;#])", "''", shlex.quote(word)).replace("%", "%%"))
    return " ".join(words)
