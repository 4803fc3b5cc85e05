"""The table of commands, by group. Help, completion and the page of the docs are made from it."""

from __future__ import annotations

from IPython.display import display

from ....core.errors import ConfigError
from ....core.text import suggestion
from ...workbench import Workbench
from ..grammar import CELL, Arguments, Command, arg, command
from ..manual import Entry, contents, entry, page
from . import agents, runs, show


@command(
    "Explain a command, or list all commands.",
    arg("topic", metavar="COMMAND", nargs="?", help="a command, or agent for the cell magic"),
    examples=("%agent help ask",),
)
def help_(bench: Workbench, args: Arguments) -> None:
    """Display help, as text and as HTML, whose lines break between words at any width."""
    topic = (args.topic or "").lstrip("%")
    if not topic:
        display(overview(bench.root), raw=True)
        return
    magics = {bench.root: CELL, f"{bench.root}s": show.panel}
    explained = magics.get(topic) or find(topic, bench)
    display(page(next(one for one in reference(bench.root) if one.name == explained.name)), raw=True)


#: Group → its commands, in the order of the help.
GROUPS: dict[str, tuple[Command, ...]] = {
    "Create agents": (agents.new, agents.fork, agents.save, agents.remove),
    "Give work": (CELL, runs.ask, runs.wait, runs.cancel, runs.move),
    "Look": (show.panel, show.timeline, show.list_, show.show, show.log, show.history, show.cost),
    "Steer agents": (agents.pause, agents.resume, agents.stop, agents.reset, agents.loop, show.budget),
    "Configure": (show.config, show.models, show.trust, help_),
}
#: Name → command of `%agent`.
COMMANDS: dict[str, Command] = {one.name: one for group in GROUPS.values() for one in group if one is not CELL}


def reference(root: str = "agent") -> list[Entry]:
    """Return the commands as data, in the order of their groups. The manual and the docs are made from it."""
    return [
        entry(one, group, root, f"%{root}s" if one is show.panel else "")
        for group, commands in GROUPS.items()
        for one in commands
    ]


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


def overview(root: str) -> dict[str, str]:
    """Return the list of all commands, as text/plain and text/html."""
    last = (
        f"%{root} help COMMAND explains one. {{{{ expression }}}} in a prompt is evaluated in the notebook, "
        f"{{expression}} in a name."
    )
    return contents(reference(root), last)
