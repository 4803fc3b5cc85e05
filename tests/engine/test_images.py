from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from support.doubles import hire, observed_by
from support.pictures import (
    ANIMATED_GIF,
    ANIMATED_PNG,
    ANIMATED_WEBP,
    GIF,
    JPEG,
    PNG,
    STILL,
    WEBP,
    WEBP_LOSSLESS,
    Axes,
    Figure,
    Painting,
    png,
)
from whisper_nb import ConfigError, ModelError, Rule, Run, RunFailed, Runtime, ScriptedModel
from whisper_nb.core.events import ModelReplied, RunQueued, RunStarted
from whisper_nb.core.messages import (
    AssistantMessage,
    Image,
    SystemMessage,
    UserMessage,
    without_images,
)
from whisper_nb.engine.images import MAX_BYTES, as_image, is_picture
from whisper_nb.models.openai_format import to_openai
from whisper_nb.models.tokens import IMAGE_TOKENS, image_tokens

DATA = base64.b64encode(PNG).decode()
IMAGE = Image("image/png", DATA)


# An image as data


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (1, "1 B"), (999, "999 B"), (12_345, "12 kB"), (1_000_000, "1.0 MB"), (3 << 20, "3.1 MB")],
)
def test_the_repr_of_an_image_has_its_type_and_size_and_no_data(size: int, said: str) -> None:
    image = Image("image/png", base64.b64encode(bytes(size)).decode())
    assert image.size == size
    assert (repr(image), str(image)) == (f"<Image image/png {said}>", f"image/png {said}")


def test_an_image_is_plain_data() -> None:
    assert pickle.loads(pickle.dumps(IMAGE)) == IMAGE
    assert Image(**json.loads(json.dumps(asdict(IMAGE)))) == IMAGE
    assert len({IMAGE, Image("image/png", DATA)}) == 1


def test_the_openai_format_has_parts_only_in_messages_with_images() -> None:
    assert to_openai(UserMessage("what?")) == {"role": "user", "content": "what?"}
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}
    assert to_openai(UserMessage("what?", (IMAGE, IMAGE))) == {
        "role": "user",
        "content": [{"type": "text", "text": "what?"}, part, part],
    }
    assert to_openai(UserMessage("", (IMAGE,))) == {"role": "user", "content": [part]}


def test_images_are_counted_by_number_and_not_as_text() -> None:
    messages = [
        SystemMessage("be brief"),
        UserMessage("what?", (IMAGE, IMAGE)),
        AssistantMessage("that"),
        UserMessage("and?"),
    ]
    assert image_tokens(messages) == 2 * IMAGE_TOKENS
    assert without_images(messages) == [messages[0], UserMessage("what?"), *messages[2:]]


# Values that are images, and others


@pytest.mark.parametrize(("media_type", "data"), STILL.items())
def test_the_type_of_a_file_is_taken_from_its_first_bytes_and_not_its_name(
    tmp_path: Path, media_type: str, data: bytes
) -> None:
    (path := tmp_path / "picture.txt").write_bytes(data)
    image = as_image(path)
    assert (image.media_type, base64.b64decode(image.data)) == (media_type, data)
    assert image == as_image(str(path)) == as_image(data) == as_image(bytearray(data)) == as_image(memoryview(data))
    assert as_image(image) is image


def test_lossless_webp_and_an_animation_of_one_frame_are_images() -> None:
    assert as_image(WEBP_LOSSLESS).media_type == "image/webp"
    assert as_image(png(frames=1)).media_type == "image/png"


def test_a_path_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(PNG)
    assert as_image("~/a.png") == IMAGE


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"\0", "allowed are"),
        (b"hello", "allowed are a matplotlib figure or axes, a PIL image, and a PNG, JPEG, GIF or WebP file"),
        (b"BM......", r"PIL\.Image\.open reads many others"),
        (b"RIFF....WAVEfmt ", "allowed are"),
        (
            b'<svg xmlns="http://www.w3.org/2000/svg"/>',
            r'an SVG, which no provider takes; .*fig\.savefig\("plot\.png"\)',
        ),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?><svg/>", "an SVG"),
        (ANIMATED_PNG, "an animated image/png"),
        (ANIMATED_GIF, "an animated image/gif"),
        (ANIMATED_WEBP, "an animated image/webp"),
        (png(0, 1), "header of this image/png is broken"),
        (png(1, 0), "header of this image/png is broken"),
        (PNG[:8] + bytes(80), "header of this image/png is broken"),
        (JPEG[:4] + b"\0\0" + JPEG[6:], "header of this image/jpeg is broken"),
        (GIF[:6] + bytes(4) + GIF[10:], "header of this image/gif is broken"),
        (WEBP[:12] + b"ABCD" + WEBP[16:], "header of this image/webp is broken"),
        (PNG + bytes(MAX_BYTES), "more than 20 MB"),
    ],
)
def test_an_unsupported_image_is_refused_with_the_allowed_types(data: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        as_image(data)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("data", "header"), [(PNG, 41), (JPEG, JPEG.index(b"\xff\xc0") + 7), (GIF, 24), (WEBP, 25)], ids=list(STILL)
)
def test_an_image_with_a_truncated_header_is_refused(data: bytes, header: int) -> None:
    for end in range(1, header):
        with pytest.raises(ConfigError):
            as_image(data[:end])


