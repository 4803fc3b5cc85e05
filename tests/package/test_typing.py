"""The types that a type checker sees."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from whisper_nb import Agent, Session
from whisper_nb.config.agents import AgentFields
from whisper_nb.engine.session import RunOptions

HERE = Path(__file__).parent


@pytest.mark.package
def test_output_types_reach_the_type_checker(tmp_path: Path) -> None:
    from mypy import api

    options = ["--strict", "--warn-unused-ignores", f"--cache-dir={HERE.parents[1] / '.mypy_cache'}"]
    found, errors, code = api.run([*options, str(HERE / "typed_use.py")])
    assert (errors, code) == ("", 0), found


def test_type_checkers_know_all_arguments() -> None:
    """Overloads name the arguments once more, in a TypedDict."""
    of_agent = inspect.signature(Agent.__init__).parameters.keys() - {"self", "name", "output_type"}
    assert AgentFields.__annotations__.keys() == of_agent
    of_run = inspect.signature(Session.submit).parameters.keys() - {"self", "prompt", "output_type"}
    assert RunOptions.__annotations__.keys() == of_run
