"""The command `python -m whisper_nb`: lists and stops the agents of your kernels, also while a cell runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .config.paths import sockets_folder
from .core.errors import ConfigError
from .team.kernels import listed, stop


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and print the result. Return 0 if everything is done, 1 if it failed or has not ended yet."""
    parser = argparse.ArgumentParser("python -m whisper_nb", description="List and stop the agents of your kernels.")
    commands = parser.add_subparsers(dest="command", required=True)
    ending = commands.add_parser("stop", help="cancel the runs of agents; they take no new ones until %%agent resume")
    ending.add_argument("names", metavar="NAME", nargs="*", help="names of agents")
    ending.add_argument("--all", action="store_true", help="all agents")
    ending.add_argument("--kernel", metavar="NUMBER", type=int, help="only in this kernel; `list` shows the numbers")
    commands.add_parser("list", help="list the agents of your kernels")
    arguments = parser.parse_args(words)
    try:
        if arguments.command == "list":
            lines, done = listed(sockets_folder())
        elif arguments.all == bool(arguments.names):
            ending.error("give names of agents, or --all")
        else:
            lines, done = stop(sockets_folder(), arguments.names or None, arguments.kernel)
    except OSError as error:
        lines, done = [f"cannot find kernels: {error}"], False
    except ConfigError as error:
        lines, done = [str(error)], False
    encoding = sys.stdout.encoding or "utf-8"  # escape characters that the terminal cannot show
    print("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding))  # noqa: T201
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
