"""The events that observers match on: `match record.event: case RunFinished(): ...`."""

from __future__ import annotations

from .core.events import (
    AgentRevised,
    CallHeld,
    CallRetried,
    Event,
    HistoryReset,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    Priority,
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

__all__ = [
    "AgentRevised",
    "CallHeld",
    "CallRetried",
    "Event",
    "HistoryReset",
    "HistoryTrimmed",
    "ModelReplied",
    "Noticed",
    "Priority",
    "Record",
    "RunFinished",
    "RunMoved",
    "RunQueued",
    "RunStarted",
    "StateChanged",
    "TextStreamed",
    "ToolFinished",
    "ToolStarted",
]
