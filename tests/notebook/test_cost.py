from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date

import pytest
from IPython.core.completer import provisionalcompleter

from support.doubles import FunctionModel, HeldModel, settled
from support.inprocess import Notebook
from whisper_nb import Agent
from whisper_nb.core.messages import Delta, Finish, Spent, TextDelta, Usage
from whisper_nb.models.model import Request
from whisper_nb.notebook.cells.costs import cost_line, dollars

USAGE = Usage(1200, 45)


def priced(cost: float | None, usage: Usage | None = USAGE) -> FunctionModel:
    """A model each of whose calls has this cost."""

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("ok")
        yield Finish("stop", usage, cost)

    return FunctionModel(stream)


def hire(notebook: Notebook, name: str, model: FunctionModel) -> None:
    """An agent with a model that is not offline."""
    notebook.runtime.models[f"openai/{name}"] = model
    notebook.runtime.create(Agent(name=name, config=f"openai/{name}"))


def tables(notebook: Notebook, code: str) -> dict[str, list[list[str]]]:
    """The tables that a command shows: group → rows as text, without header and time; their HTML must be the same."""
    before = len(notebook.shown)
    notebook.run(code)
    found = {}
    for data in (output["data"] for output in notebook.shown[before:]):
        head, *rows, clock = data["text/plain"].splitlines()
        group, *columns = head.split()
        assert columns == ["runs", "tokens", "in", "tokens", "out", "cost"]
        assert clock.startswith("as of ")
        cells = [[cell.strip() for cell in row.split("  ") if cell] for row in rows]
        for cell in (cell for row in cells for cell in row):
            assert f">{cell}</td>" in data["text/html"]
        found[group] = cells
    return found


def table(notebook: Notebook, code: str) -> list[list[str]]:
    """The table of agents that a command shows."""
    return tables(notebook, code)["agent"]


@pytest.fixture
async def busy(notebook: Notebook) -> Notebook:
    """With bob, who is offline, amy, whose calls are cheap, and eve, whose cost is unknown; each has two runs."""
    hire(notebook, "amy", priced(0.0000617))
    hire(notebook, "eve", priced(None, None))
    runs = [notebook.runtime[name].submit(text) for text in ("hello", "again") for name in ("bob", "amy", "eve")]
    await settled(*runs)
    return notebook


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (12.0, "$12.0000"),
        (0.5, "$0.5000"),
        (0.12344, "$0.1234"),
        (0.0123, "$0.0123"),
        (0.0021, "$0.0021"),
        (0.00123, "$0.00123"),
        (0.000123, "$0.000123"),
        (0.0001, "$0.0001"),
        (0.00001234, "$0.0000123"),
        (1e-12, "$0.000000000001"),
        (float("inf"), "unknown"),
        (float("nan"), "unknown"),
    ],
)
def test_a_small_amount_is_readable_and_never_rounded_to_nothing(cost: float | None, said: str) -> None:
    assert dollars(cost) == said


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (Spent(), "$0"),
        (Spent(3, known=0.0123), "$0.0123"),
        (Spent(3, unpriced=3), "unknown"),
        (Spent(3, known=0.0123, unpriced=1), "at least $0.0123, 1 run unknown"),
        (Spent(3, known=0.0123, unpriced=2), "at least $0.0123, 2 runs unknown"),
        (Spent(3, known=0.0123, at_work=1), "$0.0123 so far"),
        (Spent(0, unpriced=1, at_work=1), "unknown so far"),
        (Spent(3, known=0.0123, unpriced=1, at_work=1), "at least $0.0123, 1 run unknown so far"),
    ],
)
def test_a_sum_with_unknown_parts_says_so(spent: Spent, said: str) -> None:
    assert cost_line(spent) == said


async def test_cost_shows_each_agent_and_the_sum(busy: Notebook) -> None:
    assert table(busy, "%agent cost") == [
        ["bob", "2", "39", "4", "$0"],
        ["amy", "2", "2,400", "90", "$0.000123"],
        ["eve", "2", "unknown", "unknown", "unknown"],
        ["total", "6", "at least 2,439", "at least 94", "at least $0.000123, 2 runs unknown"],
    ]


