"""Commands that launch and steer runs: `ask`, `wait`, `cancel`, `move`."""

from __future__ import annotations

from ....core.errors import RunFailed
from ....core.queues import PRIORITIES
from ....engine.runs import Run
from ...cells.render import causes, outcome, run_ids, total_tokens
from ...workbench import Workbench
from ..grammar import ORDER, Arguments, arg, command, order

#: The arguments of a command for several runs.
_RUNS = (
    arg("runs", metavar="NAME|RUN", nargs="*", help="agents, run ids such as bob#3, or variables"),
    arg("--all", action="store_true", help="all runs that are not finished"),
)


@command(
    "Give an agent one line of work, and return the run.",
    *ORDER,
    arg(
        "prompt",
        metavar="PROMPT",
        nargs="*",
        help="the rest of the line, without a comment after two spaces and a #; flags come before it",
    ),
    examples=(
        "%agent ask bob How many rows are there?",
        "ans = %agent ask bob Which of {{ list(df) }} are dates?",
        "%agent ask bob --image fig --priority high What changed?",
        "%agent ask bob -- --this prompt begins with two dashes",
    ),
)
def ask(bench: Workbench, args: Arguments) -> Run | None:
    """Launch a run. The magic itself splits the prompt off the line, unchanged."""
    return bench.launch(order(args, " ".join(args.prompt)))


@command(
    "Wait in this cell until runs are finished, without a name all runs, and fail if one failed. "
    "However the wait ends, agents go on.",
    *_RUNS,
    arg("--timeout", metavar="S", type=float, help="seconds"),
    examples=("%agent wait", "%agent wait bob amy#2 ans --timeout 60"),
)
def wait(bench: Workbench, args: Arguments) -> None:
    """Block, then print how many succeeded, and their tokens. The text does not depend on when a run finished."""
    runs = bench.to_wait_for(args.runs, everything=args.all)
    bench.wait(runs, args.timeout)
    bench.reported(runs)
    if why := causes(runs):
        raise RunFailed("\n".join([outcome(runs), *why]))
    print(" · ".join(filter(None, (outcome(runs), total_tokens(runs)))))  # noqa: T201


@command(
    "Cancel runs, queued or running. Text received so far stays in run.text.",
    *_RUNS,
    examples=("%agent cancel bob#3", "%agent cancel bob ans", "%agent cancel --all"),
)
def cancel(bench: Workbench, args: Arguments) -> None:
    """Cancel the runs that are not finished."""
    runs = [run for run in bench.runs_to_cancel(args.runs, everything=args.all) if not run.done]
    for run in runs:
        run.cancel()
    print(f"{run_ids(runs)} cancelled" if runs else "nothing to cancel")  # noqa: T201


@command(
    "Move a queued run to another position in its agent's queue.",
    arg("run", metavar="RUN", help="a run id such as bob#3, or a variable"),
    arg("--priority", choices=PRIORITIES, help="after all other runs of this priority"),
    arg("--before", metavar="RUN", help="another run in the same queue"),
    examples=("%agent move bob#3 --priority high", "%agent move bob#3 --before bob#2"),
)
def move(bench: Workbench, args: Arguments) -> None:
    """Change the order of a queue."""
    run = bench.the_run(args.run)
    before, position = None, f"to priority {args.priority}"
    if args.before:
        before = bench.the_run(args.before)
        position = f"before {before.id}"
        if before.priority != run.priority:
            position += f", to priority {before.priority}"
    run.move(priority=args.priority, before=before)
    print(f"{run.id} moved {position}")  # noqa: T201
