"""Reads the Python that a form shows."""

from __future__ import annotations

from types import SimpleNamespace

import whisper_nb
from support.agentfiles import rows
from whisper_nb import Agent


def from_python(text: str) -> Agent:
    names = {"rt": SimpleNamespace(create=lambda agent: agent), "wnb": whisper_nb, "rows": rows}
    made: Agent = eval(text, names)
    return made
