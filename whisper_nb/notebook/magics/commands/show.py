"""Commands that show agents, runs, costs and configuration: `list`, `panel`, `show`, `log`, `config` and others."""

from __future__ import annotations

import html
from argparse import ArgumentTypeError
from collections.abc import Sequence
from typing import TypeVar

from IPython.display import display

from ....config.aiconfig import CONFIG_FIELDS
from ....config.project import Project
from ....config.providers import PROVIDERS
from ....core.errors import ConfigError
from ....core.events import TextStreamed
from ....core.text import printable, visible
from ....engine.session import Session
from ...cells.costs import budget_line, cost_line
from ...cells.explain import (
    agent_configs,
    agent_rows,
    config_rows,
    cost_tables,
    history_line,
    limits_line,
    memory_line,
    mode_rows,
    model_rows,
)
from ...cells.render import history_lines, log_line, status_line
from ...cells.review import Folded, last_line, trust_lines
from ...cells.tables import table_bundle
from ...panel.snapshot import team_rows, team_text
from ...workbench import Workbench
from ..grammar import NAME, NAMES, TEAM, Arguments, arg, command, setting, settings, usd

T = TypeVar("T")

_TARGET = arg("target", metavar="NAME|RUN", help="an agent, a run id such as bob#3, or a variable")
_LAST = arg("-n", metavar="N", type=int, default=20, help="the last N (default: 20)")


@command("List the agents: state, queue, tokens, cost, model.", examples=("%agent list", "%agent"))
def list_(bench: Workbench, args: Arguments) -> None:
    """Display a table, as HTML and as text."""
    runtime = bench.runtime
    bundle = table_bundle(team_rows(runtime), bench.no_agents)
    available = [name for name, entry in runtime.team.items() if entry.agent and runtime.get(name) is None]
    note = ""
    if available:
        note = f"available: {', '.join(available)} (%%{bench.root} NAME gives one work)"
    display(_with_note(bundle, note), raw=True)


def _with_note(bundle: dict[str, str], note: str) -> dict[str, str]:
    """Return the table with a line below it."""
    if note:
        bundle["text/plain"] += f"\n{note}"
        bundle["text/html"] += f"<div><small>{html.escape(note)}</small></div>"
    return bundle


@command(
    "Show the tokens and the cost of agents, each and in total; then by model and by day, where there are several. "
    "A cost without a known price is unknown, not $0.",
    NAMES,
    arg("--by", choices=("agent", "model", "day"), help="show one table: by agent, by model or by day in local time"),
    arg("--runs", action="store_true", help="their last runs, too"),
    _LAST,
    examples=("%agent cost", "%agent cost bob --runs", "%agent cost --by day"),
)
def cost(bench: Workbench, args: Arguments) -> None:
    """Display a table, as HTML and as text."""
    last = args.n if args.runs else 0
    for rows in cost_tables(bench.runtime, args.names, last, args.by):
        display(table_bundle(rows, "nothing was spent yet" if bench.runtime.sessions else bench.no_agents), raw=True)


@command(
    "Show or set the budget: the most that all agents may spend together. What was spent stays spent.",
    arg("limit", metavar="USD", nargs="?", help="US dollars, such as $2 or 0.50; off: no limit"),
    arg("--allow-unpriced", action="store_true", help="models without a known price may be called; they count as $0"),
    examples=("%agent budget $2", "%agent budget", "%agent budget off"),
)
def budget(bench: Workbench, args: Arguments) -> None:
    """Set the limit, if one is given, and print what is spent, reserved and left."""
    runtime = bench.runtime
    if args.limit is not None:
        runtime.set_budget(_limit(args.limit), allow_unpriced=args.allow_unpriced or None)
    elif args.allow_unpriced:
        raise ConfigError(f"--allow-unpriced needs an amount: %{bench.root} budget $2 --allow-unpriced")
    if runtime.budget is None:
        print(f"no budget; {cost_line(runtime.spent)} spent. %{bench.root} budget $2 sets one")  # noqa: T201
    else:
        print(budget_line(runtime.budget))  # noqa: T201


