"""Runs, records and messages as text and as safe HTML.

Text of models, tools and prompts is hostile. It is escaped, except the text of a run that succeeded, which is rendered
by `safe_markdown`.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from ...core.events import (
    AgentRevised,
    CallHeld,
    CallRetried,
    HistoryCopied,
    HistoryReset,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    Record,
    RunContinued,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
    StateChanged,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from ...core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, Usage, UserMessage
from ...core.text import LINE_LIMIT, clip, error_text, one_line, printable
from ...engine.runs import Run
from .answers import answer_data, answer_html, answer_text
from .costs import in_and_out, usage_facts
from .markdown import CODE, NO_MATH, PLAIN, safe_markdown

#: The most runs that a line names.
_NAMED = 20
#: The most characters of a run's text that a cell shows. `run.text` has all of them.
SHOWN = 50_000
#: The most characters, the last ones, that a cell shows while the run streams.
STREAMED = 4_000
_COLORS = {
    "succeeded": "#2e7d32",
    "failed": "var(--jp-error-color1, #c62828)",  # also the color of the error's text
    "cancelled": "#757575",
    "running": "#1565c0",
    "waiting": "#b26a00",
}
#: Text of right-to-left scripts is aligned and ordered as such.
_DIRECTION = 'dir="auto"'
#: Events that end in a reason, which must not be cut off.
_WITH_REASON = (CallRetried, CallHeld, RunContinued, Noticed, RunFinished)
_LOG_WIDTH = 160


def run_bundle(run: Run, *, raw: bool = False) -> dict[str, str]:
    """Return the current state of a run as text/plain and text/html, for a cell's output.

    Args:
        run: the run.
        raw: whether its answer is shown as the text that the model wrote.
    """
    return {"text/plain": printable(run_text(run, raw=raw)), "text/html": printable(run_html(run, raw=raw))}


def status_line(run: Run) -> str:
    """Return `bob#3 · succeeded · in 120 · out 45 tokens · $0.0021 · 3.2 s`, or the facts of an unfinished run."""
    facts = [run.id, run.status]
    if run.fresh:
        facts.append("fresh")
    if run.status == "cancelled" and run.failure:
        facts.append(run.failure)
    if run.seconds is not None:
        if run.done:
            facts += usage_facts(run.usage, run.cost)
        elif run.usage is not None:
            facts.append(f"{in_and_out(run.usage)} so far")
        facts.append(f"{run.seconds:.1f} s")
    if not run.done:
        facts.append(f"as of {time.strftime('%H:%M:%S')}")
    return " · ".join(facts)


def run_text(run: Run, *, raw: bool = False) -> str:
    """Return a run as plain text; see `run_bundle`."""
    lines = [status_line(run), *(f"  {line}" for line in tool_lines(run))]
    if run.status == "failed":
        lines.append(f"  {error_text(run.error)}")
    if thoughts := run.thoughts:
        lines.append(f"  {_thoughts_line(thoughts)}, run.thoughts")
    body = _visible_text(run)
    if not raw and (data := answer_data(run)):
        body = answer_text(*data)
    if body:
        lines += ["", body]
    return "\n".join(lines)


def run_html(run: Run, *, raw: bool = False) -> str:
    """Return a run as HTML: its escaped text while it streams, and once it succeeded its rendered Markdown or a table.

    See `run_bundle`.
    """
    color = _COLORS.get(run.status, "#757575")
    head = f'<span style="color:{color}">●</span> <small style="opacity:.75">{html.escape(status_line(run))}</small>'
    tools = "".join(f"<div><small><code>{html.escape(line)}</code></small></div>" for line in tool_lines(run))
    error = ""
    if run.status == "failed":
        error = f'<div style="color:{color}" {_DIRECTION}>{html.escape(error_text(run.error))}</div>'
    return f"<div {NO_MATH}>{head}{tools}{_thoughts_html(run)}{error}{_answer_html(run, raw)}</div>"


def _answer_html(run: Run, raw: bool) -> str:
    """Return the text of a run; JSON is code until it is complete."""
    if not raw and (data := answer_data(run)):
        return answer_html(*data)
    body = _visible_text(run)
    if not body:
        return ""
    if raw or run.output_type is not None:
        return f"<pre {CODE}><span {PLAIN}>{html.escape(body)}</span></pre>"
    if run.status == "succeeded":
        return f"<div {_DIRECTION}>{safe_markdown(body)}</div>"
    return f"<div {_DIRECTION}><p {PLAIN}>{html.escape(body)}</p></div>"


def _thoughts_line(thoughts: str) -> str:
    return f"thoughts: {len(thoughts):,} characters"


def _thoughts_html(run: Run) -> str:
    """Return the reasoning of a run, folded. While it runs, its length: a repaint would close what was opened."""
    thoughts = run.thoughts
    if not thoughts:
        return ""
    line = f'<small style="opacity:.75">{_thoughts_line(thoughts)}</small>'
    if not run.done:
        return f"<div>{line}</div>"
    if len(thoughts) > SHOWN:
        thoughts = f"{thoughts[:SHOWN]}\n\n… {len(thoughts) - SHOWN:,} more characters in run.thoughts"
    text = f"<p {PLAIN}><small>{html.escape(thoughts)}</small></p>"
    return f"<details {_DIRECTION}><summary>{line}</summary>{text}</details>"


def steps(run: Run) -> list[tuple[ToolCall | Record, ToolMessage | None]]:
    """Return each tool call of a run with its result, if there is one yet, and other records that its cell shows.

    Calls that the provider has run itself are among them.
    """
    found: list[tuple[ToolCall | Record, ToolMessage | None]] = []
    pending: dict[str, int] = {}  # call id → its index; a model may reuse an id in a later turn
    for record in run.events:
        match record.event:
            case ToolStarted(call):
                pending[call.id] = len(found)
                found.append((call, None))
            case ModelReplied(message) if message.served:
                found += [(call, ToolMessage(call.id, call.name, "run by the provider")) for call in message.served]
            case CallRetried() | CallHeld() | RunContinued() | Noticed():
                found.append((record, None))
            case ToolFinished(message) if message.call_id in pending:
                at = pending.pop(message.call_id)
                found[at] = (found[at][0], message)
    return found


def tool_lines(run: Run) -> list[str]:
    """Return each step of a run in a line."""
    return [step_line(step, result) for step, result in steps(run)]


def step_line(step: ToolCall | Record, result: ToolMessage | None, width: int = 56) -> str:
    """Return a tool call as `✓ rows(table="orders") → 12 rows`, or the text of a record."""
    if not isinstance(step, ToolCall):
        return clip(record_text(step), LINE_LIMIT)
    if result is None:
        return f"… {call_line(step)}"
    mark = "✗" if result.is_error else "✓"
    return f"{mark} {call_line(step)} → {clip(result.text, width)}"


def log_line(record: Record) -> str:
    """Return a record in one line, with its time and its run or agent."""
    width = LINE_LIMIT if isinstance(record.event, _WITH_REASON) else _LOG_WIDTH
    return f"{_clock(record.time)}  {record.run or record.agent:12} {clip(record_text(record), width)}"


def history_lines(messages: Iterable[Message]) -> Iterator[str]:
    """Yield messages as lines of text."""
    for message in messages:
        match message:
            case AssistantMessage(text, calls):
                if text:
                    yield printable(f"assistant: {text}")
                yield from (f"assistant calls {call_line(call)}" for call in calls)
            case ToolMessage(_, name, text):
                yield printable(f"{name} returned {clip(text, _LOG_WIDTH)}")
            case UserMessage(text) | SystemMessage(text):
                yield printable(f"user: {text}")


def record_text(record: Record) -> str:
    """Return a record in words. The text may contain unprintable characters."""
    match record.event:
        case RunQueued(prompt, priority, fresh=fresh):
            return f"queued, {priority}{', fresh' if fresh else ''}: {prompt}"
        case RunStarted(_, model):
            return f"started on {model}"
        case ModelReplied(message, usage, cost):
            what = message.text or ", ".join(call_line(call) for call in message.tool_calls)
            return f"replied ({', '.join(usage_facts(usage, cost))}): {what}"
        case TextStreamed(text):
            return text
        case ToolStarted(call):
            return f"calls {call_line(call)}"
        case ToolFinished(message):
            return f"{message.name} {'failed' if message.is_error else 'returned'}: {message.text}"
        case RunFinished(outcome, error) if error:
            return f"{outcome}: {error}"
        case RunFinished(outcome):
            return outcome
        case CallRetried(reason, after_s):
            return f"retry at {_clock(record.time + after_s)}: {reason}"
        case CallHeld(reason, after_s) if after_s:
            return f"held back until {_clock(record.time + after_s)} or later: {reason}"
        case CallHeld(reason):
            return f"held back: {reason}"
        case event:
            return _other_text(event)


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _other_text(
    event: RunMoved
    | RunContinued
    | Noticed
    | StateChanged
    | HistoryTrimmed
    | HistoryCopied
    | HistoryReset
    | AgentRevised,
) -> str:
    """Return an event that is not part of a run's work in words."""
    match event:
        case RunMoved(_, before) if before:
            return f"moved before {before}"
        case RunMoved(priority):
            return f"priority {priority}"
        case RunContinued(prompt, "invalid"):
            return f"asked again: {prompt}"
        case RunContinued(prompt):
            return f"going on by itself: {prompt}"
        case Noticed(text):
            return f"note: {text}"
        case StateChanged(state):
            return state.label
        case HistoryTrimmed(dropped, memory):
            why = f"memory {memory}" if memory else "the context is full"
            return f"{why}: left out the {dropped} oldest messages"
        case HistoryCopied(messages):
            return f"begins with a copy of {len(messages)} messages"
        case HistoryReset():
            return "history cleared"
        case AgentRevised(revision):
            return f"revision {revision}"
        case _:
            assert_never(event)


