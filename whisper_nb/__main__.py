"""`python -m whisper_nb stop --all` in a terminal: reaches the agents of your kernels, also while a cell is at work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .config.paths import sockets_folder
from .core.errors import ConfigError
from .engine.control import listed, stop


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say, and print what came of it. 0: all is done; 1: it is not, or not yet."""
    parser = argparse.ArgumentParser("python -m whisper_nb", description="Reach the agents of your kernels.")
    commands = parser.add_subparsers(dest="command", required=True)
    ending = commands.add_parser("stop", help="end the work of agents; they take no more until %%agent resume")
    ending.add_argument("names", metavar="NAME", nargs="*", help="agents")
    ending.add_argument("--all", action="store_true", help="all agents")
    ending.add_argument("--kernel", metavar="NUMBER", type=int, help="of this kernel alone; `list` says its number")
    commands.add_parser("list", help="the agents of your kernels")
    arguments = parser.parse_args(words)
    try:
        if arguments.command == "list":
            told, done = listed(sockets_folder())
        elif arguments.all == bool(arguments.names):
            ending.error("say which agents, or --all for all of them")
        else:
            told, done = stop(sockets_folder(), arguments.names or None, arguments.kernel)
    except OSError as error:
        told, done = [f"cannot look for kernels: {error}"], False
    except ConfigError as error:
        told, done = [str(error)], False
    known = sys.stdout.encoding or "utf-8"  # to a terminal of few characters, the others are escaped
    print("\n".join(told).encode(known, "backslashreplace").decode(known))  # noqa: T201
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
