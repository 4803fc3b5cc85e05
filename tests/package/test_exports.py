"""The public names of `whisper_nb`."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import whisper_nb

NAMES = [
    "AIConfig",
    "Agent",
    "Budget",
    "BudgetExceeded",
    "ConfigError",
    "ContentFiltered",
    "EmptyReply",
    "FunctionModel",
    "LengthExceeded",
    "LimitExceeded",
    "ModelError",
    "OutputInvalid",
    "Preview",
    "PromptLimitExceeded",
    "Record",
    "Rule",
    "Run",
    "RunCancelled",
    "RunFailed",
    "Runtime",
    "ScriptedModel",
    "Session",
    "SessionClosed",
    "SessionError",
    "Store",
    "Tool",
    "TurnLimitExceeded",
    "WhisperError",
    "configure",
    "load_ipython_extension",
    "runtime",
    "unload_ipython_extension",
]


def test_the_public_names_are_these() -> None:
    assert sorted(whisper_nb.__all__) == NAMES
    assert set(dir(whisper_nb)) == {*NAMES, "__version__", "events"}


def test_the_events_are_a_public_module() -> None:
    assert set(dir(whisper_nb.events)) == set(whisper_nb.events.__all__)
    assert whisper_nb.events.RunFinished("failed").outcome == "failed"
    assert set(get_args(whisper_nb.events.Event)) <= {
        getattr(whisper_nb.events, name) for name in whisper_nb.events.__all__
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_name_belongs_to_the_package(name: str) -> None:
    assert getattr(whisper_nb, name).__module__ == "whisper_nb"


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_exists_and_has_a_docstring(name: str) -> None:
    value = getattr(whisper_nb, name)
    assert callable(value)
    assert inspect.getdoc(value)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(whisper_nb.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen - {None} == set(whisper_nb._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'whisper_nb' has no attribute 'Agnet'"):
        whisper_nb.Agnet  # noqa: B018
    with pytest.raises(ImportError):
        from whisper_nb import Agnet  # noqa: F401


def test_errors_form_one_tree() -> None:
    from whisper_nb.core import errors

    classes = [one for one in vars(errors).values() if inspect.isclass(one) and one.__module__ == errors.__name__]
    classes.remove(errors.Problem)  # not an error, but what one tells of
    assert all(issubclass(one, whisper_nb.WhisperError) for one in classes)
    assert len(classes) <= 10
    drawn = [word for line in (errors.__doc__ or "").splitlines() for word in line.split() if word in vars(errors)]
    assert set(drawn) >= {one.__name__ for one in classes}


def test_no_module_hides_a_public_name() -> None:
    """`whisper_nb.runtime` is the function, whatever was imported before: no module has a public name."""
    assert not set(whisper_nb.__all__) & {path.stem for path in Path(whisper_nb.__file__).parent.iterdir()}
    script = "import whisper_nb.team.runtimes, whisper_nb as wnb; assert wnb.Runtime; assert callable(wnb.runtime)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_package_is_typed_and_has_a_version() -> None:
    assert (Path(whisper_nb.__file__).parent / "py.typed").exists()
    assert whisper_nb.__version__.count(".") == 2
