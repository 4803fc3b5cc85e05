"""`%agent budget`."""

from __future__ import annotations

import pytest

from support.inprocess import Notebook


async def test_a_budget_is_set_shown_and_removed(notebook: Notebook) -> None:
    assert notebook.run("%agent budget").strip() == "no budget; $0 spent. %agent budget $2 sets one"
    assert notebook.run("%agent budget $2").strip() == "budget $2.00: $0 spent, $0 reserved, $2.0000 left"
    budget = notebook.runtime.budget
    assert budget is not None
    assert (budget.limit_usd, budget.allow_unpriced) == (2.0, False)
    assert notebook.run("%agent budget 0.5 --allow-unpriced").startswith("budget $0.50: ")
    assert budget.allow_unpriced
    assert notebook.run("%agent budget").startswith("budget $0.50: ")
    assert notebook.run("%agent budget off").startswith("no budget; ")
    assert notebook.runtime.budget is None


async def test_a_cost_of_a_run_that_is_no_amount_says_what_is_one(notebook: Notebook) -> None:
    notebook.run("%agent new bob")
    said = notebook.error("%agent ask bob --max-cost free hello")
    assert "argument --max-cost: 'free' is no amount: give US dollars, such as $2 or 0.50" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("two", "budget 'two' is no amount: give US dollars, such as $2 or 0.50, or off"),
        ("-1", "budget"),
        ("$nan", "budget"),
        ("2000000", "1,000,000"),
        ("--allow-unpriced", "--allow-unpriced needs an amount"),
    ],
)
async def test_a_wrong_budget_is_an_error_and_sets_nothing(notebook: Notebook, line: str, said: str) -> None:
    assert said in notebook.error(f"%agent budget {line}")
    assert notebook.runtime.budget is None