def _visible_text(run: Run) -> str:
    text = run.text
    if not run.done and len(text) > STREAMED:
        return f"… {len(text) - STREAMED:,} characters above …\n{text[-STREAMED:]}"
    if len(text) > SHOWN:
        return f"{text[:SHOWN]}\n\n… {len(text) - SHOWN:,} more characters in run.text"
    return text


def call_line(call: ToolCall) -> str:
    """Return a tool call in one short line: `rows(table="orders")`."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return printable(f"{call.name}({clip(call.arguments, 60)})")
    shown = ", ".join(f"{key}={clip(json.dumps(value), 40)}" for key, value in arguments.items())
    return printable(f"{call.name}({shown})")


def run_ids(runs: Sequence[Run]) -> str:
    """Return the ids of runs; of many runs, the first ones."""
    ids = ", ".join(run.id for run in runs[:_NAMED])
    if len(runs) > _NAMED:
        ids += f" and {len(runs) - _NAMED} more"
    return ids


def causes(runs: Sequence[Run]) -> list[str]:
    """Return a line for each cause of failure, with the ids of the runs that failed for it."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.status == "failed":
            groups.setdefault(error_text(run.error), []).append(run)
    return [one_line(f"{run_ids(failed)} failed: {cause}") for cause, failed in groups.items()]


def outcome(runs: Sequence[Run]) -> str:
    """Return the number of runs that succeeded, and the ids of those that did not."""
    groups = {status: [run for run in runs if run.status == status] for status in ("succeeded", "failed", "cancelled")}
    facts: list[str] = []
    for status, found in groups.items():
        if found and status == "succeeded":
            facts.append(f"{len(found)} succeeded")
        elif found:
            facts.append(f"{len(found)} {status} ({run_ids(found)})")
    return ", ".join(facts) or "nothing to wait for"


def total_tokens(runs: Sequence[Run]) -> str:
    """Return the tokens of all runs: `in 1,234 · out 56 tokens`; empty if no model was called."""
    usages = [run.usage for run in runs if run.started_at is not None]
    known = [usage for usage in usages if usage is not None]
    total = sum(known, Usage())
    if len(known) == len(usages):
        return in_and_out(total) if total != Usage() else ""
    return f"at least {in_and_out(total)}" if known else "tokens unknown"
