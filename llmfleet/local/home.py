"""Where the local environment of one stack keeps its files."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

# A Unix socket's path has room for 104 bytes (macOS) or 108 (Linux), and Supervisor first binds PATH.PID.
_SOCKET_PATH_BYTES = 104 - len(".4194304") - 1


@dataclass(frozen=True)
class Home:
    """The folder of one stack, `.llmfleet/<stack>`; programs run in it, so their paths may be relative to it."""

    folder: Path

    @property
    def logs(self) -> Path:
        """Logs, one file per program. They outlive the fleet."""
        return self.folder / "logs"

    @property
    def programs(self) -> Path:
        """One piece of Supervisor's configuration per program."""
        return self.folder / "programs"

    @property
    def data(self) -> Path:
        """What programs must find again after any restart, the queue's orders above all."""
        return self.folder / "data"

    @property
    def run(self) -> Path:
        """Files that programs write when they are ready."""
        return self.folder / "run"

    @property
    def config(self) -> Path:
        """Supervisor's configuration: a head and the pieces of `programs`."""
        return self.folder / "supervisor.conf"

    @property
    def lock(self) -> Path:
        """Held while the configuration is put together."""
        return self.folder / "supervisor.lock"

    @property
    def pid_file(self) -> Path:
        """Supervisor's process id."""
        return self.folder / "supervisor.pid"

    @property
    def socket(self) -> Path:
        """Supervisor's socket: in the folder, or in a short private one where the folder's path is too long."""
        usual = self.folder / "supervisor.sock"
        return usual if len(os.fsencode(usual)) <= _SOCKET_PATH_BYTES else self._short / usual.name

    @property
    def _short(self) -> Path:
        # Not tempfile.gettempdir(): two shells with different TMPDIR must find the same socket.
        key = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path("/tmp", f"llmfleet-{os.getuid()}-{key}")  # noqa: S108

    def make(self) -> None:
        """Create the folders, private to this user: who reaches the socket commands the programs.

        Raises:
            PermissionError: the short folder of the socket belongs to somebody else.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.logs.mkdir(exist_ok=True)
        self.programs.mkdir(exist_ok=True)
        self.run.mkdir(exist_ok=True)
        folder = self.socket.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to somebody else; remove it")
        folder.chmod(0o700)

    def clear(self) -> None:
        """Remove all that `make` and Supervisor left, except logs and data."""
        for file in (self.config, self.lock, self.pid_file, self.socket):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.programs, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
        if self.socket.parent != self.folder:
            shutil.rmtree(self.socket.parent, ignore_errors=True)
