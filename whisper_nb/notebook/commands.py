"""The subcommands of `%agent`: each a parser and a function. Help and completion are made from this table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args

from ..agents import Agent
from ..config import PROVIDERS, AIConfig
from ..errors import ConfigError
from ..events import Priority, Record, TextStreamed
from ..runs import Run
from ..session import Session
from .render import session_rows, status_line, table_html, table_text
from .team import Order, Team, outcome_line

Arguments = argparse.Namespace
Argument = tuple[tuple[str, ...], dict[str, Any]]


class Parser(argparse.ArgumentParser):
    """argparse that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with the usage."""
        raise ConfigError(f"{self.prog}: {message}. Usage: {self.format_usage().removeprefix('usage: ').strip()}")


@dataclass(frozen=True, slots=True)
class Command:
    """One word after `%agent`."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    function: Callable[[Team, Arguments], object]

    def parser(self, root: str) -> Parser:
        """Its parser; `root` is the magic's name here."""
        parser = Parser(prog=f"%{root} {self.name}", description=self.summary, add_help=False, allow_abbrev=False)
        for flags, options in self.arguments:
            parser.add_argument(*flags, **options)
        return parser

    @property
    def flags(self) -> list[str]:
        """Its options, long and short."""
        return [flag for flags, _ in self.arguments for flag in flags if flag.startswith("-")]


COMMANDS: dict[str, Command] = {}


def arg(*flags: str, **options: Any) -> Argument:
    """An argument, in argparse's words."""
    return flags, options


def command(
    summary: str, *arguments: Argument
) -> Callable[[Callable[[Team, Arguments], object]], Callable[[Team, Arguments], object]]:
    """Register a function as the subcommand of its name."""

    def register(function: Callable[[Team, Arguments], object]) -> Callable[[Team, Arguments], object]:
        name = function.__name__.rstrip("_")
        COMMANDS[name] = Command(name, summary, arguments, function)
        return function

    return register


NAME = arg("name", metavar="NAME", help="an agent")
NAMES = arg("names", metavar="NAME", nargs="+", help="agents")
RUNS = arg(
    "runs",
    metavar="NAME|RUN",
    nargs="*",
    help="agents, run ids such as bob#3, or variables; none: all that is unfinished",
)
ORDER: tuple[Argument, ...] = (
    NAME,
    arg("-o", "--out", metavar="VAR", help="bind the run to a variable, at once"),
    arg("-b", "--block", action="store_true", help="wait for the answer in this cell"),
    arg("-a", "--noblock", "--bg", action="store_false", dest="block", help="do not wait (the default)"),
    arg("--priority", choices=get_args(Priority), default="normal", help="who goes first in the agent's queue"),
    arg("--model", metavar="M", help="the model for this run, as provider/model"),
    arg("--timeout", metavar="S", type=float, help="seconds for the whole run, from its start"),
    arg("--no-interpolate", action="store_true", help="pass {{ … }} as it is"),
    arg("--dry-run", action="store_true", help="show what would be sent, and send nothing"),
)
#: `%%agent NAME …`, parsed like a subcommand.
CELL = Command("NAME", "Give an agent the work that stands in the cell.", ORDER, lambda team, args: None)


def order(args: Arguments, prompt: str) -> Order:
    """The order that parsed arguments and a prompt make."""
    return Order(
        name=args.name, prompt=prompt, out=args.out, block=args.block, priority=args.priority, model=args.model,
        timeout_s=args.timeout, interpolate=not args.no_interpolate, dry_run=args.dry_run,
    )  # fmt: skip


def split_ask(line: str) -> tuple[list[str], str]:
    """`[flags] NAME [flags] PROMPT` → the words before the prompt, and the prompt just as it was written."""
    takes_value = {flag for flags, options in ORDER for flag in flags if "action" not in options}
    head: list[str] = []
    rest, named = line.strip(), False
    while rest:
        word, _, after = rest.partition(" ")
        flag = word.partition("=")[0]
        if flag not in ASK.flags:
            if named:
                break
            named = True
        elif flag in takes_value and "=" not in word:
            head.append(word)
            word, _, after = after.lstrip().partition(" ")
        head.append(word)
        rest = after.lstrip()
    return head, rest


