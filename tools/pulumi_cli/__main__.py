"""Command line: `python -m tools.pulumi_cli ensure` and `python -m tools.pulumi_cli env`."""

import argparse
import signal
import sys
from types import FrameType
from typing import NoReturn

from tools.pulumi_cli.environment import exports
from tools.pulumi_cli.find import ensure
from tools.pulumi_cli.settings import OLDEST, ROOT, PulumiCliError, pinned, spell

EPILOG = f"""\
which CLI:
  1. the one on PATH, if it is {spell(OLDEST)} or newer and brings its Python language host
  2. one that was installed before into the cache of llmfleet
  3. Pulumi {spell(pinned())}, installed now into that cache: by Pulumi's install script, or, where that cannot be
     reached, built from Go modules (once, about 7 minutes on 2 cores)

environment variables:
  LLMFLEET_PULUMI            auto (default): as above
                             install: not the one on PATH, but Pulumi's install script
                             build: not the one on PATH, but a build from Go modules
                             PATH/TO/pulumi: exactly this one
  LLMFLEET_CACHE_DIR         where installed CLIs are kept (default: llmfleet in the user's cache directory)
  LLMFLEET_PULUMI_INSTALLER  where install.sh is, for a mirror (default: https://get.pulumi.com)

examples:
  python -m tools.pulumi_cli ensure
  eval "$(python -m tools.pulumi_cli env)" && pulumi preview
  LLMFLEET_PULUMI=install python -m tools.pulumi_cli ensure
  LLMFLEET_PULUMI=build python -m tools.pulumi_cli ensure

Your own Pulumi login, ~/.pulumi, PATH and shell files stay as they are: all state of the stack is in
.llmfleet of this checkout. For a stack in a backend of your own, don't evaluate `env`; use the CLI of `ensure`.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tools.pulumi_cli",
        description="Find the Pulumi CLI or install one, and print the environment for this checkout's local stack.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="ensure|env")
    commands.add_parser("ensure", help="print the directory of the CLI, installing it first if need be")
    env = commands.add_parser("env", help='print export lines for eval "$(...)"; ensures the CLI too')
    env.add_argument("--stack", default="local", help="the stack that pulumi commands then mean (default: local)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    chosen = parser().parse_args(arguments)
    try:
        cli = ensure()
        print(cli if chosen.command == "ensure" else exports(ROOT, cli, chosen.stack))
    except PulumiCliError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing half-made is left", file=sys.stderr)
        return 130
    return 0


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """End by an exception, so that compilers are stopped and part directories removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
