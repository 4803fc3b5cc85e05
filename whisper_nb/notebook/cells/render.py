"""Runs and sessions as text and as safe HTML.

What a model, a tool or a prompt says is hostile: it is escaped, or it is rendered as Markdown without raw HTML and
images, and then sanitized.
"""

from __future__ import annotations

import functools
import html
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, assert_never

from ...core.events import (
    AgentRevised,
    CallHeld,
    CallRetried,
    HistoryReset,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    Record,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
    StateChanged,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from ...core.messages import AssistantMessage, Message, Spent, SystemMessage, ToolCall, ToolMessage, Usage, UserMessage
from ...core.text import LINE_LIMIT, clip, printable
from ...engine.runs import Run

#: The most of a text that a cell shows; all of it is in `run.text`.
SHOWN = 50_000
#: The most that is repainted while it streams: the end of it.
STREAMED = 4_000
_COLORS = {
    "succeeded": "#2e7d32",
    "failed": "var(--jp-error-color1, #c62828)",  # it is the color of text, too
    "cancelled": "#757575",
    "running": "#1565c0",
    "waiting": "#b26a00",
}
#: Kind of token → how MathJax knows its content.
_MATH = {"math_inline": "${}$", "math_inline_double": "$${}$$", "math_block": "\n$${}$$\n", "amsmath": "\n{}\n"}
_BRACKETS = re.compile(r"\\\[(.+?)\\\]", re.DOTALL)
_SIGN = re.compile(r"[\\^_={}+<>]")
#: MathJax, of version 3 in JupyterLab and 2 in what nbconvert makes, shall find math in these elements only.
_MATH_HERE, _NO_MATH = 'class="mathjax_process tex2jax_process"', 'class="mathjax_ignore tex2jax_ignore"'
#: Events that say why: what a provider said would be cut off first.
_REASONED = (CallRetried, CallHeld, Noticed, RunFinished)
_LEFT = 'style="text-align:left"'
_TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


@functools.cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.amsmath import amsmath_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.dollarmath.index import math_inline_dollar
    from mdit_py_plugins.texmath import texmath_plugin

    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    # Math is found so that Markdown leaves it alone; JupyterLab's MathJax typesets it where it stands.
    markdown.use(dollarmath_plugin, allow_labels=False)
    markdown.inline.ruler.at("math_inline", _unless_money(math_inline_dollar(allow_space=False, allow_double=True)))
    markdown.use(texmath_plugin, delimiters="brackets").use(amsmath_plugin)
    markdown.inline.ruler.before("escape", "math_in_brackets", _math_in_brackets)
    for kind in _MATH:
        markdown.add_render_rule(kind, _math_as_written)
    return markdown


def _unless_money(between_dollars: Callable[[Any, bool], bool]) -> Callable[[Any, bool], bool]:
    """Math by Pandoc's rule: without space inside the dollars and digit behind them; `$5 or $6` is none.

    What begins with a number is none either, unless it has a sign of math in it: `From $20k to $30k in US$`.
    """

    def rule(state: Any, silent: bool) -> bool:
        start = state.pos
        is_math = between_dollars(state, True) and not state.src[state.pos : state.pos + 1].isdigit()
        inside, state.pos = state.src[start : state.pos].strip("$"), start
        is_math = is_math and (not inside[:1].isdigit() or _SIGN.search(inside) is not None)
        return is_math and between_dollars(state, silent)

    return rule


def _math_in_brackets(state: Any, silent: bool) -> bool:
    r"""Display math within a paragraph, `\[…\]`: the plugin knows it on lines of its own only."""
    found = _BRACKETS.match(state.src, state.pos)
    if found and not silent:
        state.push("math_inline_double", "math", 0).content = found[1]
    if found:
        state.pos = found.end()
    return found is not None


def _math_as_written(_: Any, tokens: Sequence[Any], index: int, *__: Any) -> str:
    token = tokens[index]
    return f"<span {_MATH_HERE}>{html.escape(_MATH[token.type].format(token.content), quote=False)}</span>"


def safe_markdown(text: str) -> str:
    """The text's Markdown as HTML that can neither run nor load anything; for an element that is no math as a whole."""
    import nh3

    clean = nh3.clean(
        _markdown().render(printable(text)),
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}, "span": {"class"}, "*": set()},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",  # it would be an address of the Jupyter server
        link_rel="noopener noreferrer",
    )
    # JupyterLab aligns the cells of a table to the right, which suits numbers. In clean text `<td>` is only ever a tag.
    return clean.replace("<td>", f"<td {_LEFT}>").replace("<th>", f"<th {_LEFT}>")


