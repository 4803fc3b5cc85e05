"""The pure part of the panel's script, in a Chromium: calls of its exported functions, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.labs import PROJECT
from support.panels import columns_of
from whisper_nb.core.messages import Spent, Usage
from whisper_nb.notebook.cells.costs import about, cost_line, in_and_out, tokens_line
from whisper_nb.notebook.panel.board import spent_facts
from whisper_nb.notebook.panel.script import script

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

Facts = dict[str, Any]
#: Evaluates a JavaScript expression in which `panel` is the module and the names have these values.
Evaluate = Callable[..., Any]

SCRIPT = script(PROJECT / "whisper_nb" / "notebook" / "panel" / "view" / "panel.js")
NOW = 10_000.0
KEPT = 20_000
LOAD = """async (source) => {
    window.panel = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
    window.mapOf = (rows) => new Map(Object.entries(rows));
}"""
#: The panel's state after these messages, and for each message whether an update was missed.
TAKE = """(() => {
    let state = panel.nothing();
    const missed = messages.map((message) => {
        const taken = panel.take(state, message);
        state = taken.state;
        return taken.missed;
    });
    const [rows, details] = [state.rows, state.details].map((map) => Object.fromEntries(map));
    return {...state, rows, details, names: [...state.rows.keys()], missed};
})()"""


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Evaluate]:
    page = browser.new_page()
    page.evaluate(LOAD, SCRIPT)

    def evaluate(expression: str, **values: Any) -> Any:
        names = ", ".join(values)
        return page.evaluate(f"({{{names}}}) => {expression}", values)

    yield evaluate
    page.close()


def row(**facts: Any) -> Facts:
    """A row as the board sends it."""
    return {
        "title": "", "about": "", "icon": "", "color": "", "state": "idle", "since": None, "now": "", "queue": [],
        "queued": 0, "runs": 0, "input": 0, "output": 0, "cost": 0, "unpriced": 0, "uncounted": 0, "at_work": 0,
        "estimated": 0, "estimates": 0, "model": "offline/echo", "error": "", "spans": [],
    } | facts  # fmt: skip


def whole(number: int = 1, rows: Facts | None = None, **said: Any) -> Facts:
    added = {name: {"first": True, **facts} for name, facts in (rows or {}).items()}
    message = {"kind": "all", "number": number, "now": NOW, "team": [], "details": {}}
    return {**message, "rows": columns_of(added), **said}


def update(number: int, rows: Facts | None = None, details: Facts | None = None, now: float = NOW) -> Facts:
    return {"kind": "update", "number": number, "now": now, "rows": columns_of(rows or {}), "details": details or {}}


def text(run: str, at: int, piece: str, turn: int = 1) -> Facts:
    """A piece of a text. The kernel counts characters, of which JavaScript counts some twice."""
    return {"run": run, "turn": turn, "at": at, "to": at + len(piece), "text": piece}


# take: the state after messages


def test_the_state_is_empty_before_the_first_complete_message(js: Evaluate) -> None:
    known = js(TAKE, messages=[update(7, {"bob": {"state": "running"}})])
    assert (known["known"], known["rows"], known["missed"]) == (False, {}, [False])


def test_a_complete_message_replaces_the_state(js: Evaluate) -> None:
    messages = [
        whole(3, {"bob": row(), "al": row()}, team=[{"name": "eve"}]),
        update(4, {"bob": {"now": "x"}}, {"bob": {"queue": []}}),
        whole(9, {"eve": row(title="Eve")}, details={"eve": {"queue": ["a"]}}),
    ]
    known = js(TAKE, messages=messages)
    assert known["names"] == ["eve"]
    assert known["rows"]["eve"] == row(title="Eve") | {"name": "eve"}
    assert known["details"] == {"eve": {"queue": ["a"]}}
    assert (known["number"], known["team"], known["known"]) == (9, [], True)


def test_an_update_changes_only_its_facts_and_keeps_the_order_of_rows(js: Evaluate) -> None:
    rows = {"bob": row(now="a", queued=2), "al": row(), "gone": row()}
    change = {"al": {"state": "running"}, "gone": None, "new": row(first=True), "bob": {"now": "b"}}
    known = js(TAKE, messages=[whole(1, rows), update(2, change)])
    assert known["names"] == ["bob", "al", "new"]
    assert known["rows"]["bob"] == rows["bob"] | {"name": "bob", "now": "b"}
    assert known["rows"]["al"]["state"] == "running"
    assert known["rows"]["new"]["name"] == "new"


def test_a_removed_agent_has_no_details(js: Evaluate) -> None:
    messages = [
        whole(1, {"bob": row()}),
        update(2, {}, {"bob": {"queue": []}}),
        update(3, {"bob": None, "never": None}),
    ]
    assert js(TAKE, messages=messages)["details"] == {}


def test_a_new_agent_has_no_facts_of_a_removed_one_of_its_name(js: Evaluate) -> None:
    old = row(now="old", error="bob#1: no", spans=[[NOW, "running"]])
    messages = [
        whole(1, {"bob": old}, details={"bob": {"queue": ["a"]}}),
        update(2, {"bob": {"now": "", "first": True}}),
    ]
    known = js(TAKE, messages=messages)
    assert (known["rows"]["bob"]["now"], known["rows"]["bob"]["spans"]) == ("", [])
    assert "error" not in known["rows"]["bob"]
    assert known["details"] == {}


@pytest.mark.parametrize(
    ("numbers", "missed"),
    [((2, 3, 4), [False, False, False]), ((2, 4, 5), [False, True, False]), ((3,), [True]), ((1,), [True])],
)
def test_a_gap_between_update_numbers_is_noticed(js: Evaluate, numbers: tuple[int, ...], missed: list[bool]) -> None:
    known = js(TAKE, messages=[whole(1), *map(update, numbers)])
    assert known["missed"] == [False, *missed]
    assert known["number"] == numbers[-1]


def test_a_team_or_an_unknown_message_does_not_change_rows(js: Evaluate) -> None:
    known = js(TAKE, messages=[whole(1, {"bob": row()}), {"kind": "team", "team": [{"name": "eve"}]}, {"kind": "else"}])
    assert (known["names"], known["team"], known["number"]) == (["bob"], [{"name": "eve"}], 1)


def test_spans_are_added_and_old_ones_are_dropped_but_for_the_last(js: Evaluate) -> None:
    old = [[NOW - 900, "idle"], [NOW - 800, "running"], [NOW - 700, "waiting"], [NOW - 10, "idle"]]
    known = js(TAKE, messages=[whole(1, {"bob": row(spans=old)}), update(2, {"bob": {"spans": [[NOW, "running"]]}})])
    assert known["rows"]["bob"]["spans"] == [[NOW - 700, "waiting"], [NOW - 10, "idle"], [NOW, "running"]]


def test_sections_of_details_are_merged_and_pieces_of_text_are_joined(js: Evaluate) -> None:
    pieces = [
        {"queue": ["a"], "text": text("bob#1", 0, "Once ")},
        {"text": text("bob#1", 5, "more")},
        {"queue": [], "runs": ["b"]},
    ]
    messages = [whole(1, {"bob": row()}), *(update(at, {}, {"bob": one}) for at, one in enumerate(pieces, 2))]
    known = js(TAKE, messages=messages)
    assert known["details"]["bob"] == {"queue": [], "runs": ["b"], "text": text("bob#1", 0, "Once more")}


def test_of_a_transcript_the_prompt_and_the_newest_items_are_kept(js: Evaluate) -> None:
    read = """(() => {
        const itemsTo = (start, stop) => Array.from({length: stop - start}, (_, n) => ({at: start + n, kind: "note"}));
        const one = panel.readOn(undefined, {first: true, cut: 0, run: {}, items: itemsTo(1, 900)});
        const two = panel.readOn(one, {items: itemsTo(900, 1501)});
        return [one, two].map(({cut, items}) => [cut, items.length, items[0].at, items[1].at, items.at(-1).at]);
    })()"""
    assert js(read) == [[0, 899, 1, 2, 899], [502, 1000, 1, 502, 1500]]


def test_agents_may_have_the_names_of_object_properties(js: Evaluate) -> None:
    names = ["constructor", "toString", "hasOwnProperty", "valueOf"]
    rows = {name: row(now=name) for name in names}
    messages = [whole(1, rows), update(2, {}, {name: {"queue": [name]} for name in names})]
    known = js(TAKE, messages=messages)
    assert known["names"] == names
    assert {name: one["queue"] for name, one in known["details"].items()} == {name: [name] for name in names}
    assert js("Object.keys(Object.prototype)") == []


# joined: a text that streams


@pytest.mark.parametrize(
    ("before", "piece", "after"),
    [
        (None, text("b#1", 0, "a"), text("b#1", 0, "a")),
        (text("b#1", 0, "a"), None, text("b#1", 0, "a")),
        (text("b#1", 0, "ab"), text("b#1", 2, "c"), text("b#1", 0, "abc")),
        (text("b#1", 5, "ab"), text("b#1", 7, "c"), text("b#1", 5, "abc")),
        (text("b#1", 0, "ab"), text("b#1", 9, "c"), text("b#1", 9, "c")),  # a piece is missing in between
        (text("b#1", 0, "ab"), text("b#1", 0, "abc"), text("b#1", 0, "abc")),  # from the beginning again
        (text("b#1", 0, "ab"), text("b#2", 2, "c"), text("b#2", 2, "c")),  # another run
        (text("b#1", 0, "ab"), text("b#1", 2, "c", turn=2), text("b#1", 2, "c", turn=2)),  # another turn
        (text("b#1", 0, "\U0001f600"), text("b#1", 1, "c"), text("b#1", 0, "\U0001f600c")),
        (text("b#1", 0, "ab"), text("b#1", 2, ""), text("b#1", 0, "ab")),
    ],
)
def test_a_piece_is_joined_to_the_text_that_it_continues(js: Evaluate, before: Any, piece: Any, after: Any) -> None:
    assert js("panel.joined(before ?? undefined, piece)", before=before, piece=piece) == after


def test_only_the_end_of_a_long_text_is_kept(js: Evaluate) -> None:
    joined = js("panel.joined(before, piece)", before=text("b#1", 3, "a" * KEPT), piece=text("b#1", KEPT + 3, "bc"))
    assert joined == text("b#1", 5, "a" * (KEPT - 2) + "bc")
    assert js("panel.joined(undefined, piece)", piece=text("b#1", 0, "a" * KEPT + "z")) == text(
        "b#1", 1, "a" * (KEPT - 1) + "z"
    )


# The timeline


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([], []),
        ([[-100, "idle"]], []),
        ([[-150, "running"]], [("running", 0.5, 0.5, 1)]),
        ([[-900, "running"]], [("running", 0, 1, 1)]),  # since before the timeline begins
        ([[-900, "running"], [-600, "idle"]], []),
        ([[-300, "running"], [-150, "waiting"], [-75, "idle"]], [("running", 0, 0.5, 1), ("waiting", 0.5, 0.25, 0.6)]),
        ([[-150, "running"], [-150, "idle"]], [("running", 0.5, 0.004, 1)]),  # too short to be seen
        ([[-150, "paused"], [-75, "sleeping"]], [("paused", 0.5, 0.25, 0.35), ("sleeping", 0.75, 0.25, 0.35)]),
        ([[-75, "stopped"]], [("stopped", 0.75, 0.25, 0.2)]),
        ([[-150, "running"], [+60, "idle"]], [("running", 0.5, 0.5, 1)]),  # a clock that goes ahead
        ([[+60, "running"]], []),
        ([[-75, "<b>"]], []),
    ],
)
def test_the_timeline_has_a_bar_for_each_span(js: Evaluate, spans: list[Any], found: list[tuple[Any, ...]]) -> None:
    bars = js("panel.bars(spans, now)", spans=[[NOW + when, state] for when, state in spans], now=NOW)
    assert [(bar["state"], *(pytest.approx(bar[one]) for one in ("x", "width", "level"))) for bar in bars] == found


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([], "last 5 minutes: idle"),
        ([[-9000, "running"]], "last 5 minutes: running 5 min"),
        ([[-90, "running"], [-60, "waiting"], [-50, "running"]], "last 5 minutes: running 1 min, waiting 10 s"),
    ],
)
def test_the_timeline_has_a_text_description(js: Evaluate, spans: list[Any], said: str) -> None:
    assert js("panel.timelineLabel(spans, now)", spans=[[NOW + when, state] for when, state in spans], now=NOW) == said


# Rows: filter, order and sums

TEAM = {
    "bob": row(state="idle", queued=1, input=5, output=5, cost=0.5, model="b"),
    "Al": row(state="running", now="x", input=1, output=1, cost=0.125, unpriced=1, uncounted=1, at_work=1, model="c"),
    "cy": row(state="stopped", error="cy#1: no", queued=7, input=50, output=0, cost=0, model="a"),
    "dee": row(state="waiting", now="y", queued=3, cost=0.25, unpriced=1, estimated=0.5, estimates=1, model="d"),
}


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (None, "bob Al cy dee"),
        ({"by": "timeline"}, "bob Al cy dee"),
        ({"by": "agent"}, "Al bob cy dee"),
        ({"by": "agent", "down": True}, "dee cy bob Al"),
        ({"by": "state"}, "Al dee bob cy"),
        ({"by": "now"}, "cy Al dee bob"),  # what failed, what works, the rest
        ({"by": "queue"}, "Al bob dee cy"),
        ({"by": "queue", "down": True}, "cy dee bob Al"),
        ({"by": "tokens"}, "dee bob cy Al"),
        ({"by": "tokens", "down": True}, "Al cy bob dee"),  # unknown may be the most
        ({"by": "cost"}, "cy bob dee Al"),
        ({"by": "cost", "down": True}, "Al dee bob cy"),
        ({"by": "model"}, "cy bob Al dee"),
    ],
)
def test_rows_are_sorted_by_a_column(js: Evaluate, sort: Any, names: str) -> None:
    rows = {name: one | {"name": name} for name, one in TEAM.items()}
    assert js("panel.ordered(mapOf(rows), sort)", rows=rows, sort=sort) == names.split()


@pytest.mark.parametrize(
    ("by", "down"),
    [(by, by in ("queue", "tokens", "cost")) for by in ("agent", "state", "now", "queue", "tokens", "cost", "model")],
)
def test_the_first_click_on_a_column_of_numbers_sorts_descending_and_the_second_the_other_way(
    js: Evaluate, by: str, down: bool
) -> None:
    first = js("panel.nextSort({ by: 'other', down: true }, by)", by=by)
    assert first == js("panel.nextSort(null, by)", by=by) == {"by": by, "down": down}
    assert js("panel.nextSort(sort, by)", sort=first, by=by) == {"by": by, "down": not down}


@pytest.mark.parametrize(
    ("order", "rows", "after"),
    [("", "a b", "a b"), ("b a", "a b", "b a"), ("c b a", "a c", "c a"), ("b a", "a b d c", "b a d c"), ("a", "", "")],
)
def test_an_order_is_kept_while_rows_come_and_go(js: Evaluate, order: str, rows: str, after: str) -> None:
    kept = js("panel.keptOrder(order, mapOf(rows))", order=order.split(), rows=dict.fromkeys(rows.split(), ""))
    assert kept == after.split()


@pytest.mark.parametrize(
    ("words", "state", "is_wanted"),
    [
        ("", "", True),
        ("BOB", "", True),
        ("builder roof", "", True),  # every word, wherever it is
        ("builder  \t roof", "", True),
        ("builder cellar", "", False),
        ("gpt", "", True),
        ("boom", "", True),
        ("paused", "", True),
        ("", "running", True),
        ("", "paused", False),  # it finishes first
        ("", "failed", True),
        ("nobody", "running", False),
        (".*", "", False),
        ("<img", "", False),
    ],
)
def test_a_row_matches_words_and_a_state(js: Evaluate, words: str, state: str, is_wanted: bool) -> None:
    bob = row(
        name="bob", title="The Builder", about="houses", now="a roof", model="openai/gpt-4o", error="bob#1: boom",
        state="running (paused)",
    )  # fmt: skip
    assert js("panel.matches(row, words, state)", row=bob, words=words, state=state) is is_wanted


def test_a_row_without_an_error_has_not_failed(js: Evaluate) -> None:
    assert js("panel.matches(row, '', 'failed')", row=row(name="bob")) is False


def test_rows_are_summed(js: Evaluate) -> None:
    states = {"idle": 1, "running": 1, "stopped": 1, "waiting": 1}
    sums = {"runs": 0, "input": 56, "output": 6, "cost": 0.875, "unpriced": 2, "uncounted": 1, "at_work": 1}
    sums |= {"estimated": 0.5, "estimates": 1}
    assert js("panel.total(mapOf(rows), {})", rows=TEAM) == {"states": states, "queued": 11, "failed": 1, **sums}
    gone = {"runs": 2, "input": 4, "output": 4, "cost": 0.125, "unpriced": 0, "uncounted": 1, "at_work": 0}
    gone |= {"estimated": 0.25, "estimates": 1}
    sums = {"runs": 2, "input": 60, "output": 10, "cost": 1, "unpriced": 2, "uncounted": 2, "at_work": 1}
    sums |= {"estimated": 0.75, "estimates": 2}
    assert js("panel.total(mapOf(rows), gone)", rows=TEAM, gone=gone) == {
        "states": states, "queued": 11, "failed": 1, **sums,
    }  # fmt: skip
    assert js("panel.total(mapOf(rows), gone)", rows={}, gone=gone) == {
        "states": {}, "queued": 0, "failed": 0, **gone,
    }  # fmt: skip


def test_agents_that_wait_are_counted_together_whatever_they_wait_for(js: Evaluate) -> None:
    said = ("waiting for bob#1", "waiting to retry", "waiting", "paused (waiting)", "idle")
    rows = {f"a{at}": row(state=state) for at, state in enumerate(said)}
    states = js("panel.total(mapOf(rows), {})", rows=rows)["states"]
    assert states == {"waiting": 3, "paused (waiting)": 1, "idle": 1}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "The kernel has ended."),
        ([{}], "The kernel has ended, and with it 1 agent."),
        ([{"queued": 3}, {"queued": 1}], "The kernel has ended, and with it 2 agents and 4 queued runs."),
        (
            [{"at_work": 1, "queued": 1}, {"at_work": 1}],
            "The kernel has ended, and with it 2 agents, 2 runs in progress and 1 queued run.",
        ),
    ],
)
def test_the_panel_says_what_ended_with_the_kernel(js: Evaluate, rows: list[Facts], said: str) -> None:
    assert js("panel.endedWith(mapOf(rows))", rows={f"a{at}": row(**one) for at, one in enumerate(rows)}) == said


def test_the_spending_of_removed_agents_is_kept_until_it_is_sent_again(js: Evaluate) -> None:
    messages = [whole(1, gone={"cost": 1}), update(2), update(3) | {"gone": {"cost": 2}}, update(4)]
    for count, cost in ((1, 1), (2, 1), (3, 2), (4, 2)):
        assert js(TAKE, messages=messages[:count])["gone"] == {"cost": cost}


@pytest.mark.parametrize(
    ("cost", "unpriced", "said"),
    [(0, 0, "$0"), (0.25, 0, "$0.2500"), (0, 1, "unknown"), (0.25, 1, "≥ $0.2500")],
)
def test_a_cost_is_never_understated(js: Evaluate, cost: float, unpriced: int, said: str) -> None:
    assert js("panel.knownCost({ cost, unpriced })", cost=cost, unpriced=unpriced) == said


@pytest.mark.parametrize(
    ("input", "uncounted", "said"),
    [(0, 0, "0 + 0"), (12_345, 0, "12.3k + 0"), (0, 1, "unknown"), (12_345, 1, "≥ 12.3k + 0")],
)
def test_tokens_are_never_understated(js: Evaluate, input: int, uncounted: int, said: str) -> None:
    assert js("panel.knownTokens({ input, output: 0, uncounted })", input=input, uncounted=uncounted) == said


@pytest.mark.parametrize(
    "spent",
    [
        Spent(),
        Spent(3, Usage(1200, 4), 0.0123),
        Spent(3, unpriced=3, uncounted=3),
        Spent(3, Usage(1, 0), 0.0123, unpriced=1, uncounted=1),
        Spent(3, Usage(1, 0), 0.0123, unpriced=2, at_work=1),
        Spent(0, unpriced=1, uncounted=1, at_work=1),
        Spent(2, Usage(1, 0), 0.0123, unpriced=1, uncounted=1, estimated=0.5, estimates=1),
        Spent(3, Usage(1, 0), 0.0123, unpriced=2, uncounted=1, estimated=0.5, estimates=1),
        Spent(0, unpriced=1, uncounted=1, at_work=1, estimated=0.5, estimates=1),
    ],
)
def test_the_panel_and_the_static_form_show_spending_in_the_same_words(js: Evaluate, spent: Spent) -> None:
    assert js("panel.costInWords(spent)", spent=spent_facts(spent)) == cost_line(spent)
    assert js("panel.tokensInWords(spent)", spent=spent_facts(spent)) == tokens_line(spent)


@pytest.mark.parametrize("tokens", [0, 1, 999, 1_000, 1_249, 12_345, 99_949, 99_950, 999_499, 999_500, 12_000_000])
def test_the_panel_and_the_static_form_estimate_tokens_in_the_same_words(js: Evaluate, tokens: int) -> None:
    assert js("panel.about(tokens)", tokens=tokens) == about(tokens)
    assert js("panel.inAndOut(tokens, 7)", tokens=tokens) == in_and_out(Usage(tokens, 7))


@pytest.mark.parametrize(
    ("top", "height", "rows", "seen"),
    [
        (0, 360, 1000, [0, 13]),
        (3600, 360, 1000, [97, 113]),
        (3601, 358, 1000, [97, 113]),
        (35_640, 360, 1000, [987, 1000]),
        (0, 360, 4, [0, 4]),
        (0, 360, 0, [0, 0]),
        (99_999, 360, 10, [10, 10]),  # the list has become shorter
    ],
)
def test_the_rows_in_view_are_computed(js: Evaluate, top: int, height: int, rows: int, seen: list[int]) -> None:
    assert js("panel.inView(top, height, 36, rows)", top=top, height=height, rows=rows) == seen


# Words

SAID: dict[str, dict[Any, str]] = {
    "ago": {
        -5: "0 s", 0.4: "0 s", 0.6: "1 s", 59.4: "59 s", 59.6: "1 min", 3599: "59 min", 3600: "1 h", 172_799: "47 h",
        172_800: "2 d", 1e6: "11 d",
    },
    "count": {
        0: "0", 9_999: "9,999", 10_000: "10.0k", 99_940: "99.9k", 100_000: "100k", 999_499: "999k", 1_000_000: "1.0M",
        12_345_678: "12.3M",
    },
    "dollars": {
        None: "unknown", 0: "$0", 0.00001234: "$0.0000123", 0.0001: "$0.0001", 0.0001234: "$0.000123",
        0.0021: "$0.0021",
        0.12344: "$0.1234", 12: "$12.0000",
    },
}  # fmt: skip
COLORS = ("#2F7DE1", "#abc", "teal", "RebeccaPurple")
NO_COLORS = (
    "", "red;background:url(http://wnb-hit.invalid/)", "url(x)", "var(--x)", "rgb(1,2,3)", "#12", "#1234567",
    "red blue",
    "red\n", " red", "expression(1)", "x" * 21, "re\u0501", "red/**/",
)  # fmt: skip


@pytest.mark.parametrize(
    ("function", "value", "words"),
    [(name, value, said) for name, cases in SAID.items() for value, said in cases.items()],
)
def test_numbers_are_shortened(js: Evaluate, function: str, value: float | None, words: str) -> None:
    assert js("panel[name](value)", name=function, value=value) == words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("planner", "Pl"), ("bob", "Bo"), ("agent-1", "A1"), ("agent-12", "A2"), ("bob3", "B3"), ("data_cleaner", "DC"),
        ("x", "X"), ("7", "7"), ("_", "_"), ("émile", "Ém"), ("a-b-c", "AC"),
    ],
)  # fmt: skip
def test_an_agent_without_an_icon_has_two_letters_of_its_name(js: Evaluate, name: str, said: str) -> None:
    assert js("panel.initials(name)", name=name) == said


def test_the_hue_of_an_agent_follows_from_its_name_and_twelve_are_used_about_equally(js: Evaluate) -> None:
    names = [f"{word}{number}" for word in ("agent-", "bob", "reviewer_") for number in range(100)]
    hues = js("names.map(panel.hue)", names=names)
    assert hues == js("names.map(panel.hue)", names=names)
    counts = [hues.count(hue) for hue in range(0, 360, 30)]
    assert sum(counts) == len(names)
    assert min(counts) > 10, counts
    assert max(counts) < 45, counts


def test_only_named_colors_are_used(js: Evaluate) -> None:
    assert [js("panel.color(text)", text=one) for one in COLORS] == list(COLORS)
    assert [js("panel.color(text)", text=one) for one in NO_COLORS] == [""] * len(NO_COLORS)


@pytest.mark.parametrize(
    ("limit", "spent", "reserved", "shares", "state"),
    [
        (2.0, 0.5, 0.25, [25, 12.5], ""),
        (2.0, 1.6, 0.25, [80, 12.5], "near"),
        (2.0, 1.9, 0.25, [95, 5], "near"),
        (2.0, 2.25, 0.0, [100, 0], "used"),
        (0.0, 0.0, 0.0, [100, 0], "used"),
    ],
)
def test_the_parts_of_a_budget_fit_into_its_bar(
    js: Evaluate, limit: float, spent: float, reserved: float, shares: list[float], state: str
) -> None:
    budget = {"limit": limit, "spent": spent, "reserved": reserved, "left": limit - spent - reserved}
    found, said = js("[panel.budgetShares(budget), panel.budgetState(budget)]", budget=budget)
    assert [round(found[name], 9) for name in ("spent", "reserved")] == shares
    assert said == state


def test_a_budget_comes_and_goes_with_the_updates(js: Evaluate) -> None:
    budget = {"limit": 2.0, "spent": 0.5, "reserved": 0.0, "left": 1.5}
    assert js(TAKE, messages=[whole()])["budget"] is None
    assert js(TAKE, messages=[whole(budget=budget), update(2)])["budget"] == budget
    assert js(TAKE, messages=[whole(), {**update(2), "budget": budget}])["budget"] == budget
    assert js(TAKE, messages=[whole(budget=budget), {**update(2), "budget": None}])["budget"] is None
