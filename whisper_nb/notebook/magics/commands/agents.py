"""Commands that create and change agents: `new`, `pause`, `resume`, `stop`, `reset`, `fork`, `save` and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from ....config.aiconfig import missing_key
from ....config.keys import is_literal
from ....core.errors import ConfigError
from ....engine.home import Where
from ....engine.session import Session
from ...cells.render import run_ids
from ...create import create
from ...workbench import Workbench
from ..grammar import LIMITS, NAME, SCHEMA, SET, TEAM, Arguments, arg, command, described


@command(
    "Create an agent, or give one a new spec and keep its history. "
    "A NAME with a file in agents/ starts from that file, "
    "and the flags override it. Without NAME: show a form.",
    arg("name", metavar="NAME", nargs="?", help="an agent"),
    arg("--model", metavar="M", help="provider/model, such as openrouter/openai/gpt-4o-mini"),
    arg("--prompt", metavar="TEXT", help="the system prompt; the agent's file, if any, is then ignored"),
    arg("--prompt-file", metavar="F", help="a file with the system prompt"),
    arg("--description", metavar="TEXT", help="one line for people"),
    arg("--tools", metavar="A,B", help="functions of this notebook that the agent may call"),
    SCHEMA,
    arg("--temperature", metavar="T", type=float, help="0 to 2"),
    arg("--max-tokens", metavar="N", type=int, help="the limit of tokens in one reply"),
    SET,
    *LIMITS,
    arg("--max-prompt-tokens", metavar="N", type=int, help="the limit of tokens that one model call may send"),
    arg(
        "--continue",
        dest="continuation",
        metavar="N",
        type=int,
        help="go on by itself, up to N replies, until one ends with DONE",
    ),
    arg("--memory", metavar="M", help="the part of its history that a run gets: all, none, last:10 or tokens:4000"),
    examples=(
        '%agent new bob --prompt "You are a careful statistician."',
        "%agent new amy --model openrouter/openai/gpt-4o-mini --tools rows --set seed=7",
    ),
)
def new(bench: Workbench, args: Arguments) -> None:
    """Create the session that the flags describe, or show the form."""
    if args.name is None:
        bench.show_form([name for name, value in vars(args).items() if value not in (None, [])])
        return
    print(create(bench.runtime, described(bench, args)))  # noqa: T201
    config = bench.runtime[args.name].config
    if variable := missing_key(config, bench.runtime.keys):
        print(f"note: {variable} is not set, and {config.model} needs it")  # noqa: T201


@command(
    "Pause agents: each finishes its current turn and starts no other.",
    *TEAM,
    examples=("%agent pause bob", "%agent pause --all"),
)
def pause(bench: Workbench, args: Arguments) -> None:
    """Close the gate."""
    _each(bench, args, _pause, "paused")


@command("Resume agents after pause or stop.", *TEAM, examples=("%agent resume bob", "%agent resume --all"))
def resume(bench: Workbench, args: Arguments) -> None:
    """Open the gate."""
    _each(bench, args, _resume, "resumed")


@command(
    "Stop agents: cancel their running and queued runs, and accept no more until resume.",
    *TEAM,
    examples=("%agent stop bob amy", "%agent stop --all"),
)
def stop(bench: Workbench, args: Arguments) -> None:
    """Stop sessions."""
    _each(bench, args, lambda session: bench.runtime.home.do(_stop, session), "stopped")


def _stop(session: Session) -> str:
    cancelled = session.unfinished
    session.stop()
    if not cancelled:
        return ""
    return f"stopped; {run_ids(cancelled)} cancelled"


@command(
    "Show or change the event loop of the agents. On a loop in its own thread, they go on while a cell blocks.",
    arg("where", choices=get_args(Where), nargs="?", help="the notebook's own loop (the default), or one in a thread"),
    examples=("%agent loop", "%agent loop thread"),
)
def loop(bench: Workbench, args: Arguments) -> None:
    """Move agents to a loop, if one is given, and print where they run."""
    names = {"notebook": "the notebook's own loop", "thread": "a loop in their own thread"}
    print(f"agents run on {names[bench.runtime.loop(args.where)]}")  # noqa: T201


@command("Clear the history of agents.", *TEAM, examples=("%agent reset bob", "%agent reset --all"))
def reset(bench: Workbench, args: Arguments) -> None:
    """Clear histories."""
    _each(bench, args, Session.reset, "history cleared")


@command(
    "Create another agent with a copy of this one's history.",
    NAME,
    arg("new_name", metavar="NEW", help="the name of the other agent"),
    examples=("%agent fork bob bobby",),
)
def fork(bench: Workbench, args: Arguments) -> None:
    """Fork a session."""
    session = bench.runtime[args.name].fork(args.new_name)
    print(f"{session.name} starts with the {len(session.history)} messages of {args.name}")  # noqa: T201


@command("Stop agents and remove them.", *TEAM, examples=("%agent remove bob amy", "%agent remove --all"))
def remove(bench: Workbench, args: Arguments) -> None:
    """Remove sessions."""
    for name in args.names:
        if bench.runtime.get(name) is None:  # an agent of a file would be created first
            raise ConfigError(f"no agent named {name!r}: nothing to remove")
    _each(bench, args, lambda session: bench.runtime.remove(session.name), "removed")


@command(
    "Write agents to agents/NAME.yaml, which describes the same agent.",
    *TEAM,
    arg("--force", action="store_true", help="overwrite a file with other content"),
    examples=("%agent save bob", "%agent save --all --force"),
)
def save(bench: Workbench, args: Arguments) -> None:
    """Save the specs of sessions."""
    for session in bench.sessions(args.names, everyone=args.all):
        path = bench.runtime.save(session.name, overwrite=args.force)
        print(f"{session.name} is in {path.relative_to(path.parents[1])}")  # noqa: T201
        if is_literal(session.agent.config.api_key):
            print("note: the agent's literal API key is not in the file")  # noqa: T201


def _pause(session: Session) -> str | None:
    session.pause()
    if session.current:
        return f"pauses after the current turn of {session.current.id}"
    return None


def _resume(session: Session) -> str | None:
    is_open = session.state.gate == "open"
    session.resume()
    return "was not paused" if is_open else None


def _each(bench: Workbench, args: Arguments, act: Callable[[Session], str | None], done: str) -> None:
    for session in bench.sessions(args.names, everyone=args.all):
        print(f"{session.name}: {act(session) or done}")  # noqa: T201