def _limit(word: str) -> float | None:
    """Return the limit of a budget in US dollars; None for `off`."""
    try:
        return None if word == "off" else usd(word)
    except ArgumentTypeError as error:
        raise ConfigError(f"budget {error}, or off") from None


@command("Show the live panel of all agents. Without a notebook: print them as text.", examples=("%agents",))
def panel(bench: Workbench, args: Arguments) -> None:
    """Display the panel and, as a separate output, its static form for saved notebooks."""
    if not bench.is_kernel:
        print(team_text(bench.runtime))  # noqa: T201
        return
    panel = bench.runtime.panel()
    bench.runtime.home.do(panel.recheck)
    display(panel)
    bench.runtime.snapshots.show(panel.board)


@command(
    "Show what the agents did, as a picture: runs as bars over time, a lane for each agent. "
    "It stays as it is; the panel's timeline is live.",
    arg("minutes", metavar="MINUTES", nargs="?", type=float, help="that it shows, until now (default: all of 6 hours)"),
    examples=("%agent timeline", "%agent timeline 15"),
)
def timeline(bench: Workbench, args: Arguments) -> None:
    """Display the picture: SVG in a notebook, text elsewhere."""
    display(bench.runtime.timeline(args.minutes))


@command(
    "Show agents, each in full: its spec, config, queue and last runs.",
    *TEAM,
    examples=("%agent show bob", "%agent show --all"),
)
def show(bench: Workbench, args: Arguments) -> None:
    """Print the facts of sessions."""
    for session in bench.sessions(args.names, everyone=args.all):
        _show(session)


def _show(session: Session) -> None:
    agent, config = session.agent, session.config
    facts = {
        "title": agent.title,
        "role": agent.role,
        "state": session.state.label,
        "description": agent.description,
        "system prompt": agent.instructions,
        "config": ", ".join(f"{key}={value}" for key, value in config.values().items() if key != "api_key"),
        "tools": ", ".join(tool.name for tool in agent.tools),
        "answers": agent.output_type.label if agent.output_type else "",
        "limits": limits_line(agent),
        "revision": str(session.revision),
        "history": history_line(session.history),
        "memory": memory_line(agent, session.history),
    }
    lines = [session.name, *(f"  {key:14} {value}" for key, value in facts.items() if value)]
    print(printable("\n".join(lines)))  # noqa: T201
    for run in dict.fromkeys([*session.queue, *session.runs[-5:]]):
        print(f"  {status_line(run)}")  # noqa: T201


@command(
    "Show the events of an agent or of one run.",
    _TARGET,
    _LAST,
    examples=("%agent log bob", "%agent log bob#3", "%agent log ans -n 100"),
)
def log(bench: Workbench, args: Arguments) -> None:
    """Print the newest records of a session or a run."""
    if run := bench.run(args.target):
        found = bench.runtime.store.records(run.session.name, run.id)
    else:
        found = bench.runtime.store.records(bench.runtime[args.target].name)
    records = [r for r in found if not isinstance(r.event, TextStreamed)]
    for record in _last(args.n, records):
        print(log_line(record))  # noqa: T201


@command("Show the messages in an agent's history.", NAME, _LAST, examples=("%agent history bob -n 4",))
def history(bench: Workbench, args: Arguments) -> None:
    """Print the newest messages of a session's history."""
    for line in history_lines(_last(args.n, bench.runtime[args.name].history)):
        print(line)  # noqa: T201


def _last(number: int, items: Sequence[T]) -> Sequence[T]:
    """Return the last items. Print how many come before them, or that there are none."""
    before = max(0, len(items) - max(0, number))
    if not items:
        print("nothing yet")  # noqa: T201
    elif before:
        print(f"… {before:,} earlier (-n {len(items)} shows all)")  # noqa: T201
    return items[before:]