@command(
    "Make an agent, or give one a new spec; its history stays.",
    NAME,
    arg("--model", metavar="M", help="provider/model, such as openrouter/openai/gpt-4o-mini"),
    arg("--prompt", metavar="TEXT", help="the system prompt: who the agent is"),
    arg("--prompt-file", metavar="F", help="a file that holds the system prompt"),
    arg("--description", metavar="TEXT", default="", help="one line for people"),
    arg("--tools", metavar="A,B", default="", help="functions of this notebook that the agent may call"),
    arg("--temperature", metavar="T", type=float, help="0 to 2"),
    arg("--max-tokens", metavar="N", type=int, help="the most tokens of one reply"),
    arg("--max-turns", metavar="N", type=int, default=20, help="model calls in one run"),
)
def new(team: Team, args: Arguments) -> None:
    """Create the session that the flags describe."""
    if args.prompt is not None and args.prompt_file is not None:
        raise ConfigError("--prompt and --prompt-file exclude each other")
    prompt = args.prompt or ""
    if args.prompt_file is not None:
        try:
            prompt = Path(args.prompt_file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the prompt file {args.prompt_file!r}: {error}") from None
    agent = Agent(
        name=args.name,
        description=args.description,
        system_prompt=prompt,
        config=AIConfig.of(args.model, temperature=args.temperature, max_tokens=args.max_tokens),
        tools=tuple(_function(team, name) for name in args.tools.split(",") if name.strip()),
        max_turns=args.max_turns,
    )
    before = team.runtime.get(agent.name)
    revision = before.revision if before else None
    session = team.runtime.create(agent)
    model = session.config.model
    if revision is not None and session.revision != revision:
        print(f"{session.name}: revision {session.revision}, history kept; answers with {model}")  # noqa: T201
    else:
        print(f"{session.name} is ready; answers with {model}")  # noqa: T201


@command("List the agents: state, queue, tokens, cost, model.")
def list_(team: Team, args: Arguments) -> None:
    """Display a table, as HTML and as text."""
    from IPython.display import display

    rows = session_rows(team.runtime.sessions)
    empty = f"no agents yet: %{team.root} new NAME makes one"
    bundle = {"text/plain": table_text(rows, empty), "text/html": table_html(rows, empty)}
    display(bundle, raw=True)


@command("Show one agent: its spec, config, queue and last runs.", NAME)
def show(team: Team, args: Arguments) -> None:
    """Print the facts of one session."""
    session = team.runtime[args.name]
    agent, config = session.agent, session.config
    facts = {
        "state": session.state.label,
        "description": agent.description,
        "system prompt": agent.instructions,
        "config": ", ".join(f"{key}={value}" for key, value in config.values().items()),
        "tools": ", ".join(tool.name for tool in agent.as_tools),
        "limits": f"{agent.max_turns} turns",
        "revision": str(session.revision),
        "history": f"{len(session.history)} messages",
    }
    print(f"{session.name}\n" + "\n".join(f"  {key:14} {value}" for key, value in facts.items() if value))  # noqa: T201
    for run in [*session.queue, *session.runs[-5:]]:
        if run in session.queue or run.status not in ("submitted", "queued"):
            print(f"  {status_line(run)}")  # noqa: T201


@command(
    "Give an agent one line of work; gives the run: ans = %agent ask bob …",
    *ORDER,
    arg("prompt", nargs=argparse.REMAINDER),
)
def ask(team: Team, args: Arguments) -> Run | None:
    """Launch a run. The prompt is taken from the line as it was written, so the magic itself splits it off."""
    return team.launch(order(args, " ".join(args.prompt)))


@command(
    "Wait in this cell until runs are done; agents go on whatever ends the wait.",
    RUNS,
    arg("--timeout", metavar="S", type=float, help="seconds"),
)
def wait(team: Team, args: Arguments) -> None:
    """Block, then say what did not succeed: the same words whether a run ended before or during the wait."""
    runs = team.runs(args.runs)
    try:
        team.wait(runs, args.timeout)
    except TimeoutError:
        going = ", ".join(run.id for run in runs if not run.done)
        raise ConfigError(f"waited {args.timeout:g} s and still at work are {going}; they go on") from None
    for run in runs:
        if run.status != "succeeded":
            print(outcome_line(run))  # noqa: T201
    print("done")  # noqa: T201


@command("Cancel runs, queued or running; what they have said stays in run.text.", RUNS)
def cancel(team: Team, args: Arguments) -> None:
    """Cancel by name."""
    for run in team.runs(args.runs):
        if not run.done:
            run.cancel()
            print(f"{run.id} cancelled")  # noqa: T201


@command("Let agents finish their turn and then hold.", NAMES)
def pause(team: Team, args: Arguments) -> None:
    """Close the gate."""
    _each(team, args.names, Session.pause, "paused")


@command("Let agents go on after pause or stop.", NAMES)
def resume(team: Team, args: Arguments) -> None:
    """Open the gate."""
    _each(team, args.names, Session.resume, "at work again")


@command(
    "End the work of agents, queued and running; they take no more until resume.",
    arg("names", metavar="NAME", nargs="*", help="agents"),
    arg("--all", action="store_true", help="all agents"),
)
def stop(team: Team, args: Arguments) -> None:
    """Stop sessions."""
    if args.all == bool(args.names):
        raise ConfigError(f"say whom to stop: %{team.root} stop NAME, or %{team.root} stop --all")
    _each(team, args.names or [session.name for session in team.runtime.sessions], Session.stop, "stopped")


@command("Let agents forget their history.", NAMES)
def reset(team: Team, args: Arguments) -> None:
    """Clear histories."""
    _each(team, args.names, Session.reset, "history forgotten")


@command("Make another agent that begins with a copy of this one's history.", NAME, arg("new_name", metavar="NEW"))
def fork(team: Team, args: Arguments) -> None:
    """Fork a session."""
    session = team.runtime[args.name].fork(args.new_name)
    print(f"{session.name} begins with the {len(session.history)} messages of {args.name}")  # noqa: T201


@command("Stop an agent and forget it.", NAME)
def remove(team: Team, args: Arguments) -> None:
    """Remove a session."""
    team.runtime.remove(args.name)
    print(f"{args.name} removed")  # noqa: T201


@command(
    "Show what an agent did, event by event.",
    NAME,
    arg("-n", metavar="N", type=int, default=20, help="the last N events (20)"),
)
def log(team: Team, args: Arguments) -> None:
    """Print the newest records of a session."""
    records = [
        record
        for record in team.runtime.store.records(team.runtime[args.name].name)
        if not isinstance(record.event, TextStreamed)
    ]
    for record in records[-args.n :]:
        print(_log_line(record))  # noqa: T201


@command("Explain a command, or list them all.", arg("topic", metavar="COMMAND", nargs="?"))
def help_(team: Team, args: Arguments) -> None:
    """Print help."""
    if args.topic is None:
        print(overview(team.root))  # noqa: T201
    elif args.topic in COMMANDS:
        print(COMMANDS[args.topic].parser(team.root).format_help())  # noqa: T201
    else:
        raise ConfigError(f"no command {args.topic!r}; there are {', '.join(COMMANDS)}")


ASK = COMMANDS["ask"]


def overview(root: str) -> str:
    """All commands, a line each."""
    lines = [f"%%{root} NAME    {CELL.summary}", f"%{root}s          The team at a glance.", ""]
    lines += [f"%{root} {item.name:10} {item.summary}" for item in COMMANDS.values()]
    return "\n".join(
        [
            *lines,
            "",
            f"%{root} help COMMAND explains one. {{{{ expression }}}} in a prompt is evaluated in the notebook.",
        ]
    )


def known_models() -> list[str]:
    """Models worth proposing where a model is typed; any of LiteLLM's is allowed."""
    return ["offline/echo", *(model for _, model in PROVIDERS.values())]


def _each(team: Team, names: list[str], act: Callable[[Session], None], done: str) -> None:
    sessions = [team.runtime[name] for name in names]
    for session in sessions:
        act(session)
        print(f"{session.name}: {done}")  # noqa: T201


def _function(team: Team, name: str) -> Callable[..., Any]:
    function = team.shell.user_ns.get(name.strip())
    if not callable(function):
        raise ConfigError(
            f"--tools {name.strip()!r} is not a function of this notebook; define it in a cell above, with a docstring"
        )
    return function


def _log_line(record: Record) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(record.time))
    what = repr(record.event)
    return f"{clock}  {record.run or record.agent:10} {what if len(what) <= 160 else what[:159] + '…'}"
