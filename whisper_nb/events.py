"""The events that observers match on: `match record.event: case RunFinished(): ...`."""

from __future__ import annotations

from .core.events import (
    AgentRevised,
    CallHeld,
    CallRetried,
    Charge,
    Event,
    HistoryCopied,
    HistoryReset,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    OutputReference,
    Priority,
    Record,
    RunContinued,
    RunFinished,
    RunMoved,
    RunQueued,
    RunReference,
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
    "Charge",
    "Event",
    "HistoryCopied",
    "HistoryReset",
    "HistoryTrimmed",
    "ModelReplied",
    "Noticed",
    "OutputReference",
    "Priority",
    "Record",
    "RunContinued",
    "RunFinished",
    "RunMoved",
    "RunQueued",
    "RunReference",
    "RunStarted",
    "StateChanged",
    "TextStreamed",
    "ToolFinished",
    "ToolStarted",
]


def __dir__() -> list[str]:
    return sorted(__all__)
