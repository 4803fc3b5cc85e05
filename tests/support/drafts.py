"""Runs the Python that a form shows."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import whisper_nb
from support.agentfiles import rows
from whisper_nb import Agent


def from_python(text: str) -> Agent:
    """Run the text as a cell of a notebook that defines `rows`. Return the agent that it creates."""
    created: list[Agent] = []
    module = ModuleType("whisper_nb")
    module.__dict__.update({name: getattr(whisper_nb, name) for name in ("Agent", "AIConfig")})
    module.__dict__["runtime"] = lambda: SimpleNamespace(create=created.append)
    with patch.dict(sys.modules, whisper_nb=module):
        exec(text, {"rows": rows})
    (agent,) = created
    return agent
