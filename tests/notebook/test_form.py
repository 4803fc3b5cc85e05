"""The creation form: it checks input while the user types, gives the same agent in three ways, and escapes input."""

from __future__ import annotations

import asyncio
import html
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from traitlets import TraitError

from support.agentfiles import rows
from support.drafts import from_python
from support.inprocess import Notebook
from whisper_nb import Agent, AIConfig, ConfigError
from whisper_nb.config.project import Project
from whisper_nb.config.trust import TrustFile
from whisper_nb.engine.home import Home
from whisper_nb.notebook.form.form import KEY, AgentForm
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.tools.functions import function_in

CANARY = "sk-canary-0123456789abcdef"
#: The parameters of a model, except `seed` and `stop`.
HIDDEN = {"temperature", "top p", "max tokens", "max reasoning tokens", "frequency penalty", "presence penalty"}
HOSTILE = "</pre><img src=x onerror=alert(1)> $x^2$ & \ud800 \u202e"


def find_tool(name: str) -> Callable[..., Any]:
    return function_in({"rows": rows, "five": 5}, name)


def fill(form: AgentForm, **texts: str) -> None:
    """Type into fields; names that are not fields of an agent are fields of its config."""
    for name, text in texts.items():
        path = (name,) if (name,) in form.fields else ("config", name)
        form.fields[path].input.value = text


def message(form: AgentForm, *path: str) -> str:
    """The message below a field."""
    return read(form.fields[path].message)


def read(widget: ipywidgets.HTML) -> str:
    """The visible text."""
    return html.unescape(re.sub("<[^>]*>", "", widget.value))


def python(form: AgentForm) -> str:
    return read(form.python).removeprefix("Python")


def params(form: AgentForm) -> list[str]:
    """The labels of the fields below "Model", without the model itself."""
    return [field.input.description for field in (*form.params.children[1:], *form.more.children)]


def is_asked(form: AgentForm) -> bool:
    """Whether the confirmation is shown."""
    return form.overwrite in set(widgets(form))