async def test_cost_shows_models_where_there_are_several_and_days(busy: Notebook) -> None:
    of_models = [
        ["offline/test", "2", "39", "4", "$0"],
        ["openai/amy", "2", "2,400", "90", "$0.000123"],
        ["openai/eve", "2", "unknown", "unknown", "unknown"],
        ["total", "6", "at least 2,439", "at least 94", "at least $0.000123, 2 runs unknown"],
    ]
    assert set(tables(busy, "%agent cost")) == {"agent", "model"}  # all of it in one day
    assert tables(busy, "%agent cost")["model"] == of_models
    assert tables(busy, "%agent cost --by model") == {"model": of_models}
    assert set(tables(busy, "%agent cost --by agent")) == {"agent"}
    assert set(tables(busy, "%agent cost amy")) == {"agent"}
    today = date.today().isoformat()
    assert tables(busy, "%agent cost amy --by day") == {
        "day": [[today, "2", "2,400", "90", "$0.000123"], ["total", "2", "2,400", "90", "$0.000123"]]
    }


async def test_cost_can_be_limited_to_some_agents(busy: Notebook) -> None:
    assert table(busy, "%agent cost amy bob amy") == [
        ["amy", "2", "2,400", "90", "$0.000123"],
        ["bob", "2", "39", "4", "$0"],
        ["total", "4", "2,439", "94", "$0.000123"],
    ]


async def test_cost_with_runs_shows_the_last_runs_of_each_agent(busy: Notebook) -> None:
    assert table(busy, "%agent cost amy eve --runs -n 1") == [
        ["amy", "2", "2,400", "90", "$0.000123"],
        ["amy#2", "succeeded", "1,200", "45", "$0.0000617"],
        ["eve", "2", "unknown", "unknown", "unknown"],
        ["eve#2", "succeeded", "unknown", "unknown", "unknown"],
        ["total", "4", "at least 2,400", "at least 90", "at least $0.000123, 2 runs unknown"],
    ]
    assert len(table(busy, "%agent cost amy --runs")) == 4


async def test_a_removed_agent_is_still_in_the_sum(busy: Notebook) -> None:
    busy.run("%agent remove amy\n%agent remove eve")
    assert table(busy, "%agent cost --runs -n 0") == [
        ["bob", "2", "39", "4", "$0"],
        ["amy (removed)", "2", "2,400", "90", "$0.000123"],
        ["eve (removed)", "2", "unknown", "unknown", "unknown"],
        ["total", "6", "at least 2,439", "at least 94", "at least $0.000123, 2 runs unknown"],
    ]
    assert table(busy, "%agent cost amy --runs")[0][0] == "amy (removed)"


async def test_an_unfinished_run_is_included_so_far(busy: Notebook) -> None:
    model = HeldModel()
    hire(busy, "joe", model)
    run = busy.runtime["joe"].submit("hello")
    queued = busy.runtime["joe"].submit("later")
    call = await model.arrived()
    assert table(busy, "%agent cost joe amy --runs -n 1") == [
        ["joe", "0 + 1 running", "unknown", "unknown", "unknown so far"],
        ["joe#1", "running", "unknown", "unknown", "unknown so far"],
        ["amy", "2", "2,400", "90", "$0.000123"],
        ["amy#2", "succeeded", "1,200", "45", "$0.0000617"],
        ["total", "2 + 1 running", "at least 2,400", "at least 90", "at least $0.000123, 1 run unknown so far"],
    ]
    queued.cancel()
    call.release()
    await settled(run, queued)
    assert table(busy, "%agent cost joe")[0] == ["joe", "2", "1", "2", "$0.5000"]


async def test_cost_of_an_unknown_agent_is_an_error(busy: Notebook) -> None:
    assert busy.error("%agent cost bop") == "no agent named 'bop' has run here; did you mean 'bob'?"
    assert "did you mean --runs?" in busy.error("%agent cost --run")


async def test_cost_without_any_runs_says_so(notebook: Notebook) -> None:
    assert table(notebook, "%agent cost") == [["bob", "0", "0", "0", "$0"], ["total", "0", "0", "0", "$0"]]
    notebook.run("%agent cost --by model")
    assert notebook.shown[-1]["data"]["text/plain"] == "nothing was spent yet"
    notebook.run("%agent remove bob\n%agent cost")
    assert notebook.shown[-1]["data"]["text/plain"] == "no agents yet: %agent new NAME creates one"


async def test_completion_after_cost_offers_names_and_flags(busy: Notebook) -> None:
    with provisionalcompleter():
        found = {
            typed: [one.text for one in busy.shell.Completer.completions(typed, len(typed))]
            for typed in ("%agent cos", "%agent cost a", "%agent cost --")
        }
    assert found == {"%agent cos": ["cost"], "%agent cost a": ["amy"], "%agent cost --": ["--by", "--runs"]}