def run_bundle(run: Run) -> dict[str, str]:
    """A run as it stands, for a cell's output: text/plain and text/html."""
    return {"text/plain": printable(run_text(run)), "text/html": printable(run_html(run))}


def status_line(run: Run) -> str:
    """`bob#3 · succeeded · 120 + 45 tokens · $0.0021 · 3.2 s`; what is not final says as of when."""
    facts = [run.id, run.status]
    if run.seconds is not None:
        facts += [*(_spent(run.usage, run.cost) if run.done else ()), f"{run.seconds:.1f} s"]
    if not run.done:
        facts.append(f"as of {time.strftime('%H:%M:%S')}")
    return " · ".join(facts)


def run_text(run: Run) -> str:
    """A run as plain text."""
    lines = [status_line(run), *(f"  {line}" for line in tool_lines(run))]
    if run.status == "failed":
        lines.append(f"  {run.error}")
    body = _shown(run)
    return "\n".join([*lines, "", body] if body else lines)


def run_html(run: Run) -> str:
    """A run as HTML: while it streams its escaped text, at the end its Markdown."""
    color = _COLORS.get(run.status, "#757575")
    head = f'<span style="color:{color}">●</span> <small style="opacity:.75">{html.escape(status_line(run))}</small>'
    tools = "".join(f"<div><small><code>{html.escape(line)}</code></small></div>" for line in tool_lines(run))
    error = f'<div style="color:{color}">{html.escape(str(run.error))}</div>' if run.status == "failed" else ""
    body = _shown(run)
    if body and run.status == "succeeded":
        body = safe_markdown(body)
    elif body:
        body = f'<pre style="white-space:pre-wrap">{html.escape(body)}</pre>'
    return f"<div {_NO_MATH}>{head}{tools}{error}{body}</div>"


def steps(run: Run) -> list[tuple[ToolCall | Record, ToolMessage | None]]:
    """Each tool call of a run with its result, if that is there; and what else should be known of it."""
    found: list[tuple[ToolCall | Record, ToolMessage | None]] = []
    pending: dict[str, int] = {}  # call id → its place; a model may use an id again in a later turn
    for record in run.events:
        match record.event:
            case ToolStarted(call):
                pending[call.id] = len(found)
                found.append((call, None))
            case CallRetried() | CallHeld() | Noticed():
                found.append((record, None))
            case ToolFinished(message) if message.call_id in pending:
                at = pending.pop(message.call_id)
                found[at] = (found[at][0], message)
    return found


def tool_lines(run: Run) -> list[str]:
    """Each step of a run in a line."""
    return [step_line(what, result) for what, result in steps(run)]


def step_line(what: ToolCall | Record, result: ToolMessage | None, width: int = 56) -> str:
    """`✓ rows(table="orders") → 12 rows`; or what a notice says."""
    if not isinstance(what, ToolCall):
        return clip(told(what), LINE_LIMIT)
    if result is None:
        return f"… {call_line(what)}"
    return f"{'✗' if result.is_error else '✓'} {call_line(what)} → {clip(result.text, width)}"


def log_line(record: Record) -> str:
    """An event with its time and place, in one line."""
    return f"{_clock(record.time)}  {record.run or record.agent:12} {clip(told(record), LINE_LIMIT if isinstance(record.event, _REASONED) else 160)}"


def history_lines(messages: Iterable[Message]) -> Iterator[str]:
    """Messages as people read them."""
    for message in messages:
        match message:
            case AssistantMessage(text, calls):
                yield from (printable(f"assistant: {text}"),) if text else ()
                yield from (f"assistant calls {call_line(call)}" for call in calls)
            case ToolMessage(_, name, text):
                yield f"{name} gives {clip(text, 160)}"
            case UserMessage(text) | SystemMessage(text):
                yield printable(f"user: {text}")