def widgets(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets(child)


def change_of(widget: ipywidgets.Widget, name: str) -> asyncio.Event:
    """Set when a trait of a widget changes the next time."""
    event = asyncio.Event()
    widget.observe(lambda _: event.set(), name)
    return event


@pytest.fixture
def form(runtime: NotebookRuntime) -> AgentForm:
    """The form of a runtime that has no project."""
    return AgentForm(runtime, find_tool)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with prompts, and an agent `old`."""
    files = {
        "agents/old.yaml": b"title: Old\n",
        "agents/prompts/bob.md": b"You are Bob.\n",
        "agents/prompts/bad.md": b"\xff",
        "agents/prompts/shared/end.md": b"The end.",
    }
    for name, data in files.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_bytes(data)
    return tmp_path / "project"


@pytest.fixture
async def in_project(root: Path) -> AsyncIterator[NotebookRuntime]:
    """A runtime in that project, which is trusted."""
    async with NotebookRuntime(environ={}, project=root, find_tool=find_tool) as rt:
        yield rt


# Input


def test_an_empty_form_asks_only_for_a_name(form: AgentForm) -> None:
    assert {path for path in form.fields if message(form, *path)} == {("name",), ("config", "model")}
    assert "error" not in form.fields[("name",)].message.value
    assert message(form, "config", "model") == "empty: offline/echo answers"
    assert form.create.disabled
    assert form.save.disabled
    said = [read(one) for one in widgets(form) if isinstance(one, ipywidgets.HTML)]
    assert sum("the name is missing" in text for text in said) == 1
    assert read(form.yaml) == "YAMLincomplete: see name"


def test_a_message_is_below_its_field_until_the_field_is_valid(form: AgentForm) -> None:
    fill(form, name="bob", temperature="9", tools="five", color="#12")
    assert message(form, "config", "temperature") == "temperature 9 is not a number from 0 to 2"
    assert message(form, "tools") == "tool 'five' is of type int; give the name of a function"
    assert message(form, "color").startswith("color '#12' is not a color")
    assert "--jp-error-color1" in form.fields[("color",)].message.value
    assert message(form, "name") == ""
    assert form.create.disabled
    assert read(form.yaml) == "YAMLincomplete: see color, temperature, tools"
    assert python(form) == "incomplete: see color, temperature, tools"
    fill(form, temperature="0.9", tools="rows", color="")
    assert [message(form, *path) for path in (("config", "temperature"), ("tools",), ("color",))] == ["", "", ""]
    assert not form.create.disabled
    assert not form.save.disabled
    assert read(form.yaml) == "YAMLname: bob\nai_config:\n  temperature: 0.9\ntools:\n- rows\n"


def test_the_repr_of_the_form_is_stable(form: AgentForm) -> None:
    assert repr(form) == form._repr_mimebundle_()["text/plain"] == "The form for a new agent needs a running kernel."


def test_every_input_has_a_label(form: AgentForm) -> None:
    assert all(field.input.description for field in form.fields.values())
    buttons = [form.create, form.save, form.overwrite, form.keep]
    assert all(button.description and button.tooltip for button in buttons)


# Create


def test_create_creates_the_agent_at_once(notebook: Notebook) -> None:
    form = AgentForm(notebook.runtime, find_tool)
    fill(form, name="amy", description="Counts.", tools="rows", max_turns="3")
    form.create.click()
    assert read(form.status) == "amy is ready; answers with offline/test"
    assert notebook.runtime["amy"].agent == Agent(name="amy", description="Counts.", tools=(rows,), max_turns=3)
    notebook.run("%agent list")
    assert "amy" in notebook.shown[-1]["data"]["text/plain"]


def test_an_existing_agent_gets_the_new_spec(notebook: Notebook) -> None:
    form = AgentForm(notebook.runtime, find_tool)
    fill(form, name="bob", description="Counts.")
    form.create.click()
    assert read(form.status) == "bob: revision 2 (description), history kept; answers with offline/test"
    form.create.click()
    assert read(form.status) == "bob is ready; answers with offline/test"
    fill(form, description="Adds.")
    assert read(form.status) == ""


def test_a_model_that_cannot_be_opened_creates_no_agent(form: AgentForm, runtime: NotebookRuntime) -> None:
    fill(form, name="bob", model="offline/gone")
    form.create.click()
    assert read(form.status).startswith("no offline model 'offline/gone'; there are offline/echo")
    assert runtime.sessions == ()


async def test_an_error_of_the_runtime_is_shown(form: AgentForm, runtime: NotebookRuntime) -> None:
    fill(form, name="bob")
    await runtime.aclose()
    form.create.click()
    assert read(form.status) == "this Runtime is closed: create a new one"


async def test_a_click_says_so_if_the_agents_cannot_be_reached() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    form = AgentForm(NotebookRuntime(environ={}, home=Home(loop)), find_tool)
    form.create.click()
    assert read(form.status) == "the event loop of these agents is closed. Create a new Runtime"


async def test_a_click_may_come_from_another_thread(form: AgentForm, runtime: NotebookRuntime) -> None:
    fill(form, name="bob")
    told = change_of(form.status, "value")
    await asyncio.to_thread(form.create.click)
    await told.wait()
    assert [session.name for session in runtime.sessions] == ["bob"]


def test_form_yaml_and_python_give_equal_agents(in_project: NotebookRuntime) -> None:
    form = AgentForm(in_project, find_tool)
    fill(
        form, name="bob", title="Bob: the Builder", role="no", description="'Builds'", icon="👷", color="#9C27B0",
        system_prompt="Many\n\n  {{ lines }}\n", model="anthropic:claude-x", api_key="${MY_KEY}", temperature="0.5",
        stop="[a, b]", seed="null", extra="{top_k: 40}", tools="rows", max_turns="3",
    )  # fmt: skip
    form.create.click()
    form.save.click()
    agent = in_project["bob"].agent
    assert agent == Agent(
        name="bob", title="Bob: the Builder", role="no", description="'Builds'", icon="👷", color="#9C27B0",
        system_prompt="Many\n\n  {{ lines }}\n", tools=(rows,), max_turns=3,
        config=AIConfig(
            model="anthropic/claude-x", api_key="os.environ/MY_KEY", temperature=0.5, stop=("a", "b"),
            cleared=("seed",),
            extra={"top_k": 40},  # type: ignore[arg-type]
        ),
    )  # fmt: skip
    assert in_project.described("bob") == agent
    assert from_python(python(form)) == agent


# Save


def test_save_writes_the_file(in_project: NotebookRuntime, root: Path) -> None:
    form = AgentForm(in_project, find_tool)
    fill(form, name="bob", role="x")
    form.save.click()
    assert read(form.status) == "bob is in agents/bob.yaml"
    assert (root / "agents/bob.yaml").read_text() == "name: bob\nrole: x\n" == read(form.yaml).removeprefix("YAML")
    form.save.click()  # it says the same
    assert not is_asked(form)


def test_another_file_is_overwritten_only_after_a_confirmation(in_project: NotebookRuntime, root: Path) -> None:
    form, file = AgentForm(in_project, find_tool), root / "agents/old.yaml"
    fill(form, name="old", role="x")
    assert not is_asked(form)
    form.overwrite.click()  # as a front end might, though it is not there
    assert file.read_text() == "title: Old\n"
    form.save.click()
    assert is_asked(form)
    assert read(form.question) == "agents/old.yaml exists. Overwrite?"
    form.keep.click()
    form.overwrite.click()
    assert not is_asked(form)
    assert file.read_text() == "title: Old\n"
    form.save.click()
    form.overwrite.click()
    assert not is_asked(form)
    assert read(form.status) == "old is in agents/old.yaml"
    assert file.read_text() == "name: old\nrole: x\n"


def test_the_confirmation_disappears_when_a_field_changes(in_project: NotebookRuntime, root: Path) -> None:
    form = AgentForm(in_project, find_tool)
    fill(form, name="old", role="x")
    form.save.click()
    fill(form, role="y")
    assert not is_asked(form)
    form.overwrite.click()
    assert (root / "agents/old.yaml").read_text() == "title: Old\n"


def test_saving_without_a_project_is_an_error(form: AgentForm) -> None:
    fill(form, name="bob")
    form.save.click()
    assert read(form.status).startswith("there is no project to save in: no folder above")
    assert not is_asked(form)


async def test_a_file_that_is_saved_in_an_untrusted_project_is_not_in_force(root: Path, tmp_path: Path) -> None:
    async with NotebookRuntime(environ={}, project=Project(root, TrustFile(tmp_path / "home"))) as rt:
        form = AgentForm(rt, find_tool)
        fill(form, name="bob")
        form.save.click()
        held = "held back with the project's files until %agent trust"
        assert read(form.status) == f"bob is in agents/bob.yaml; {held}"
        with pytest.raises(ConfigError, match="held back"):
            rt.described("bob")
        assert form.prompts not in set(widgets(form))


# Prompts


def test_a_prompt_file_is_loaded_into_the_field(in_project: NotebookRuntime) -> None:
    form = AgentForm(in_project, find_tool)
    assert [name for _, name in form.prompts.options] == ["", "bad.md", "bob.md"]
    fill(form, name="bob")
    for _ in range(2):
        fill(form, system_prompt="gone")
        form.prompts.value = "bob.md"
        assert form.fields[("system_prompt",)].text == "You are Bob."
        assert form.prompts.value == "", "it can be chosen again"
    assert "You are Bob." in read(form.yaml)
    form.prompts.value = "bad.md"
    assert message(form, "system_prompt") == "agents/prompts/bad.md is not UTF-8 (byte 0): save it as UTF-8"


# Models


async def test_models_with_a_key_are_proposed_first() -> None:
    async with NotebookRuntime(environ={"ANTHROPIC_API_KEY": "x"}) as rt:
        form = AgentForm(rt, find_tool)
        options = form.fields[("config", "model")].input.options
        assert options[:2] == ("anthropic/claude-haiku-4-5", "offline/echo")
        assert len(options) == len(set(options))
        fill(form, model="anthropic/mine")
        assert message(form, "config", "model") == ""
        fill(form, model="openai/mine")
        assert message(form, "config", "model") == "OPENAI_API_KEY is not set, and openai/mine needs it"
        assert "error" not in form.fields[("config", "model")].message.value
        fill(form, name="bob", api_key="os.environ/MINE")
        assert message(form, "config", "model") == "MINE is not set, and openai/mine needs it"
        assert not form.create.disabled


async def test_a_problem_of_the_default_model_is_shown_beside_the_model() -> None:
    async with NotebookRuntime(environ={"WHISPER_MODEL": "bad"}) as rt:
        form = AgentForm(rt, find_tool)
        fill(form, name="bob")
        assert message(form, "config", "model").startswith("WHISPER_MODEL 'bad' is not provider/model")
        form.create.click()
        assert read(form.status).startswith("WHISPER_MODEL 'bad'")
        assert rt.sessions == ()
        fill(form, model="offline/echo")
        assert message(form, "config", "model") == "an offline model takes no parameters"


def test_an_offline_model_has_no_parameters(form: AgentForm, runtime: NotebookRuntime) -> None:
    fill(form, name="bob", temperature="9")
    assert form.create.disabled
    fill(form, model="offline/echo")
    assert params(form) == []
    form.create.click()
    assert runtime["bob"].agent.config == AIConfig(model="offline/echo")
    fill(form, model="openai/x")
    assert {"api base", "api key", "temperature", "stop", "retries", "extra"} <= set(params(form))
    assert form.create.disabled


async def test_fields_that_a_model_does_not_accept_are_hidden(runtime: NotebookRuntime) -> None:
    threads = []

    def takes(model: str) -> frozenset[str] | None:
        threads.append(threading.current_thread())
        return {"openai/a": frozenset({"seed", "stop"}), "openai/b": None}[model]  # KeyError: it fails

    form = AgentForm(runtime, find_tool, takes)
    fill(form, name="bob", temperature="0.5", seed="4")
    everything = params(form)
    for model, hidden in [
        ("openai/a", True),
        ("openai/b", False),
        ("openai/a", True),
        ("openai/c", False),
        ("openai/a", True),
        ("", False),
    ]:
        shown = change_of(form.params, "children")
        fill(form, model=model)
        await shown.wait()
        assert params(form) == [one for one in everything if one not in HIDDEN or not hidden]
        assert ("temperature" in read(form.yaml)) == (not hidden)
    assert threading.main_thread() not in threads


async def test_a_late_answer_is_dropped(runtime: NotebookRuntime) -> None:
    asked: list[str] = []
    go_on = threading.Event()

    def takes(model: str) -> frozenset[str]:
        asked.append(model)
        go_on.wait(100)
        return frozenset({"stop" if model == "openai/last" else "seed"})

    form = AgentForm(runtime, find_tool, takes)
    seen: list[list[str]] = []
    form.more.observe(lambda _: seen.append(params(form)), "children")
    shown = change_of(form.more, "children")
    fill(form, model="openai")
    for model in ("openai/first", "openai/second", "openai/last"):
        fill(form, model=model)
    go_on.set()
    await shown.wait()
    assert asked == ["openai/first", "openai/last"]
    assert [("stop" in one, "seed" in one) for one in seen] == [(True, False)]


# Messages of a front end


def test_input_is_never_html(form: AgentForm) -> None:
    for path in form.fields:
        fill(form, **{path[-1]: HOSTILE})
    fill(form, name="bob", tools=HOSTILE, model=HOSTILE)
    for fields in (
        {},
        {path[-1]: "" for path in form.fields} | {"name": "bob", "description": HOSTILE, "system_prompt": HOSTILE},
    ):
        fill(form, **fields)
        shown = "".join(widget.value for widget in widgets(form) if isinstance(widget, ipywidgets.HTML))
        assert "onerror" in shown
        assert "<img" not in shown
        shown.encode()
    kinds = {type(widget).__name__ for widget in widgets(form)}
    assert kinds == {
        "Accordion",
        "AgentForm",
        "_Field",
        "GridBox",
        "HBox",
        "VBox",
        "HTML",
        "Text",
        "Textarea",
        "Combobox",
        "Button",
    }


def test_a_click_on_a_disabled_button_does_nothing(form: AgentForm, runtime: NotebookRuntime) -> None:
    fill(form, name="b b")
    for button in (form.create, form.save, form.overwrite):
        button.set_state({"disabled": False})
        button.click()
        assert read(form.status).startswith("name 'b b' is not")
    assert runtime.sessions == ()


def test_very_long_values_give_an_error_and_are_shown_in_part(form: AgentForm) -> None:
    for name in ("name", "tools", "system_prompt", "temperature", "api_base"):
        fill(form, **{name: "x" * 300_000})
        assert message(form, *([name] if (name,) in form.fields else ["config", name])).startswith(
            f"{name} is too long"
        )
        fill(form, **{name: ""})
    fill(form, name="bob", tools=", ".join(["five"] * 1_000), system_prompt="x" * 100_000)
    form.create.click()
    assert all(len(widget.value) < 25_000 for widget in widgets(form) if isinstance(widget, ipywidgets.HTML))
    fill(form, tools="")
    assert not form.create.disabled
    assert len(form.yaml.value) < 25_000


def test_values_of_a_wrong_type_are_refused(form: AgentForm) -> None:
    for value in (5, None, ["x"]):
        with pytest.raises(TraitError):
            form.fields[("name",)].input.set_state({"value": value})


def test_a_typed_key_is_only_in_its_field(form: AgentForm) -> None:
    fill(form, name="bob", model="openai/x", api_key=CANARY)
    form.create.click()
    form.save.click()
    assert "os.environ/NAME" in message(form, "config", "api_key")
    shown = [
        str(widget.get_state()) for widget in widgets(form) if widget is not form.fields[("config", "api_key")].input
    ]
    assert [state for state in shown if CANARY[:12] in state] == []


def test_a_typed_key_is_removed_from_the_field(form: AgentForm) -> None:
    for text in ("o", "os.environ/", "os.environ/MINE", "${MINE}", ""):
        fill(form, api_key=text)
        assert form.fields[KEY].text == text
        assert message(form, *KEY) == "" or text in ("o", "os.environ/")
    fill(form, name="bob", api_key="sk-0123456789abcdef")
    assert message(form, *KEY).startswith("removed: it was not os.environ/NAME")
    assert "sk-0123456789abcdef" not in str([widget.get_state() for widget in widgets(form)])
    fill(form, api_key="os.environ/MINE")
    assert "removed" not in message(form, *KEY)
