"""Runs the Python that a form shows."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import patch

import whisper_nb
from support.agentfiles import rows
from whisper_nb import Agent


def from_python(text: str) -> Agent:
    """Run the text as a cell of a notebook that defines `rows`. Return the agent that it creates."""
    created: list[Agent] = []
    with patch.object(whisper_nb, "runtime", lambda: SimpleNamespace(create=created.append)):
        exec(text, {"rows": rows})
    (agent,) = created
    return agent