def told(record: Record) -> str:
    """What a record says, in words; not yet printable."""
    match record.event:
        case RunQueued(prompt, priority):
            return f"queued, {priority}: {prompt}"
        case RunStarted(_, model):
            return f"started on {model}"
        case ModelReplied(message, usage, cost):
            what = message.text or ", ".join(call_line(call) for call in message.tool_calls)
            return f"replied ({', '.join(_spent(usage, cost))}): {what}"
        case TextStreamed(text):
            return text
        case ToolStarted(call):
            return f"calls {call_line(call)}"
        case ToolFinished(message):
            return f"{message.name} {'failed' if message.is_error else 'gives'}: {message.text}"
        case RunFinished(outcome, error):
            return f"{outcome}: {error}" if error else outcome
        case CallRetried(reason, after_s):
            return f"next try at {_clock(record.time + after_s)}: {reason}"
        case CallHeld(reason, after_s):
            until = f" until {_clock(record.time + after_s)} or later" if after_s else ""
            return f"held back{until}: {reason}"
        case event:
            return _told_beside(event)


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _told_beside(event: RunMoved | Noticed | StateChanged | HistoryTrimmed | HistoryReset | AgentRevised) -> str:
    """Of what happens beside the work itself."""
    match event:
        case RunMoved(priority, before):
            return f"moved before {before}" if before else f"priority {priority}"
        case Noticed(text):
            return f"note: {text}"
        case StateChanged(state):
            return state.label
        case HistoryTrimmed(dropped):
            return f"left the {dropped} oldest messages out: the context is full"
        case HistoryReset():
            return "forgot its history"
        case AgentRevised(revision):
            return f"revision {revision}"
        case _:
            assert_never(event)


def table_bundle(rows: Sequence[dict[str, str]], empty: str, *, stale: bool = True) -> dict[str, str]:
    """Rows as text/plain and text/html; with the time, where a saved table goes stale."""
    text, markup = table_text(rows, empty), table_html(rows, empty)
    if not rows or not stale:
        return {"text/plain": text, "text/html": markup}
    clock = f"as of {time.strftime('%H:%M:%S')}"
    return {"text/plain": f"{text}\n{clock}", "text/html": f"{markup}<small>{clock}</small>"}


def table_text(rows: Sequence[dict[str, str]], empty: str) -> str:
    """Rows in columns."""
    if not rows:
        return empty
    columns = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    lines = ["  ".join(key.ljust(width) for key, width in columns.items())]
    lines += ["  ".join(row[key].ljust(width) for key, width in columns.items()) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def table_html(rows: Sequence[dict[str, str]], empty: str) -> str:
    """Rows as an HTML table, every value escaped, and its dollars no math."""
    if not rows:
        return f"<div {_NO_MATH}><p>{html.escape(empty)}</p></div>"
    head = "".join(f"<th {_LEFT}>{html.escape(key)}</th>" for key in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td {_LEFT}>{html.escape(value)}</td>" for value in row.values()) + "</tr>" for row in rows
    )
    return f"<div {_NO_MATH}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _shown(run: Run) -> str:
    text = run.text
    if not run.done and len(text) > STREAMED:
        return f"… {len(text) - STREAMED:,} characters above …\n{text[-STREAMED:]}"
    if len(text) > SHOWN:
        return f"{text[:SHOWN]}\n\n… {len(text) - SHOWN:,} more characters in run.text"
    return text


def _spent(usage: Usage | None, cost: float | None) -> list[str]:
    tokens = "tokens unknown" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens"
    return [tokens, "cost unknown" if cost is None else dollars(cost)]


def dollars(cost: float | None) -> str:
    """What people read of a cost; `unknown`, and never $0, where nobody knows it."""
    if cost is None or not math.isfinite(cost):
        return "unknown"
    if cost == 0:
        return "$0"
    # Four decimals, and more where a small amount would have less than three digits.
    more = max(4, 2 - math.floor(math.log10(abs(cost))))
    whole, _, decimals = f"{cost:.{more}f}".partition(".")
    return f"${whole}.{decimals[:4]}{decimals[4:].rstrip('0')}"


def cost_line(spent: Spent) -> str:
    """`$0.0123`; `at least $0.0123, 2 runs unknown`; `unknown`; `so far`, where runs are at work."""
    said = dollars(spent.known)
    if spent.unpriced:
        runs = f"{spent.unpriced} run{'s' * (spent.unpriced > 1)}"
        said = f"at least {said}, {runs} unknown" if spent.known else "unknown"
    return f"{said} so far" if spent.at_work else said


def tokens_line(spent: Spent) -> str:
    """`1,200 + 45`, in and out; `at least 1,200 + 45`; `unknown`."""
    usage = spent.usage
    said = f"{usage.input_tokens:,} + {usage.output_tokens:,}"
    if spent.uncounted:
        said = f"at least {said}" if usage.input_tokens or usage.output_tokens else "unknown"
    return said


def call_line(call: ToolCall) -> str:
    """A tool call in one short line: `rows(table="orders")`."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return printable(f"{call.name}({clip(call.arguments, 60)})")
    said = ", ".join(f"{key}={clip(json.dumps(value), 40)}" for key, value in arguments.items())
    return printable(f"{call.name}({said})")