@command(
    "Show an agent's config, or the config of all agents, with the source of each value. "
    "FIELD=VALUE sets a value for this session.",
    arg("name", metavar="NAME", nargs="?", help="an agent"),
    arg("values", metavar="FIELD=VALUE", nargs="*", type=setting, help="a field of AIConfig, its value as in YAML"),
    examples=("%agent config bob temperature=0.2 max_tokens=500", "%agent config"),
)
def config(bench: Workbench, args: Arguments) -> None:
    """Set the given values, then display every value with its source."""
    field, equals, _ = (args.name or "").partition("=")
    if equals:
        raise ConfigError(
            f"{field}=… needs an agent: %{bench.root} config NAME {field}=… sets it for one, "
            f"whisper_nb.configure({field}=…) for all"
        )
    if args.values:
        session = bench.runtime[args.name]
        session.configure(session.configured.values() | settings(args.values))
    layer = bench.runtime.explain(args.name)
    rows = config_rows(layer, bench.runtime.keys)
    has_tools = bool(args.name and bench.runtime[args.name].agent.tools)
    registered = bench.runtime.models.registered(layer.config)
    rows += mode_rows(layer.config, registered, bench.runtime.keys, tools=has_tools)
    if args.name:
        rows += agent_rows(bench.runtime[args.name].agent)
    bundle = table_bundle(rows, "nothing is set", stale=False)
    unset = [name for name in CONFIG_FIELDS if name not in {row["field"] for row in rows}]
    note = f"not set: {', '.join(unset)}"
    if not args.name:
        note = f"for agents without a config of their own; %{bench.root} config NAME shows one agent's; {note}"
    display(_with_note(bundle, note), raw=True)


@command(
    "List the models that can be used now: with an API key that is set, at an agent's api_base, or on this machine. "
    "Other models work too, with their keys.",
    examples=("%agent models",),
)
def models(bench: Workbench, args: Arguments) -> None:
    """Look for keys and local servers, and display a table."""
    from ....models.local import local_models, models_at_bases
    from ....models.prices import listed, price, price_list

    keys = bench.runtime.keys
    configs = bench.runtime.home.do(agent_configs, bench.runtime)
    local, own, prices = bench.off_the_loop(lambda: (local_models(keys), models_at_bases(configs, keys), price_list()))
    priced = {one.model: price(listed(one.model, prices)) for one in PROVIDERS.values() if one.model}
    display(table_bundle(model_rows(keys, local, priced, own), "", stale=False), raw=True)


@command(
    "Show what the project's config/ and agents/ would change. With the CODE shown there: trust exactly those files.",
    arg("code", metavar="CODE", nargs="?", help="trust the files with this code, until one of them changes"),
    arg("--revoke", action="store_true", help="trust no file of the project any more"),
    examples=("%agent trust", "%agent trust --revoke"),
)
def trust(bench: Workbench, args: Arguments) -> None:
    """Show, trust or revoke."""
    project = bench.runtime.project
    if project is None:
        raise ConfigError("this runtime has no project, so there is nothing to trust")
    if args.revoke and project.is_always_trusted:
        raise ConfigError(f"{project.root} is whisper_nb's own folder, or was named by a script: it is always trusted")
    if args.revoke:
        bench.runtime.home.do(project.distrust)
        print(f"{project.root}: not trusted, from the next run on")  # noqa: T201
    elif args.code:
        bench.runtime.trust(args.code)
        bench.take_up_edits()
        print(f"{project.root}: trusted until a file changes")  # noqa: T201
        loop = project.used.settings.get("loop", bench.runtime.loop())
        if loop != bench.runtime.loop():
            print(f"loop: {loop} takes effect when the kernel restarts; %{bench.root} loop {loop} moves agents now")  # noqa: T201
    else:
        _review(bench, project)


def _review(bench: Workbench, project: Project) -> None:
    """Show what the project's files contain, and then the code by which they are trusted."""
    bench.runtime.refresh()  # without printing its news: the listing contains them
    review = bench.runtime.review()
    for part in trust_lines(review, bench.runtime, bench.root):
        if isinstance(part, Folded):
            display(part.bundle(), raw=True)
        else:
            print(part)  # noqa: T201
    project.show(review)  # only now, when all of it has been shown
    if line := last_line(review, bench.root):
        print(visible(line))  # noqa: T201
