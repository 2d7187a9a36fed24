"""Installs the Pulumi CLI by Pulumi's own install script."""

import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tools.pulumi_cli.progress import Progress
from tools.pulumi_cli.settings import PulumiCliError, Version, spell

BASE_URL = "https://get.pulumi.com"
DOWNLOAD_TIMEOUT_SECONDS = 20
SCRIPT_TIMEOUT_SECONDS = 900


class InstallerError(PulumiCliError):
    """Pulumi's installer cannot be reached or has failed."""


def install(target: Path, version: Version) -> None:
    """Install a version of the CLI into `target`/bin; PATH, shell files and ~/.pulumi stay as they are.

    Raises:
        InstallerError: the script cannot be downloaded, or fails; with the reason in one line first.
    """
    base = os.environ.get("LLMFLEET_PULUMI_INSTALLER", BASE_URL).rstrip("/")
    with Progress(f"installing Pulumi {spell(version)} from {base}"), tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "install.sh")
        script.write_bytes(_download(f"{base}/install.sh"))
        options = ["--version", spell(version), "--install-root", str(target), "--no-edit-path"]
        try:
            run = subprocess.run(
                ["sh", str(script), *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=SCRIPT_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise InstallerError(f"Pulumi's installer has not finished in {SCRIPT_TIMEOUT_SECONDS} s") from None
    if run.returncode or not (target / "bin" / "pulumi").exists():
        said = "\n".join(f"  {line}" for line in run.stdout.splitlines()[-10:])
        what = f"failed with exit code {run.returncode}" if run.returncode else "has left no bin/pulumi"
        raise InstallerError(f"Pulumi's installer {what}; it said:\n{said or '  (nothing)'}")


def _download(url: str) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise InstallerError(f"LLMFLEET_PULUMI_INSTALLER must be an http(s) address, found {url!r}")
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
            script: bytes = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise InstallerError(f"{url} answered {error.code} {error.reason}") from None
    except OSError as error:
        raise InstallerError(f"{url} cannot be reached ({getattr(error, 'reason', error)})") from None
    # A captive portal or a proxy's page comes with status 200 too; sh must not run it.
    if not script.startswith(b"#!"):
        raise InstallerError(f"{url} answered something that is no shell script")
    return script