@given(st.sampled_from([*STILL.values(), ANIMATED_GIF, ANIMATED_PNG]), st.integers(0, 60), st.binary(max_size=40))
def test_any_bytes_are_an_image_or_a_clear_error(data: bytes, at: int, noise: bytes) -> None:
    try:
        assert as_image(data[:at] + noise + data[at + len(noise) :]).media_type in STILL
    except ConfigError as error:
        assert len(str(error)) < 300


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="only root of a Linux may read it")
def test_a_file_of_the_kernel_that_has_no_end_is_not_waited_for() -> None:
    with pytest.raises(ConfigError, match="/proc/kmsg"):
        as_image("/proc/kmsg")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/stdin", "/dev/tty", "/dev"])
def test_a_device_is_not_an_image(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no file '{name}'"):
        as_image(Path(name))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing.png", "no file 'nothing.png'; allowed are"),
        (".", "no file '.'"),
        ("/dev/zero", "no file '/dev/zero'"),
        ("a\0b", "no file"),
        ("https://example.org/plot.png", "nothing is fetched"),
        ("data:image/png;base64," + DATA * 50, "nothing is fetched"),
        ("~nobody-of-that-name/a.png", "cannot be read"),
        ("x" * 3000, "cannot be read: File name too long"),
    ],
)
def test_a_path_without_a_file_is_an_error(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        as_image(name)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("source", [5, None, {"a": 1}, [1, 2], [], object()], ids=lambda one: type(one).__name__)
def test_a_value_that_is_not_an_image_is_an_error(source: Any) -> None:
    with pytest.raises(ConfigError, match="allowed are"):
        as_image(source)
    assert not is_picture(source)


def test_the_error_for_an_array_says_how_to_convert_it() -> None:
    array = SimpleNamespace(__array__=lambda: None, flat=iter([0.0] * 100))
    with pytest.raises(ConfigError, match=r"PIL\.Image\.fromarray makes one of an array"):
        as_image(array)


# Objects that draw an image


def test_a_figure_is_drawn_at_once_and_not_changed() -> None:
    figure = Figure()
    image = as_image(figure)
    figure.shows = png(2, 2)
    assert image == IMAGE
    assert figure == Figure(png(2, 2), saved=[{"format": "png", "bbox_inches": "tight"}])


FIGURE = Figure()


@pytest.mark.parametrize(
    ("source", "can_be_nothing_else"),
    [
        (FIGURE, True),
        (Axes(FIGURE), True),
        (Axes(Axes(FIGURE)), True),
        ([Axes(FIGURE)], False),
        (([1.0], [2.0], [Axes(FIGURE)]), False),
        (SimpleNamespace(flat=iter([Axes(FIGURE)])), False),
        (SimpleNamespace(gcf=lambda: FIGURE, get_fignums=lambda: [1]), False),
        (SimpleNamespace(_repr_png_=lambda: PNG), False),
        (SimpleNamespace(_repr_png_=lambda: None, _repr_jpeg_=lambda: (DATA, {})), False),
        (Painting(), True),
        (IMAGE, True),
    ],
    ids=[
        "figure",
        "axes",
        "subfigure",
        "lines",
        "histogram",
        "grid",
        "pyplot",
        "jupyter",
        "jupyter-text",
        "PIL",
        "image",
    ],
)
def test_figures_axes_and_pyplot_are_images(source: Any, can_be_nothing_else: bool) -> None:
    assert is_picture(source) == can_be_nothing_else
    assert as_image(source) == IMAGE


def test_axes_and_pyplot_without_a_figure_are_an_error() -> None:
    assert not is_picture(Axes(None))
    with pytest.raises(ConfigError, match="Axes cannot be used as an image"):
        as_image(Axes(None))
    with pytest.raises(ConfigError, match="pyplot has no current figure"):
        as_image(SimpleNamespace(gcf=Figure, get_fignums=list))


def test_a_value_with_similar_attributes_is_not_an_image() -> None:
    """A table may have columns of any name."""
    assert not is_picture(SimpleNamespace(savefig=print, figure=FIGURE, save=print, convert=print, getbands=print))


def test_a_value_that_cannot_be_drawn_gives_a_one_line_error() -> None:
    with pytest.raises(ConfigError, match="the figure cannot be drawn: ValueError: no such glyph") as caught:
        as_image(Figure(error=ValueError("no such\nglyph " + "x" * 5000)))
    assert caught.value.__cause__ is None
    assert len(str(caught.value)) < 300
    for data in (lambda: 1 / 0, lambda: "no base64!", lambda: [PNG, None], lambda: 7.5):
        with pytest.raises(ConfigError, match=r"_repr_png_ of this SimpleNamespace fails|what _repr_png_ gives"):
            as_image(SimpleNamespace(_repr_png_=data))
    with pytest.raises(ConfigError, match="the figure: an image of 0 bytes"):
        as_image(Figure(b""))


@pytest.mark.parametrize(
    ("mode", "format_", "saved"),
    [
        ("RGB", None, "PNG RGB"),
        ("RGB", "PNG", "PNG RGB"),
        ("RGB", "JPEG", "JPEG RGB"),
        ("L", "MPO", "JPEG L"),
        ("CMYK", "JPEG", "PNG RGB"),
        ("F", None, "PNG RGB"),
        ("PA", None, "PNG RGBA"),
        ("La", None, "PNG LA"),
    ],
)
def test_a_pil_image_becomes_png_in_a_supported_mode_and_a_photo_stays_jpeg(
    mode: str, format_: str | None, saved: str
) -> None:
    painting = Painting(mode, format_)
    as_image(painting)
    assert painting.saved == [saved]
    assert painting.mode == mode


# Images in prompts and histories


async def test_a_prompt_may_contain_text_and_images_of_every_type(runtime: Runtime, tmp_path: Path) -> None:
    model = ScriptedModel([Rule(reply="a plot")])
    bob, heard = hire(runtime, model), observed_by(runtime)
    (path := tmp_path / "a.jpg").write_bytes(JPEG)
    run = bob.submit(["Compare", Figure(), "with ", path, IMAGE, "."])
    await run

    image, photo = as_image(PNG), as_image(JPEG)
    assert run.images == (image, photo, IMAGE)
    assert run.prompt == "Compare ⟨image 1⟩with ⟨image 2⟩ ⟨image 3⟩."
    message = UserMessage(run.prompt, run.images)
    assert model.requests[0].messages[-1] == message
    assert bob.history[0] == message
    queued, started = (one.event for one in heard if isinstance(one.event, RunQueued | RunStarted))
    parts = ("Compare", image, "with ", photo, IMAGE, ".")
    assert queued == RunQueued(run.prompt, "normal", 1, parts, submitted_at=run.submitted_at)
    assert started == RunStarted(run.prompt, "offline/bob", run.images)
    assert DATA not in f"{heard} {run!r} {run.parts} {bob.history} {model.requests}"


async def test_a_replay_of_the_events_restores_the_messages(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="seen")]))
    await bob.submit(["look", IMAGE])
    replayed: list[Any] = []
    for record in runtime.store.records("bob"):
        match record.event:
            case RunStarted(prompt, _, images):
                replayed.append(UserMessage(prompt, images))
            case ModelReplied(message):
                replayed.append(message)
    assert tuple(replayed) == bob.history


