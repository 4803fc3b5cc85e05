"""The table of commands, by name. Help and completion are made from it."""

from __future__ import annotations

from ....core.errors import ConfigError
from ....core.text import suggestion
from ...workbench import Workbench
from ..grammar import CELL, Arguments, Command, arg, command
from . import agents, runs, show


@command("Explain a command, or list all commands.", arg("topic", metavar="COMMAND", nargs="?"))
def help_(bench: Workbench, args: Arguments) -> None:
    """Print help."""
    topic = (args.topic or "").lstrip("%")
    if not topic:
        print(overview(bench.root))  # noqa: T201
    else:
        explained = CELL if topic == bench.root else find(topic, bench)
        print(explained.parser(bench.root).format_help())  # noqa: T201


#: Name → command, in the order of the help.
COMMANDS: dict[str, Command] = {
    one.name: one
    for one in (
        agents.new, show.list_, show.cost, show.panel, show.show,
        runs.ask, runs.wait, runs.cancel, runs.move,
        agents.pause, agents.resume, agents.stop, agents.loop, agents.reset, agents.fork, agents.remove,
        show.log, show.history, show.config, show.models, show.trust,
        agents.save, help_,
    )
}  # fmt: skip


def find(word: str, bench: Workbench) -> Command:
    """Return the command of that name.

    Raises:
        ConfigError: there is none; the message suggests one.
    """
    if found := COMMANDS.get(word):
        return found
    if bench.runtime.get(word):
        raise ConfigError(f"{word} is an agent, not a command: %{bench.root} ask {word} … gives it work")
    raise ConfigError(f"no command {word!r}; {suggestion(word, COMMANDS)} (%{bench.root} help)")


def overview(root: str) -> str:
    """Return a list of all commands, a line each."""
    lines = [f"%%{root} NAME    {CELL.summary}", f"%{root}s          {COMMANDS['panel'].summary}", ""]
    lines += [f"%{root} {one.name:10} {one.summary}" for one in COMMANDS.values()]
    last = f"%{root} help COMMAND explains one. {{{{ expression }}}} in a prompt is evaluated in the notebook."
    return "\n".join([*lines, "", last])
