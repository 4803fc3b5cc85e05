"""The transcript of a run that is open in a panel, as items in the order of its records. Each is sent once, in part.

An item's long texts are cut: the rest comes on demand, piece by piece. No reply of a model travels whole because
somebody opens its run.
"""

from __future__ import annotations

import json
from typing import Any

from ...core.errors import ConfigError
from ...core.events import (
    CallHeld,
    CallRetried,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    Record,
    RunContinued,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from ...core.messages import AssistantMessage, Image, Message, ToolCall, UserMessage, replace
from ...core.text import clip, mask_keys, printable
from ...engine.preview import request_sent
from ...engine.runs import Run
from ...engine.session import Session
from ...models.model import body_of
from ..cells.markdown import Node, markdown_tree
from ..cells.render import call_line, record_text
from .answers import answer_tree
from .details import LINE, Facts, StreamedText, run_facts

#: Characters of a text that are sent with its item, and of a further piece.
TEXT, PIECE = 6_000, 30_000
#: The newest records of a run that are sent.
ITEMS = 300
#: Records that were not sent yet, beyond which the oldest of them are passed over: a page would never catch up.
BEHIND = 2 * ITEMS
#: Messages of the history, the newest; characters of one text in a request, and of all texts: it is built in one step.
HISTORY, IN_REQUEST, IN_ALL = 20, 100_000, 1_000_000
#: The texts of an item of which a view may request further pieces.
FIELDS = ("text", "thoughts", "arguments")


class OpenRun:
    """The part of one run that was sent, and whether something is new."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.dirty = True
        """Whether something is new."""
        self._sent = -1  # records of which the items were sent; -1: nothing was sent
        self._turn = 0  # of the last item
        self._since = 0.0  # the time at which the next reply began
        self._head: Facts = {}
        self._live = StreamedText()
        self._thinking = StreamedText(lambda run: run.thinking)

    def change(self, allowance: float) -> tuple[Facts, int]:
        """Return what is new, up to about so many bytes, and its size. The rest comes next time."""
        new: Facts = {}
        events, size = self.run.events, 0
        if self._sent < 0 or len(events) - self._sent > BEHIND:
            self._sent, self._since = max(0, len(events) - ITEMS), 0.0
            self._turn = sum(isinstance(record.event, ModelReplied) for record in events[: self._sent])
            new = {"first": True, "cut": self._sent}
        items: list[Facts] = []
        if "first" in new and self._sent:
            items += [{"at": at, **(self._item(one) or {})} for at, one in enumerate(events[:ITEMS]) if _begins(one)]
        while self._sent < len(events) and size < allowance:
            item = self._item(events[self._sent])
            if item is not None:
                items.append({"at": self._sent, **item})
                size += len(json.dumps(items[-1]))
            self._sent += 1
        if items:
            new["items"] = items
        head = run_facts(self.run)
        if head != self._head:
            self._head = new["run"] = head
        self.dirty = self._sent < len(events)
        if not self.dirty and not self.run.done and (live := self._live.new(self.run)):
            new["live"] = live
            size += len(live["text"])
        if not (self.dirty or self.run.done) and (thinking := self._thinking.new(self.run)):
            new["thinking"] = thinking
            size += len(thinking["text"])
        return new, size

    def _item(self, record: Record) -> Facts | None:
        match record.event:
            case RunStarted(prompt, _, images):
                self._since = record.time
                return {"kind": "start", "text": _part(prompt), "images": [str(image) for image in images]}
            case ModelReplied(message, usage, cost, fingerprint=fingerprint):
                self._turn += 1
                facts: Facts = {"kind": "reply", "turn": self._turn, "text": _part(message.text), "cost": cost}
                facts["tree"] = self._tree(message)
                facts["input"], facts["output"] = usage and usage.input_tokens, usage and usage.output_tokens
                facts["seconds"], facts["fingerprint"] = self._seconds(record), fingerprint
                if thoughts := thoughts_of(record):
                    facts["thoughts"] = _part(thoughts)
                if message.served:
                    facts["served"] = [call_line(call) for call in message.served[:ITEMS]]
                return facts
            case ToolStarted(call):
                return {"kind": "call", "call": printable(call.id), **_call_facts(call)}
            case ToolFinished(message):
                self._since = record.time
                facts = {"kind": "result", "call": printable(message.call_id), "failed": message.is_error}
                return facts | {"text": _part(message.text), "line": clip(message.text, LINE)}
            case RunFinished(outcome, error):
                facts = {"kind": "end", "outcome": outcome, "error": printable((error or "")[:TEXT])}
                if partial := _partial_text(self.run):
                    facts["text"] = _part(partial)
                return facts
            case RunContinued(prompt, reason):
                self._since = record.time
                line = "Asked again" if reason == "invalid" else "Going on by itself"
                return {"kind": "continued", "text": _part(prompt), "line": line}
            case CallRetried() | CallHeld() | Noticed() | HistoryTrimmed():
                self._since = record.time
                return {"kind": "note", "text": clip(record_text(record), TEXT)}
            case _:
                return None

    def _tree(self, message: AssistantMessage) -> list[Node]:
        """Return a reply as the page draws it: a typed answer as a table of its fields, other texts as Markdown."""
        if self.run.output_type is not None and not message.tool_calls:
            tree = answer_tree(message.text)
            if tree is not None:
                return tree
        return markdown_tree(message.text[:TEXT])

    def _seconds(self, record: Record) -> float | None:
        if not self._since:
            return None
        return round(max(0.0, record.time - self._since), 1)


def piece(run: Run, item: int, field: str, start: int) -> str:
    """Return the next piece of a text of an item.

    Raises:
        ConfigError: the run has no such item.
    """
    if item >= len(run.events):
        raise ConfigError(f"{run.id} has no record {item}")
    record = run.events[item]
    text = ""
    match record.event, field:
        case ModelReplied(message), "text":
            text = message.text
        case ModelReplied(), "thoughts":
            text = thoughts_of(record)
        case ToolStarted(call), "arguments":
            text = call.arguments
        case ToolFinished(message), "text":
            text = message.text
        case ((RunStarted(prompt) | RunContinued(prompt)), "text"):
            text = prompt
        case RunFinished(), "text":
            text = _partial_text(run)
    return printable(text[start : start + PIECE])


def _partial_text(run: Run) -> str:
    """Return the text of the reply during which a run failed or was cancelled. No record has it."""
    reply = next((one.event.message.text for one in reversed(run.events) if isinstance(one.event, ModelReplied)), "")
    if run.status == "succeeded" or run.text == reply:
        return ""
    return run.text


def thoughts_of(record: Record) -> str:
    """Return the model's reasoning before a reply."""
    if isinstance(record.event, ModelReplied):
        return record.event.thoughts
    return ""


def request_text(session: Session[Any], run: Run[Any]) -> str:
    """Return the body of the run's last model call, indented: as it was sent, or said to be another one.

    Requests are not kept: it is made anew, and compared by its fingerprint. It holds neither key nor headers, of images
    the size, and of many or long messages a part.
    """
    config = session.resolved(run.config)
    request, own, exact = request_sent(session.ports, session.agent, config, session.history, run)
    end = len(request.messages)
    prompt = end - own
    at = [0, *range(max(1, prompt - HISTORY), prompt), prompt, *range(max(prompt + 1, end - ITEMS), end)]
    kept, left_out = [request.messages[index] for index in at], end - len(at)
    most = min(IN_REQUEST, IN_ALL // len(kept))
    shown = replace(request, messages=[_shown(message, most) for message in kept])
    body = _cut(json.loads(body_of(session.ports.open_model(config), shown)), most)
    notes = []
    if left_out:
        notes.append(f"// {left_out:,} older messages were sent and are not shown\n")
    if run.done and not exact:
        notes.append("// made from what is known now: the agent, its config or its history has changed since\n")
    return "".join(notes) + printable(mask_keys(json.dumps(body, ensure_ascii=False, indent=2)))


def _shown(message: Message, most: int) -> Message:
    """Return a message with its text cut to so many characters, and without the data of images."""
    message = replace(message, text=_cut(message.text, most))
    if isinstance(message, UserMessage) and message.images:
        return replace(message, images=tuple(Image(one.media_type, f"… {one}") for one in message.images))
    return message


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]}… {len(value) - most:,} more characters"
    if isinstance(value, dict):
        return {name: _cut(one, most) for name, one in value.items()}
    if isinstance(value, list):
        return [_cut(one, most) for one in value]
    return value


def _begins(record: Record) -> bool:
    return isinstance(record.event, RunStarted)


def _part(text: str) -> Facts:
    """Return the beginning of a text, and the number of characters that are left."""
    return {"text": printable(text[:TEXT]), "to": min(len(text), TEXT), "more": max(0, len(text) - TEXT)}


def _call_facts(call: ToolCall) -> Facts:
    return {"line": call_line(call), "name": printable(call.name[:LINE]), "arguments": _part(call.arguments)}
