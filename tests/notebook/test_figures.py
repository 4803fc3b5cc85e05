"""Figures of tools: they stay out of the user's plots, and are shown in the launching cell."""

from __future__ import annotations

import sys
from collections import OrderedDict
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from support.inprocess import Notebook
from whisper_nb import Rule, ScriptedModel


class Gcf:
    """The part of `matplotlib._pylab_helpers.Gcf` that pyplot uses."""

    figs: ClassVar[Any] = OrderedDict()

    @classmethod
    def plot(cls, what: str) -> int:
        """Draw into the current figure; create one if there is none. Return the number of figures."""
        if not cls.figs:
            manager = SimpleNamespace(canvas=SimpleNamespace(figure=[]), num=1)
            cls.figs[1] = manager
            cls.figs.move_to_end(1)
        next(reversed(cls.figs.values())).canvas.figure.append(what)
        return len(cls.figs)

    @classmethod
    def destroy_all(cls) -> None:
        cls.figs.clear()


@pytest.fixture
def pyplot(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module in the place of pyplot's, not imported yet."""
    monkeypatch.delitem(sys.modules, "matplotlib._pylab_helpers", raising=False)
    monkeypatch.setattr(Gcf, "figs", OrderedDict())
    module = ModuleType("matplotlib._pylab_helpers")
    module.Gcf = Gcf  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("imported", [True, False])
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_tools_figures_are_its_own_and_are_shown_and_closed(
    kind: str, imported: bool, pyplot: ModuleType, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = pyplot.__name__
    if imported:
        monkeypatch.setitem(sys.modules, name, pyplot)
        Gcf.plot("the user's")
    notebook.shell.user_ns["plot"] = lambda what: monkeypatch.setitem(sys.modules, name, pyplot) or Gcf.plot(what)
    notebook.runtime.models["offline/test"] = ScriptedModel(
        [Rule(role="tool", match="(.*)", reply=r"\1 figure"), Rule(calls=[{"name": "draw"}])]
    )
    notebook.run(f"{kind} draw() -> int:\n    'Draw.'\n    return plot('a tool')\n%agent new bob --tools draw")
    for _ in range(2):
        notebook.run("%agent ask bob -o ans hello")
        assert await notebook["ans"] == "1 figure"
        assert notebook.shown[-1]["data"]["text/plain"] == "['a tool']"
    drawn = [manager.canvas.figure for manager in Gcf.figs.values()]
    assert drawn == ([["the user's"]] if imported else [])
    assert (len(Gcf.figs), list(Gcf.figs), 1 in Gcf.figs) == ((1, [1], True) if imported else (0, [], False))


class RcParams(dict[str, Any]):
    """The part of matplotlib's class of settings that all changes pass."""

    def _set(self, name: str, value: Any) -> None:
        dict.__setitem__(self, name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        self._set(name, value)


@pytest.mark.parametrize("imported", [True, False])
async def test_a_tools_settings_of_matplotlib_are_changed_back(
    imported: bool, pyplot: ModuleType, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A style, or the backend `agg`, would otherwise hold for the user's next plot."""
    settings = RcParams({"backend": "inline", "width": 1, "font": "serif"})
    original = dict(settings)
    matplotlib = SimpleNamespace(
        RcParams=RcParams, rcParams=settings, rcParamsOrig=RcParams({**settings, "backend": "x"})
    )
    switched: list[str] = []

    def switch_backend(name: str) -> None:
        switched.append(f"{settings['backend']} → {name}")
        settings["backend"] = name

    monkeypatch.setenv("MPLBACKEND", "inline")
    monkeypatch.setattr(RcParams, "_set", RcParams._set)
    modules = {"matplotlib": matplotlib, "matplotlib.pyplot": SimpleNamespace(switch_backend=switch_backend)}

    def imports() -> None:
        for name, module in {**modules, pyplot.__name__: pyplot}.items():
            monkeypatch.setitem(sys.modules, name, module)

    if imported:
        imports()

    def draw(width: int) -> None:
        imports()
        switch_backend("agg")
        settings["width"] = width

    notebook.shell.user_ns["change"] = draw
    notebook.runtime.models["offline/test"] = ScriptedModel(
        [Rule(role="tool", match="(.*)", reply=r"\1"), Rule(calls=[{"name": "draw"}])]
    )
    notebook.run("def draw() -> str:\n    'Draw.'\n    change(9)\n    return 'drawn'\n%agent new bob --tools draw")
    for _ in range(2):
        notebook.run("%agent ask bob -o ans hello")
        assert await notebook["ans"] == "drawn"
        assert dict(settings) == original
    assert switched == ["inline → agg", "inline → inline"] * 2
