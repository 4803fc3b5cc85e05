from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter

from support.doubles import quiet
from support.inprocess import Notebook
from support.pictures import JPEG, PNG, Axes, Figure, Painting, png
from whisper_nb import Rule, Run, ScriptedModel
from whisper_nb.core.messages import Image, UserMessage
from whisper_nb.engine.images import as_image
from whisper_nb.notebook.cells.render import run_bundle
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.details import Details
from whisper_nb.notebook.panel.snapshot import snapshot

IMAGE, PHOTO = as_image(PNG), as_image(JPEG)


@pytest.fixture
async def notebook(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """With variables for a figure, axes and a painting, a plot.png in its folder, and an agent that lists its input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plot.png").write_bytes(PNG)
    (tmp_path / "my photo.jpg").write_bytes(JPEG)
    (tmp_path / "broken.png").write_bytes(PNG[:14])
    notebook.shell.user_ns |= {
        "fig": Figure(),
        "ax": Axes(Figure()),
        "pic": Painting(),
        "photo": Painting(format="JPEG"),
    }
    notebook.shell.user_ns |= {"name": "my photo.jpg", "path": tmp_path / "plot.png", "figs": [Figure(png(2, 2))]}
    return notebook


def asked(notebook: Notebook) -> Run:
    """The newest run of bob."""
    return notebook.runtime["bob"].runs[-1]


@pytest.mark.parametrize(
    ("flags", "images"),
    [
        ("--image fig", (IMAGE,)),
        ("--image=ax", (IMAGE,)),
        ("--image pic", (IMAGE,)),
        ("--image photo", (PHOTO,)),
        ("--image figs[0]", (as_image(png(2, 2)),)),
        ("--image plot.png", (IMAGE,)),
        ("--image ./plot.png", (IMAGE,)),
        ('--image "my photo.jpg"', (PHOTO,)),
        ("--image name", (PHOTO,)),
        ("--image path", (IMAGE,)),
        ("--image {{ name }}", (PHOTO,)),
        ("--image fig --image name", (IMAGE, PHOTO)),
    ],
)
async def test_an_image_is_an_expression_or_else_a_path(
    notebook: Notebook, flags: str, images: tuple[Image, ...]
) -> None:
    marks = "".join(f" ⟨image {number}⟩" for number in range(1, len(images) + 1))
    for code in (
        f"%%agent bob {flags}\nwhat is this?",
        f"%agent ask bob {flags} what is this?",
        f"%agent ask {flags} bob what is this?",
    ):
        notebook.run(code)
        run = asked(notebook)
        assert (run.prompt, run.images) == (f"what is this?{marks}", images)
        await run
    assert notebook.runtime["bob"].history[0] == UserMessage(f"what is this?{marks}", images)


async def test_an_interpolated_image_is_an_image_and_an_interpolated_path_is_text(notebook: Notebook) -> None:
    notebook.run("%%agent bob\nCompare {{ fig }} with {{ ax }}, {{ photo }} and {{ name }}; {{ figs }}")
    run = asked(notebook)
    assert run.images == (IMAGE, IMAGE, PHOTO)
    assert run.prompt.startswith("Compare ⟨image 1⟩ with ⟨image 2⟩, ⟨image 3⟩ and my photo.jpg; [Figure(")
    await run


async def test_images_of_a_local_scope_can_be_used(notebook: Notebook) -> None:
    notebook.run(
        "def go(mine):\n    return get_ipython().run_line_magic('agent', 'ask bob --image mine look')\nrun = go(fig)"
    )
    assert notebook["run"].images == (IMAGE,)
    await notebook["run"]


async def test_a_figure_is_sent_as_it_was_when_the_cell_ran(notebook: Notebook) -> None:
    notebook.run("%agent pause bob\n%agent ask bob --image fig what is this?")
    notebook["fig"].shows = JPEG
    notebook.run("%agent resume bob")
    await asked(notebook)
    assert notebook.runtime["bob"].history[0] == UserMessage("what is this? ⟨image 1⟩", (IMAGE,))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("--image figg", "--image figg: no variable 'figg', and no file 'figg'; allowed are a matplotlib figure"),
        ("--image nothing.png", "--image nothing.png: no variable 'nothing', and no file 'nothing.png'; allowed are"),
        ("--image a/b.png", "--image a/b.png: no variable 'a', and no file 'a/b.png'; allowed are"),
        ("--image 'my plot.png'", "--image my plot.png: no file 'my plot.png'; allowed are"),
        ("--image figs[7]", "--image figs[7]: IndexError: list index out of range, and no file 'figs[7]'; allowed are"),
        (
            "--image broken.png",
            "--image broken.png: 'broken.png': the header of this image/png is broken, or breaks off",
        ),
        ("--image 5", "--image 5: int cannot be used as an image; allowed are a matplotlib figure"),
        ("--image bob", "no file 'bob'"),
        ("--image {{ fig }}", "{{ fig }} is an image: write --image fig, without braces"),
        ("--image https://example.org/a.png", "nothing is fetched"),
        ("--image \"b''\"", "0 bytes"),
        ("--imag fig", "did you mean --image?"),
    ],
)
async def test_an_invalid_image_sends_nothing_and_cancels_nothing(notebook: Notebook, code: str, says: str) -> None:
    assert says in notebook.error(f"%%agent bob {code}\nwhat is this?")
    assert notebook.runtime["bob"].runs == ()


async def test_a_figure_that_cannot_be_drawn_gives_a_one_line_error(notebook: Notebook) -> None:
    notebook.shell.user_ns["bad"] = Figure(error=ValueError("no such\nglyph"))
    assert "the figure cannot be drawn: ValueError: no such glyph" in notebook.error("%agent ask bob --image bad hello")
    assert "the figure cannot be drawn: ValueError: no such glyph" in notebook.error("%agent ask bob hello {{ bad }}")


async def test_a_dry_run_shows_type_and_size(notebook: Notebook) -> None:
    notebook.run("%agent ask bob --image fig what is this?")
    await asked(notebook)
    assert notebook.run("%%agent bob --dry-run --image photo\nand {{ fig }} or") == ""
    said = notebook.shown[-1]["data"]["text/plain"]
    for line in (
        "user: what is this? ⟨image 1⟩ (1 image)",
        "prompt: and ⟨image 1⟩ or ⟨image 2⟩",
        f"image: ⟨image 1⟩ image/png {len(PNG)} B",
        f"image: ⟨image 2⟩ image/jpeg {len(JPEG)} B",
    ):
        assert line in said
    assert len(notebook.runtime["bob"].runs) == 1


async def test_all_displays_show_a_mark_in_place_of_the_image_data(notebook: Notebook) -> None:
    runtime = notebook.runtime
    runtime.models["offline/test"] = ScriptedModel([Rule("nothing", reply="no"), Rule(error="cannot see")])
    large = Image("image/png", "QUJD" * 50_000)
    runtime["bob"].submit(["first ", large])
    runtime["bob"].submit(["then ", large, " nothing"], priority="low")
    board, details = Board(runtime), Details()
    notebook.run("%agent pause bob")
    await quiet()
    seen = [str(board.all_rows()), str(details.change(runtime, runtime["bob"]))]
    notebook.run("%agent resume bob")
    await quiet()
    seen += [str(board.all_rows()), str(details.change(runtime, runtime["bob"])), str(snapshot(runtime, board))]
    board.close()
    seen += [notebook.run(f"%agent {word} bob") for word in ("log", "history", "show")]
    notebook.run("%agent ask bob --dry-run hello")
    seen += [str(notebook.shown[-1]), *(str(run_bundle(run)) for run in runtime["bob"].runs)]
    seen += [repr(runtime["bob"].runs), repr(runtime["bob"].history), str(notebook.shown)]
    for one in seen:
        assert "QUJD" not in one
        assert len(one) < 20_000
    assert "⟨image 1⟩" in seen[0]
    assert "⟨image 1⟩" in seen[1]
    assert "queued, normal: first ⟨image 1⟩" in "".join(seen)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("%%agent bob --im", ["--image"]),
        ("%%agent bob --image ", ["ax", "fig", "photo", "pic"]),
        ("%agent ask bob --image p", ["photo", "pic"]),
        ("%agent ask bob --image=f", ["fig"]),
    ],
)
async def test_completion_after_image_offers_variables(notebook: Notebook, typed: str, found: list[str]) -> None:
    with provisionalcompleter():
        texts = [one.text for one in notebook.shell.Completer.completions(typed, len(typed))]
    assert [text.rpartition("=")[2] for text in texts] == found


async def test_completion_after_image_offers_files(notebook: Notebook) -> None:
    with provisionalcompleter():
        texts = [one.text for one in notebook.shell.Completer.completions("%agent ask bob --image plo", 26)]
    assert "plot.png" in texts
