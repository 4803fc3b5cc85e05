"""Bars: the runs of an agent as a picture of the team shows them, with the times of thinking, tools and waiting. Pure.

A bar is folded from the records of its run. Runs that are too short to be told apart become one bar.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ...core.events import CallHeld, ModelReplied, RunFinished, StateChanged, ToolFinished
from ...core.text import clip
from ...engine.runs import Run

Kind = Literal["thinking", "tool", "waiting", "waiting for the rate limit", "waiting for the budget"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Those that are drawn differently; the others are as `waiting`.
DRAWN: tuple[Kind, ...] = KINDS[:3]
#: The cause for which a call is held → what its run does.
HELD: Mapping[str, Kind] = {"rate": "waiting for the rate limit", "budget": "waiting for the budget"}
#: Characters of a prompt's first line, and parts of one bar.
WORDS, PARTS = 60, 60
#: Steps that a bar of joined runs with several outcomes takes at most.
_APART = 4
#: In a bar of runs with several outcomes, the first of these that occurs counts.
_WORST = ("failed", "cancelled", "succeeded")


@dataclass(frozen=True, slots=True)
class Bar:
    """One run, or several that follow each other closely."""

    number: int
    """The number of the run, or of the first one."""
    since: float
    """The time at which it started, or at which it was submitted if it waits for other runs."""
    seconds: float | None
    """None: it goes on."""
    outcome: str
    """succeeded, failed or cancelled; running; or queued: it waits for the runs in `needs`."""
    counts: tuple[tuple[str, int], ...] = ()
    """Of several runs: each outcome and its runs."""
    parts: tuple[tuple[Kind, float], ...] = ()
    """Its parts, each with its seconds, in order. The last part of a run in progress goes on."""
    needs: tuple[str, ...] = ()
    """The runs that it depends on, by id."""
    line: str = ""
    """The beginning of its prompt; of several runs, their outcomes."""
    input: int | None = None
    output: int | None = None
    """Tokens. None: unknown."""
    cost: float | None = None
    """US dollars. None: unknown."""

    @property
    def runs(self) -> int:
        """How many runs it shows."""
        return sum(runs for _, runs in self.counts) or 1

    @property
    def end(self) -> float | None:
        """The time at which it ended. None: it goes on."""
        return None if self.seconds is None else self.since + self.seconds

    @property
    def facts(self) -> list[Any]:
        """The bar as the panel's page gets it; `view/bars.js` reads it."""
        parts = [value for kind, seconds in self.parts for value in (round(seconds, 2), KINDS.index(kind))]
        seconds = self.seconds and round(self.seconds, 2)
        cost = self.cost and round(self.cost, 9)
        run = [self.number, round(self.since, 2), seconds, self.outcome, dict(self.counts) or None]
        return [*run, parts, [*self.needs], self.line, self.input, self.output, cost]


def bars(runs: Iterable[Run], since: float, now: float, step: float) -> list[Bar]:
    """Return the bars of an agent's runs that end after a time, by their start.

    Args:
        runs: of one agent, in any order.
        since: the time, in seconds since the epoch.
        now: the time at which runs in progress are seen.
        step: the seconds that a pixel of the picture shows. Runs of less than two steps are joined.
    """
    recent = (run for run in runs if (run.finished_at or now) >= since)
    found = (bar for run in recent if (bar := bar_of(run, now, step)))
    return joined(sorted(found, key=lambda bar: bar.since), step)


def joined(found: Iterable[Bar], step: float) -> list[Bar]:
    """Join bars of less than two steps that follow each other within a step, also those that were joined before.

    A bar of one outcome may become long; one of several ends soon, so that each is seen near its place.
    """
    return list(_blocks(found, step))


def bar_of(run: Run, now: float, step: float = 0.0) -> Bar | None:
    """Return the bar of a run; None for one that neither started nor waits for another run."""
    needs = tuple(need.id for need in run.needs)
    if run.started_at is None:
        if not needs or run.done or run.ready:
            return None
        return Bar(run.number, run.submitted_at, None, "queued", needs=needs, line=clip(run.prompt, WORDS))
    usage = run.usage
    seconds = None
    if run.finished_at is not None:
        seconds = max(0.0, run.finished_at - run.started_at)
    return Bar(
        run.number,
        run.started_at,
        seconds,
        run.outcome or "running",
        parts=() if seconds is not None and seconds < 2 * step else parts_of(run, now, step),
        needs=needs,
        line=clip(run.prompt, WORDS),
        input=usage.input_tokens if usage else None,
        output=usage.output_tokens if usage else None,
        cost=run.cost,
    )


