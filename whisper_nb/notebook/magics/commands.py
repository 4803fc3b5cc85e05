"""The commands of `%agent`: each a few flags and a function. Help and completion are made from this table."""

from __future__ import annotations

import difflib
import html
from collections.abc import Callable, Sequence
from typing import TypeVar, get_args

from ...config.aiconfig import KINDS, missing_key
from ...config.keys import is_literal
from ...config.providers import PROVIDERS
from ...core.errors import ConfigError, RunFailed
from ...core.events import TextStreamed
from ...core.queues import PRIORITIES
from ...core.text import one_line, printable
from ...engine.home import Where
from ...engine.runs import Run
from ...engine.session import Session
from ...models.local import local_models
from ...models.prices import listed, price_list
from ...models.prices import price as price_of
from ..cells.explain import config_rows, cost_rows, model_rows, trust_lines
from ..cells.render import history_lines, log_line, status_line, table_bundle
from ..create import create
from ..panel.snapshot import team_rows, team_text
from ..workbench import Workbench, ids, outcome
from .grammar import CELL, ORDER, SET, Argument, Arguments, Command, Function, arg, described, order, setting, settings

T = TypeVar("T")

COMMANDS: dict[str, Command] = {}

NAME = arg("name", metavar="NAME", help="an agent")
NAMES = arg("names", metavar="NAME", nargs="*", help="agents")
ALL = arg("--all", action="store_true", help="all agents")
TARGET = arg("target", metavar="NAME|RUN", help="an agent, a run id such as bob#3, or a variable")
RUNS = arg("runs", metavar="NAME|RUN", nargs="*", help="agents, run ids such as bob#3, or variables")
TIMEOUT = arg("--timeout", metavar="S", type=float, help="seconds")
LAST = arg("-n", metavar="N", type=int, default=20, help="the last N (20)")


def command(summary: str, *arguments: Argument) -> Callable[[Function], Function]:
    """Register a function as the command of its name."""

    def register(function: Function) -> Function:
        name = function.__name__.rstrip("_")
        COMMANDS[name] = Command(name, summary, arguments, function)
        return function

    return register


def find(word: str, bench: Workbench) -> Command:
    """The command of that name.

    Raises:
        ConfigError: there is none; the message says what may have been meant.
    """
    if found := COMMANDS.get(word):
        return found
    if bench.runtime.get(word):
        raise ConfigError(f"{word} is an agent, not a command: %{bench.root} ask {word} … gives it work")
    nearest = difflib.get_close_matches(word, COMMANDS, 1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(COMMANDS)}"
    raise ConfigError(f"no command {word!r}; {hint} (%{bench.root} help)")


