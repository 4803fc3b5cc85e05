"""Tables and arrays in prompts, of which `str()` leaves out a part. The classes stand for those of pandas and numpy."""

from __future__ import annotations

import pytest

from support.inprocess import Notebook
from whisper_nb.notebook.cells.interpolate import interpolate


class Frame:
    """A table with one text per row, which shows ten rows and 50 characters of each."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def __str__(self) -> str:
        shown = self.texts
        if len(shown) > 10:
            shown = (*shown[:5], "..", *shown[-5:])
        return "\n".join(["   text", *(text if len(text) <= 50 else f"{text[:47]}..." for text in shown)])

    def to_csv(self) -> str:
        return "\n".join(self.texts)


class Array(list[int]):
    def __str__(self) -> str:
        return "[0 1 2 ... 9]"

    def tolist(self) -> list[int]:
        return list(self)


Frame.__module__ = "pandas.core.frame"
Array.__module__ = "numpy"


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (Frame(*"abc" * 100), "{{ x }} is shortened, as print shows it: .to_csv() sends all"),
        (Frame("long " * 20), "{{ x }} is shortened, as print shows it: .to_csv() sends all"),
        (Array(), "{{ x }} is shortened, as print shows it: .tolist() sends all"),
        (Frame("a", "b"), None),
        (Frame("and so on ..."), None),
        ("one ... two", None),
        (["..."], None),
    ],
)
def test_a_table_that_is_shortened_is_told(value: object, note: str | None) -> None:
    notes: list[str] = []
    assert interpolate("{{ x }}", {"x": value}, notes.append) == [str(value)]
    assert notes == ([note] if note else [])


async def test_the_note_about_a_shortened_table_is_in_the_cell(notebook: Notebook) -> None:
    notebook.shell.user_ns["df"] = Frame(*"abc" * 100)
    said = notebook.run("%%agent bob --dry-run\nLook: {{ df }} {{ df }}")
    assert said == "note: {{ df }} is shortened, as print shows it: .to_csv() sends all\n"
    assert "note:" not in notebook.run("%%agent bob --dry-run\nLook: {{ df.to_csv() }}")