async def test_an_image_can_be_the_whole_prompt_and_stays_in_the_history(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="seen")])
    bob = hire(runtime, model)
    await bob.submit(IMAGE)
    await bob.submit("and now?")
    assert model.requests[1].messages[1:] == [
        UserMessage("⟨image 1⟩", (IMAGE,)),
        AssistantMessage("seen"),
        UserMessage("and now?"),
    ]


async def test_a_prompt_may_contain_images_and_runs(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule("^first$", reply="one"), Rule(reply="two")]))
    first = bob.submit("first")
    run = bob.submit([first, IMAGE])
    assert run.needs == (first,)
    await run
    assert run.prompt == "one ⟨image 1⟩"


async def test_an_invalid_piece_of_a_prompt_is_refused_before_anything_is_sent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([]))
    with pytest.raises(ConfigError, match="text, images and runs, not int"):
        bob.submit(["what?", IMAGE, 5])
    with pytest.raises(ConfigError, match=r"no file '.*nothing\.png'"):
        bob.submit(["what?", Path("nothing.png")])
    with pytest.raises(ConfigError, match="cannot be drawn"):
        bob.submit(["what?", Figure(error=RuntimeError("no"))])
    assert bob.runs == ()


async def test_a_prompt_whose_images_do_not_fit_is_refused_before_the_call(runtime: Runtime) -> None:
    """They are counted as images: by their base64 text they would be far too long, by their marks far too short."""
    model = ScriptedModel([Rule(reply="seen")], context_tokens=3 * IMAGE_TOKENS)
    model.count_tokens = lambda messages, tools=(): image_tokens(messages) + 10 * len(messages)  # type: ignore[method-assign]
    bob = hire(runtime, model)
    large = Image("image/png", "A" * 1_000_000)
    await bob.submit(["one", large])
    await bob.submit(["two", large])
    assert len(model.requests[1].messages) == 4
    run: Run = bob.submit(["three", large, large])
    await run
    assert model.requests[2].messages[1:] == [UserMessage(run.prompt, run.images)]
    with pytest.raises(RunFailed):
        await (run := bob.submit([large] * 4))
    assert isinstance(run.error, ModelError)
    assert "Nothing was sent" in str(run.error)