@command(
    "Make an agent, or give one a new spec; its history stays. A NAME that a file describes is that agent, with the flags on top. "
    "Without a NAME: a form.",
    arg("name", metavar="NAME", nargs="?", help="an agent"),
    arg("--model", metavar="M", help="provider/model, such as openrouter/openai/gpt-4o-mini"),
    arg("--prompt", metavar="TEXT", help="the system prompt: who the agent is; nothing is taken from a file"),
    arg("--prompt-file", metavar="F", help="a file that holds the system prompt"),
    arg("--description", metavar="TEXT", help="one line for people"),
    arg("--tools", metavar="A,B", help="functions of this notebook that the agent may call"),
    arg("--temperature", metavar="T", type=float, help="0 to 2"),
    arg("--max-tokens", metavar="N", type=int, help="the most tokens of one reply"),
    SET,
    arg("--max-turns", metavar="N", type=int, help="model calls in one run"),
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


@command("List the agents: state, queue, tokens, cost, model.")
def list_(bench: Workbench, args: Arguments) -> None:
    """Display a table, as HTML and as text."""
    from IPython.display import display

    empty = f"no agents yet: %{bench.root} new NAME makes one"
    waiting = [name for name, entry in bench.runtime.team.items() if entry.agent and bench.runtime.get(name) is None]
    bundle = table_bundle(team_rows(bench.runtime), empty)
    also = f"at hand: {', '.join(waiting)} (%%{bench.root} NAME gives one work)" if waiting else ""
    display(_noted(bundle, also), raw=True)


def _noted(bundle: dict[str, str], note: str) -> dict[str, str]:
    """The table, with a line beneath it."""
    if note:
        bundle["text/plain"] += f"\n{note}"
        bundle["text/html"] += f"<div><small>{html.escape(note)}</small></div>"
    return bundle


@command(
    "Show what agents have cost, tokens and dollars, each and all together; what nobody knows is unknown, not $0.",
    NAMES,
    arg("--runs", action="store_true", help="their last runs, too"),
    LAST,
)
def cost(bench: Workbench, args: Arguments) -> None:
    """Display a table, as HTML and as text."""
    from IPython.display import display

    rows = cost_rows(bench.runtime, args.names, args.n if args.runs else 0)
    display(table_bundle(rows, f"no agents yet: %{bench.root} new NAME makes one"), raw=True)


@command("Watch and steer the team in a live panel; as text, and in a saved notebook, how it stands.")
def panel(bench: Workbench, args: Arguments) -> None:
    """Display the panel and, as an output of its own, its static form."""
    if not bench.is_kernel:
        print(team_text(bench.runtime))  # noqa: T201
        return
    from IPython.display import display

    panel = bench.runtime.panel()
    bench.runtime.home.do(panel.recheck)
    display(panel)
    bench.runtime.snapshots.show(panel.board)


@command("Show one agent: its spec, config, queue and last runs.", NAME)
def show(bench: Workbench, args: Arguments) -> None:
    """Print the facts of one session."""
    session = bench.runtime[args.name]
    agent, config = session.agent, session.config
    facts = {
        "title": agent.title,
        "role": agent.role,
        "state": session.state.label,
        "description": agent.description,
        "system prompt": agent.instructions,
        "config": ", ".join(f"{key}={value}" for key, value in config.values().items() if key != "api_key"),
        "tools": ", ".join(tool.name for tool in agent.as_tools),
        "limits": f"{agent.max_turns} turns" + (f", {agent.timeout_s:g} s" if agent.timeout_s else ""),
        "revision": str(session.revision),
        "history": f"{len(session.history)} messages",
    }
    print(printable("\n".join([session.name, *(f"  {key:14} {value}" for key, value in facts.items() if value)])))  # noqa: T201
    for run in dict.fromkeys([*session.queue, *session.runs[-5:]]):
        print(f"  {status_line(run)}")  # noqa: T201


@command(
    "Give an agent one line of work; gives the run: ans = %agent ask bob …",
    *ORDER,
    arg("prompt", metavar="PROMPT", nargs="*"),
)
def ask(bench: Workbench, args: Arguments) -> Run | None:
    """Launch a run. The magic splits the prompt off the line itself, just as it was written."""
    return bench.launch(order(args, " ".join(args.prompt)))


@command(
    "Wait in this cell until runs, or all, are done, and fail if one did; agents go on whatever ends the wait.",
    RUNS,
    TIMEOUT,
)
def wait(bench: Workbench, args: Arguments) -> None:
    """Block, then say how many succeeded: the same words whether a run ended before or during the wait."""
    runs = bench.to_wait_for(args.runs)
    bench.wait(runs, args.timeout)
    if failed := [run for run in runs if run.status == "failed"]:
        raise RunFailed("\n".join([outcome(runs), *(one_line(f"{run.id} failed: {run.error}") for run in failed)]))
    print(outcome(runs))  # noqa: T201


@command(
    "Cancel runs, queued or running; what they have said stays in run.text.",
    RUNS,
    arg("--all", action="store_true", help="all runs"),
)
def cancel(bench: Workbench, args: Arguments) -> None:
    """Cancel by name."""
    runs = [run for run in bench.runs_to_cancel(args.runs, everything=args.all) if not run.done]
    for run in runs:
        run.cancel()
    print(f"{ids(runs)} cancelled" if runs else "nothing to cancel")  # noqa: T201


@command(
    "Give a run that waits another place in its agent's queue.",
    arg("run", metavar="RUN", help="a run id such as bob#3, or a variable"),
    arg("--priority", choices=PRIORITIES, help="behind all others of this priority"),
    arg("--before", metavar="RUN", help="another run that waits there"),
)
def move(bench: Workbench, args: Arguments) -> None:
    """Change the order of a queue."""
    run, before = (name and bench.the_run(name) for name in (args.run, args.before))
    run.move(priority=args.priority, before=before)
    print(f"{run.id} moved {f'before {before.id}' if before else f'to priority {args.priority}'}")  # noqa: T201


@command("Let agents finish their turn and then hold.", NAMES, ALL)
def pause(bench: Workbench, args: Arguments) -> None:
    """Close the gate."""
    _each(bench, args, Session.pause, "paused")


@command("Let agents go on after pause or stop.", NAMES, ALL)
def resume(bench: Workbench, args: Arguments) -> None:
    """Open the gate."""
    _each(bench, args, Session.resume, "at work again")


@command("End the work of agents, queued and running; they take no more until resume.", NAMES, ALL)
def stop(bench: Workbench, args: Arguments) -> None:
    """Stop sessions."""
    _each(bench, args, lambda session: bench.runtime.home.do(_stop, session), "stopped")


def _stop(session: Session) -> str:
    ending = session.unfinished
    session.stop()
    return f"stopped; {ids(ending)} cancelled" if ending else ""


@command(
    "Say which loop agents live on, or move them: on one in a thread of their own they go on while a cell blocks.",
    arg("where", choices=get_args(Where), nargs="?", help="the notebook's own (the default), or one in a thread"),
)
def loop(bench: Workbench, args: Arguments) -> None:
    """Move agents, where that is said."""
    where = "the notebook's own loop" if bench.runtime.loop(args.where) == "notebook" else "a loop in their own thread"
    print(f"agents live on {where}")  # noqa: T201


@command("Let agents forget their history.", NAMES, ALL)
def reset(bench: Workbench, args: Arguments) -> None:
    """Clear histories."""
    _each(bench, args, Session.reset, "history forgotten")


@command("Make another agent that begins with a copy of this one's history.", NAME, arg("new_name", metavar="NEW"))
def fork(bench: Workbench, args: Arguments) -> None:
    """Fork a session."""
    session = bench.runtime[args.name].fork(args.new_name)
    print(f"{session.name} begins with the {len(session.history)} messages of {args.name}")  # noqa: T201


@command("Stop an agent and forget it.", NAME)
def remove(bench: Workbench, args: Arguments) -> None:
    """Remove a session."""
    bench.runtime.remove(args.name)
    print(f"{args.name} removed")  # noqa: T201


@command("Show what an agent did, or one run, event by event.", TARGET, LAST)
def log(bench: Workbench, args: Arguments) -> None:
    """Print the newest records of a session or a run."""
    run = bench.run(args.target)
    agent, run_id = (run.session.name, run.id) if run else (bench.runtime[args.target].name, None)
    records = [r for r in bench.runtime.store.records(agent, run_id) if not isinstance(r.event, TextStreamed)]
    for record in _last(args.n, records):
        print(log_line(record))  # noqa: T201


@command("Show what an agent remembers: its messages.", NAME, LAST)
def history(bench: Workbench, args: Arguments) -> None:
    """Print the newest messages of a session's history."""
    for line in history_lines(_last(args.n, bench.runtime[args.name].history)):
        print(line)  # noqa: T201


def _last(number: int, there: Sequence[T]) -> Sequence[T]:
    """The last ones; that there are more, or none, is told."""
    before = max(0, len(there) - max(0, number))
    if before or not there:
        print(f"… {before:,} earlier (-n {len(there)} shows all)" if there else "nothing yet")  # noqa: T201
    return there[before:]


@command(
    "Show an agent's config, or what holds for all, with where each value came from; FIELD=VALUE sets one for this session.",
    arg("name", metavar="NAME", nargs="?", help="an agent"),
    arg("values", metavar="FIELD=VALUE", nargs="*", type=setting, help="a field of AIConfig, its value as in YAML"),
)
def config(bench: Workbench, args: Arguments) -> None:
    """Set what is given, then display every value with its source."""
    from IPython.display import display

    field, equals, _ = (args.name or "").partition("=")
    if equals:
        raise ConfigError(
            f"whose config? %{bench.root} config NAME {field}=… sets it for one agent, whisper_nb.configure({field}=…) for all"
        )
    if args.values:
        session = bench.runtime[args.name]
        session.configure(session.configured.values() | settings(args.values))
    layer = bench.runtime.explain(args.name)
    rows = config_rows(layer, bench.runtime.keys)
    bundle = table_bundle(rows, "nothing is set", stale=False)
    unset = [name for name in KINDS if name not in {row["field"] for row in rows}]
    whose = "" if args.name else f"of an agent that says nothing else; %{bench.root} config NAME shows one agent's; "
    display(_noted(bundle, f"{whose}not set: {', '.join(unset)}"), raw=True)


@command(
    "List the models that can be reached: keys that are set, servers on this machine, prices. Any other works too."
)
def models(bench: Workbench, args: Arguments) -> None:
    """Look for keys and local servers, and display a table."""
    from IPython.display import display

    keys = bench.runtime.keys
    local, prices = bench.off_the_loop(lambda: (local_models(keys), price_list()))
    price = {one.model: price_of(listed(one.model, prices)) for one in PROVIDERS.values() if one.model}
    display(table_bundle(model_rows(keys, local, price), "", stale=False), raw=True)


@command(
    "Show what the project's config/ and agents/ would change; with the CODE shown there, use just that.",
    arg("code", metavar="CODE", nargs="?", help="trust what has this code, until one byte of it changes"),
    arg("--revoke", action="store_true", help="trust nothing of the project any more"),
)
def trust(bench: Workbench, args: Arguments) -> None:
    """Show, trust or revoke."""
    project = bench.runtime.project
    if project is None:
        raise ConfigError("there is no project here to trust")
    if args.revoke:
        bench.runtime.home.do(project.distrust)
        print(f"{project.root}: nothing of it is used from the next run on")  # noqa: T201
    elif args.code:
        bench.runtime.trust(args.code)
        bench.take_up_edits()
        print(f"{project.root} is trusted as it is, until one byte of it changes")  # noqa: T201
        if (where := project.used.settings.get("loop", bench.runtime.loop())) != bench.runtime.loop():
            print(f"loop: {where} holds from the kernel's next start on; %{bench.root} loop {where} moves agents now")  # noqa: T201
    else:
        bench.runtime.refresh()  # its news are among what is shown
        for line in trust_lines(project, bench.resolved(), bench.runtime.keys, bench.root):
            print(one_line(line))  # noqa: T201


@command(
    "Write an agent to agents/NAME.yaml, from which it loads to the same agent again.",
    NAME,
    arg("--force", action="store_true", help="also over a file that says something else"),
)
def save(bench: Workbench, args: Arguments) -> None:
    """Save the spec of a session."""
    path = bench.runtime.save(args.name, overwrite=args.force)
    print(f"{args.name} is in {path.relative_to(path.parents[1])}")  # noqa: T201
    if is_literal(bench.runtime[args.name].agent.config.api_key):
        print("note: its key was written out in Python, and is not in the file")  # noqa: T201


@command("Explain a command, or list them all.", arg("topic", metavar="COMMAND", nargs="?"))
def help_(bench: Workbench, args: Arguments) -> None:
    """Print help."""
    topic = (args.topic or "").lstrip("%")
    if not topic:
        print(overview(bench.root))  # noqa: T201
    else:
        print((CELL if topic == bench.root else find(topic, bench)).parser(bench.root).format_help())  # noqa: T201


ASK = COMMANDS["ask"]


def overview(root: str) -> str:
    """All commands, a line each."""
    lines = [f"%%{root} NAME    {CELL.summary}", f"%{root}s          {COMMANDS['panel'].summary}", ""]
    lines += [f"%{root} {item.name:10} {item.summary}" for item in COMMANDS.values()]
    last = f"%{root} help COMMAND explains one. {{{{ expression }}}} in a prompt is evaluated in the notebook."
    return "\n".join([*lines, "", last])


def _each(bench: Workbench, args: Arguments, act: Callable[[Session], str | None], done: str) -> None:
    for session in bench.sessions(args.names, everyone=args.all):
        print(f"{session.name}: {act(session) or done}")  # noqa: T201