def parts_of(run: Run, now: float, step: float = 0.0) -> tuple[tuple[Kind, float], ...]:
    """Return what a run did and for how many seconds: at most about `PARTS` parts, none much shorter than a step."""
    began = run.started_at or now
    spans = [*_spans(run, began, now)]
    shortest = max(step, ((run.finished_at or now) - began) / PARTS)
    last = [] if run.done else [spans.pop()]  # what it does now is a part however short
    parts: list[tuple[Kind, float]] = []
    for kind, seconds in [*_coarse(spans, shortest), *last]:
        before = parts.pop()[1] if parts and parts[-1][0] == kind else 0.0
        parts.append((kind, before + seconds))
    if len(parts) == 1 and parts[0][0] == "thinking":  # most runs: all of the bar
        return ()
    return tuple(parts)


def _spans(run: Run, began: float, now: float) -> Iterator[tuple[Kind, float]]:
    """Yield what a run did, and for how many seconds."""
    kind: Kind = "thinking"
    calls = 0  # tool calls without a result
    for record in run.events:
        before = kind
        match record.event:
            case StateChanged(state):
                kind = "waiting" if state.activity == "waiting" else "thinking"
            case CallHeld(cause=cause) if kind == "waiting":
                kind = before = HELD[cause]  # since the wait began
            case ModelReplied(message) if message.tool_calls:
                kind, calls = "tool", len(message.tool_calls)
            case ToolFinished():
                calls -= 1
                if not calls:
                    kind = "thinking"
            case RunFinished():
                yield kind, max(0.0, record.time - began)
        if kind != before and record.time > began:
            yield before, record.time - began
            began = record.time
    if not run.done:
        yield kind, max(0.0, now - began)


def _coarse(spans: Iterable[tuple[Kind, float]], shortest: float) -> Iterator[tuple[Kind, float]]:
    """Join spans that are too short to be seen. A part that was joined is of the kind that took most of it."""
    took: defaultdict[Kind, float] = defaultdict(float)
    for kind, seconds in spans:
        if seconds >= shortest and took:
            yield _most(took)
            took.clear()
        took[kind] += seconds
        if sum(took.values()) >= shortest:
            yield _most(took)
            took.clear()
    if took:
        yield _most(took)


def _most(took: Mapping[Kind, float]) -> tuple[Kind, float]:
    return max(took, key=lambda kind: took[kind]), sum(took.values())


def _blocks(found: Iterable[Bar], step: float) -> Iterator[Bar]:
    block: list[Bar] = []
    outcomes: set[str] = set()
    for bar in found:
        is_short = bar.seconds is not None and (bar.seconds < 2 * step or bar.runs > 1)
        if block:
            follows = is_short and bar.since - (block[-1].end or 0.0) < step
            alike = outcomes == {bar.outcome} or bar.since - block[0].since < _APART * step
            if not (follows and alike):
                yield _block(block)
                block, outcomes = [], set()
        if is_short:
            block.append(bar)
            outcomes.update(outcome for outcome, _ in bar.counts or ((bar.outcome, 1),))
        else:
            yield bar
    if block:
        yield _block(block)


def _block(block: list[Bar]) -> Bar:
    if len(block) == 1:
        return block[0]
    outcomes: Counter[str] = Counter()
    for bar in block:
        outcomes.update(dict(bar.counts) or {bar.outcome: 1})
    counts = tuple((one, outcomes[one]) for one in reversed(_WORST) if one in outcomes)
    first, last = block[0], block[-1]
    return replace(
        first,
        seconds=(last.end or 0.0) - first.since,
        outcome=next(outcome for outcome in _WORST if outcome in outcomes),
        counts=counts,
        parts=(),
        needs=(),
        line=", ".join(f"{runs} {outcome}" for outcome, runs in counts),
        input=_sum(bar.input for bar in block),
        output=_sum(bar.output for bar in block),
        cost=_sum(bar.cost for bar in block),
    )


def _sum(values: Iterable[Any]) -> Any:
    """Return the sum. None: one of the values is unknown."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
