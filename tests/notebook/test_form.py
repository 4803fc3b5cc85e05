"""The creation form: it checks input while the user types, gives the same agent in three ways, and trusts no page."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from support.agentfiles import rows
from support.drafts import from_python
from support.forms import FormPage, WatchedForm
from support.inprocess import Notebook
from whisper_nb import Agent, AIConfig, ConfigError
from whisper_nb.config.keys import Keys
from whisper_nb.config.paths import packaged
from whisper_nb.config.project import Project
from whisper_nb.config.trust import TrustFile
from whisper_nb.engine.home import Home
from whisper_nb.notebook.form.choices import (
    READY,
    ModelChoice,
    ToolChoice,
    listed_models,
    provider_choices,
    server_choices,
    tool_choices,
    type_choices,
)
from whisper_nb.notebook.form.draft import FIELDS
from whisper_nb.notebook.form.fields import described_sections, id_of
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.tools.functions import FunctionTool, function_in

CANARY = "sk-canary-0123456789abcdef"
HOSTILE = "</pre><img src=x onerror=alert(1)> $x^2$ & \ud800 \u202e"
#: The parameters that a model may not take, but for `seed` and `stop`.
OF_SOME = {
    f"config.{name}"
    for name in (
        "temperature",
        "top_p",
        "max_tokens",
        "max_reasoning_tokens",
        "frequency_penalty",
        "presence_penalty",
    )
}


def find_tool(name: str) -> Callable[..., Any]:
    return function_in({"rows": rows, "five": 5}, name)


def part_of(form: WatchedForm, name: str) -> asyncio.Event:
    """Set when a part of the form is sent the next time."""
    event = asyncio.Event()
    send = form.send

    def watch(content: dict[str, Any], buffers: Any = None) -> None:
        send(content, buffers)
        if name in content.get("parts", {}):
            event.set()

    form.send = watch  # type: ignore[method-assign]
    return event


@pytest.fixture
def form(runtime: NotebookRuntime) -> WatchedForm:
    """The form of a runtime that has no project."""
    return WatchedForm(runtime, find_tool)


@pytest.fixture
def page(form: WatchedForm) -> FormPage:
    return FormPage(form)


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


# Fields


def test_every_field_has_a_place_a_label_a_meaning_and_a_default(page: FormPage) -> None:
    fields = [field for section in page.parts["sections"] for field in section["fields"]]
    assert {field["id"] for field in fields} == {id_of(path) for path in FIELDS} == page.texts.keys()
    assert len(fields) == len(FIELDS)
    for field in fields:
        assert field["label"][:1].isupper()
        assert field["help"].endswith(".")
        assert "\n" not in field["help"]
        assert page.parts["defaults"][field["id"]] or field["id"] == "name"


def test_the_first_section_is_what_a_new_user_needs() -> None:
    first, *others = described_sections()
    assert [field["id"] for field in first["fields"]] == ["name", "system_prompt", "config.model"]
    assert [section["title"] for section in others] == [
        "Tools",
        "Answers",
        "Look",
        "Memory and limits",
        "Sampling",
        "Advanced",
    ]
    assert all(section["about"] for section in others)


def test_an_empty_form_has_no_errors_yet(page: FormPage) -> None:
    assert page.errors == set()
    assert page.note("config", "model").startswith("offline/echo repeats the prompt")
    assert page.parts["yaml"] == page.parts["python"] == "Incomplete: see Name"
    assert page.parts["ready"] is False
    page.click("create")
    assert page.note("name").startswith("the name is missing")
    assert page.status == "To correct: Name"


def test_a_message_is_below_its_field_until_the_field_is_valid(page: FormPage) -> None:
    page.type(name="bob", temperature="9", tools="five", color="turquois")
    assert page.note("config", "temperature") == "temperature 9 is not a number from 0 to 2"
    assert page.note("tools") == "tool 'five' is of type int; give the name of a function"
    assert page.note("color").endswith("did you mean 'turquoise'?")
    assert page.errors == {"config.temperature", "tools", "color"} == {*page.parts["wrong"]}
    assert page.note("name") == ""
    assert page.parts["yaml"] == page.parts["python"] == "Incomplete: see Color, Functions by name, Temperature"
    page.type(temperature="0.9", tools="rows", color="")
    assert page.errors == set()
    assert page.parts["yaml"] == "name: bob\nai_config:\n  temperature: 0.9\ntools:\n- rows\n"


def test_an_unknown_function_is_an_error_beside_the_tools(page: FormPage) -> None:
    page.type(name="bob", tools="rows, gone")
    assert page.note("tools") == "tool 'gone' is not defined in this notebook; run the cell that defines it"


def test_memory_is_typed_as_in_a_file(page: FormPage, runtime: NotebookRuntime) -> None:
    assert (page.parts["defaults"]["memory"], page.parts["defaults"]["max_prompt_tokens"]) == ("all", "none")
    for text in ("last:10", "{last: 10}", "last: 10"):
        page.type(name="bob", memory=text, max_prompt_tokens="9000")
        assert page.errors == set()
        assert "max_prompt_tokens: 9000" in page.parts["yaml"]
        assert from_python(page.parts["python"]) == Agent(name="bob", memory={"last": 10}, max_prompt_tokens=9000)
    page.type(memory="some")
    assert page.note("memory").startswith("memory 'some' is not one of all, none, last:N")


async def test_defaults_are_those_of_the_layers_with_their_source() -> None:
    async with NotebookRuntime(environ={"WHISPER_MODEL": "openai/x"}) as rt:
        page = FormPage(WatchedForm(rt, find_tool))
        rt.configure(temperature=0.3)
        page.type(name="bob")
        defaults = page.parts["defaults"]
        assert defaults["config.model"] == "openai/x (env WHISPER_MODEL)"
        assert defaults["config.temperature"] == "0.3 (configure)"
        assert defaults["config.retries"] == "2"
        assert defaults["config.top_p"] == "the provider's"
        assert defaults["max_turns"] == "20"
        assert defaults["timeout_s"] == "none"
        page.type(model="offline/echo")
        assert page.parts["defaults"]["config.model"] == "openai/x (env WHISPER_MODEL)"


def test_the_repr_of_the_form_is_stable(form: WatchedForm) -> None:
    bundle: Any = form._repr_mimebundle_()
    assert repr(form) == bundle[0]["text/plain"] == "The form for a new agent needs a running kernel."


def test_fill_knows_the_fields_of_agents_and_configs(form: WatchedForm) -> None:
    form.fill(name="bob", timeout_s="5", seed="4", **{"config.timeout_s": "6"})
    form.create()
    agent = form._runtime["bob"].agent
    assert (agent.timeout_s, agent.config) == (5, AIConfig(seed=4, timeout_s=6))
    with pytest.raises(ConfigError, match="no field 'sede'"):
        form.fill(sede="4")


def test_fill_takes_numbers_and_says_that_it_takes_no_other_values(form: WatchedForm) -> None:
    form.fill(name="bob", max_cost_usd=0.5, seed=4)
    form.create()
    agent = form._runtime["bob"].agent
    assert (agent.max_cost_usd, agent.config) == (0.5, AIConfig(seed=4))
    with pytest.raises(ConfigError, match=r"price is filled with .*; give a text"):
        form.fill(price={"input": 3})  # type: ignore[arg-type]


# Create


def test_create_creates_the_agent_at_once(notebook: Notebook) -> None:
    page = FormPage(WatchedForm(notebook.runtime, find_tool))
    page.type(name="amy", description="Counts.", tools="rows", max_turns="3")
    page.click("create")
    assert page.parts["status"] == {
        "text": "amy is ready; answers with offline/test",
        "kind": "good",
        "then": "Give it work: %%agent amy",
    }
    assert notebook.runtime["amy"].agent == Agent(name="amy", description="Counts.", tools=(rows,), max_turns=3)
    notebook.run("%agent list")
    assert "amy" in notebook.shown[-1]["data"]["text/plain"]


def test_an_existing_agent_gets_the_new_spec(notebook: Notebook) -> None:
    page = FormPage(WatchedForm(notebook.runtime, find_tool))
    page.type(name="bob", description="Counts.")
    assert page.note("name").startswith("exists: ")
    page.click("create")
    assert page.status == "bob: revision 2 (description), history kept; answers with offline/test"
    assert page.note("name") == ""
    page.click("create")
    assert page.status == "bob is ready; answers with offline/test"
    page.type(description="Adds.")
    assert page.status == ""


def test_a_model_that_cannot_be_opened_creates_no_agent(page: FormPage, runtime: NotebookRuntime) -> None:
    page.type(name="bob", model="offline/gone")
    page.click("create")
    assert page.status.startswith("no offline model 'offline/gone'; there are offline/echo")
    assert page.parts["status"]["kind"] == "error"
    assert runtime.sessions == ()


async def test_an_error_of_the_runtime_is_shown(page: FormPage, runtime: NotebookRuntime) -> None:
    page.type(name="bob")
    await runtime.aclose()
    page.click("create")
    assert page.status == "this Runtime is closed: create a new one"


async def test_a_click_for_a_closed_loop_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    form = WatchedForm(NotebookRuntime(environ={}, home=Home(loop)), find_tool)
    form.ask("create")
    assert form.sent == []


async def test_a_click_may_come_from_another_thread(page: FormPage, runtime: NotebookRuntime) -> None:
    page.type(name="bob")
    told = part_of(page.form, "status")
    await asyncio.to_thread(page.form.ask, "create")
    await told.wait()
    assert [session.name for session in runtime.sessions] == ["bob"]


def test_form_yaml_and_python_give_equal_agents(in_project: NotebookRuntime) -> None:
    page = FormPage(WatchedForm(in_project, find_tool))
    page.type(
        name="bob", title="Bob: the Builder", role="no", description="'Builds'", icon="👷", color="#9C27B0",
        system_prompt="Many\n\n  {{ lines }}\n", model="anthropic:claude-x", api_key="${MY_KEY}", temperature="0.5",
        stop="[a, b]", seed="null", extra="{top_k: 40}", tools="rows", max_turns="3",
    )  # fmt: skip
    page.click("create")
    page.click("save")
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
    assert from_python(page.parts["python"]) == agent


def test_the_python_runs_in_a_cell_of_a_notebook(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    page = FormPage(WatchedForm(notebook.runtime, find_tool))
    page.type(name="amy", system_prompt="You count.\nBriefly.", model="offline/test", tools="rows", timeout_s="9")
    monkeypatch.setattr("whisper_nb.runtime", lambda: notebook.runtime)
    notebook.shell.user_ns["rows"] = rows
    notebook.run(page.parts["python"])
    assert notebook.runtime["amy"].agent == Agent(
        name="amy",
        system_prompt="You count.\nBriefly.",
        config=AIConfig(model="offline/test"),
        tools=(rows,),
        timeout_s=9,
    )


# Save


def test_save_writes_the_file_and_shows_its_path(in_project: NotebookRuntime, root: Path) -> None:
    page, file = FormPage(WatchedForm(in_project, find_tool)), root / "agents/bob.yaml"
    page.type(name="bob", role="x")
    page.click("save")
    assert page.parts["status"] == {
        "text": "bob is saved in",
        "kind": "good",
        "path": str(file),
        "then": "%%agent bob starts it in every notebook of this project.",
    }
    assert file.read_text() == "name: bob\nrole: x\n" == page.parts["yaml"]
    page.click("save")  # it says the same
    assert page.parts["question"] == {}


def test_python_saves_and_overwrites(in_project: NotebookRuntime, root: Path) -> None:
    form = WatchedForm(in_project, find_tool)
    form.fill(name="old", role="x")
    with pytest.raises(ConfigError, match="exists with other content"):
        form.save()
    assert form.save(overwrite=True) == root / "agents/old.yaml"
    (root / "agents/old.yaml").write_bytes(b"\xff")
    page = FormPage(form)
    page.click("save")
    assert page.parts["question"]["yes"] == "Overwrite"


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_a_file_that_never_ends_is_not_read(in_project: NotebookRuntime, root: Path, target: str) -> None:
    os.mkfifo(root / "agents/pipe")
    page, file = FormPage(WatchedForm(in_project, find_tool)), root / "agents/new.yaml"
    file.symlink_to(target)
    page.type(name="new", role="x")
    page.click("save")
    assert page.parts["question"]["yes"] == "Overwrite"


def test_another_file_is_overwritten_only_after_a_confirmation(in_project: NotebookRuntime, root: Path) -> None:
    page, file = FormPage(WatchedForm(in_project, find_tool)), root / "agents/old.yaml"
    page.type(name="old", role="x")
    page.click("confirm")  # as a page might, though nothing was asked
    assert file.read_text() == "title: Old\n"
    page.click("save")
    assert page.parts["question"] == {"text": f"{file} exists.", "yes": "Overwrite", "overwrite": True}
    page.click("keep")
    page.click("confirm")
    assert page.parts["question"] == {}
    assert file.read_text() == "title: Old\n"
    page.click("save")
    page.click("confirm")
    assert page.parts["question"] == {}
    assert page.parts["status"]["path"] == str(file)
    assert file.read_text() == "name: old\nrole: x\n"


def test_the_confirmation_disappears_when_a_field_changes(in_project: NotebookRuntime, root: Path) -> None:
    page = FormPage(WatchedForm(in_project, find_tool))
    page.type(name="old", role="x")
    page.click("save")
    page.type(role="y")
    assert page.parts["question"] == {}
    page.click("confirm")
    assert (root / "agents/old.yaml").read_text() == "title: Old\n"


def test_saving_without_a_project_is_an_error(page: FormPage) -> None:
    page.type(name="bob")
    page.click("save")
    assert page.status.startswith("there is no project to save in: no folder above")
    assert page.parts["question"] == {}


async def test_a_file_that_is_saved_in_an_untrusted_project_is_not_in_force(root: Path, tmp_path: Path) -> None:
    async with NotebookRuntime(environ={}, project=Project(root, TrustFile(tmp_path / "home"))) as rt:
        page = FormPage(WatchedForm(rt, find_tool))
        page.type(name="bob")
        page.click("save")
        assert page.parts["status"]["path"] == str(root / "agents/bob.yaml")
        assert page.parts["status"]["then"].startswith("It is held back until you trust the project's files")
        with pytest.raises(ConfigError, match="held back"):
            rt.described("bob")
        assert page.parts["files"] == []


async def test_an_agent_becomes_built_in_only_after_a_confirmation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_nb.notebook.form.form.packaged", lambda: root)
    async with NotebookRuntime(environ={}, project=root) as rt:
        page = FormPage(WatchedForm(rt, find_tool))
        page.type(name="bob")
        page.click("save")
        assert page.parts["question"]["yes"] == "Save there"
        assert f"{root} is whisper_nb itself" in page.parts["question"]["text"]
        assert not (root / "agents/bob.yaml").exists()
        page.click("confirm")
        assert "built in" in page.parts["status"]["then"]
        assert (root / "agents/bob.yaml").exists()
    assert packaged() != root


# Prompts


def test_a_prompt_file_is_loaded_into_the_field(in_project: NotebookRuntime) -> None:
    page = FormPage(WatchedForm(in_project, find_tool))
    assert page.parts["files"] == ["bad.md", "bob.md"]
    page.type(name="bob")
    for _ in range(2):
        page.type(system_prompt="gone")
        page.click("load", file="bob.md")
        assert page.texts["system_prompt"] == "You are Bob."
    assert "You are Bob." in page.parts["yaml"]
    page.click("load", file="bad.md")
    assert page.status == "agents/prompts/bad.md is not UTF-8 (byte 0): save it as UTF-8"
    page.click("load", file="../old.yaml")
    assert page.texts["system_prompt"] == "You are Bob."


# Models


async def test_models_with_a_key_are_proposed_first() -> None:
    async with NotebookRuntime(environ={"ANTHROPIC_API_KEY": "x"}) as rt:
        page = FormPage(WatchedForm(rt, find_tool))
        models = page.parts["models"]
        assert [one["model"] for one in models[:2]] == ["offline/echo", "anthropic/claude-haiku-4-5"]
        assert [one["group"] for one in models[:3]] == [READY, READY, "OPENROUTER_API_KEY is not set"]
        names = [one["model"] for one in models]
        assert len(names) == len(set(names))
        page.type(model="anthropic/mine")
        assert page.note("config", "model") == ""
        page.type(model="openai/mine")
        assert page.note("config", "model") == "OPENAI_API_KEY is not set, and openai/mine needs it"
        assert page.errors == set()
        page.type(name="bob", api_key="os.environ/MINE")
        assert page.note("config", "model") == "MINE is not set, and openai/mine needs it"
        assert page.parts["ready"]


async def test_prices_contexts_and_servers_are_looked_up_in_a_thread() -> None:
    threads = []

    def servers(configs: object) -> list[ModelChoice]:
        threads.append(threading.current_thread())
        return [ModelChoice("ollama/mine", "ollama on this machine", READY)]

    async with NotebookRuntime(environ={"OPENAI_API_KEY": "x"}) as rt:
        rt.models["offline/desk"] = rt.models.open(AIConfig(model="offline/echo"))
        page = FormPage(WatchedForm(rt, find_tool, servers=servers))
        await part_of(page.form, "models").wait()
        page.take()
        about = {one["model"]: one["about"] for one in page.parts["models"] if one["group"] == READY}
        assert [*about][:4] == ["offline/echo", "offline/desk", "ollama/mine", "openai/gpt-4o-mini"]
        assert about["openai/gpt-4o-mini"] == "$0.15 in, $0.60 out · 128k context"
        assert {name.partition("/")[0] for name in about} == {"offline", "ollama", "openai"}
        page.type(model="anthropic/claude-haiku-4-5", api_key="os.environ/OPENAI_API_KEY")
        assert page.note("config", "model").startswith("for a million tokens: $")
    assert threading.main_thread() not in threads


class Server(BaseHTTPRequestHandler):
    """Lists a model in OpenAI's format."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": "tiny"}]}).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_servers_of_the_environment_and_of_agents_are_asked_for_their_models() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/v1"
        keys = Keys({"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": base})
        found = server_choices(keys, [AIConfig(model="vllm/mine", api_base=f"{base}/")])
        server.shutdown()
    told = [ModelChoice("openai/tiny", f"at {base}", READY), ModelChoice("vllm/tiny", f"at {base}/", READY)]
    assert [one for one in found if one.model.endswith("tiny")] == told
    listed = provider_choices(keys, {"openai/gpt-4o": "$1 in, $2 out"})
    assert not any(one.model.startswith("openai/") for one in listed), "they are not on that server"


async def test_a_problem_of_the_default_model_is_shown_beside_the_model() -> None:
    async with NotebookRuntime(environ={"WHISPER_MODEL": "bad"}) as rt:
        page = FormPage(WatchedForm(rt, find_tool))
        page.type(name="bob")
        assert page.note("config", "model").startswith("WHISPER_MODEL 'bad' is not provider/model")
        page.click("create")
        assert page.status.startswith("WHISPER_MODEL 'bad'")
        assert rt.sessions == ()
        page.type(model="offline/echo")
        assert page.note("config", "model").startswith("offline/echo repeats")


def test_an_offline_model_has_no_parameters(page: FormPage, runtime: NotebookRuntime) -> None:
    page.type(name="bob", temperature="9")
    assert not page.parts["ready"]
    page.type(model="offline/echo")
    assert {name for name in page.shown if name.startswith("config.")} == {"config.model"}
    page.click("create")
    assert runtime["bob"].agent.config == AIConfig(model="offline/echo")
    page.type(model="openai/x")
    assert {"config.api_base", "config.api_key", "config.temperature", "config.extra"} <= page.shown
    assert not page.parts["ready"]


async def test_fields_that_a_model_does_not_accept_are_hidden(runtime: NotebookRuntime) -> None:
    threads = []

    def takes(model: str) -> frozenset[str] | None:
        threads.append(threading.current_thread())
        return {"openai/a": frozenset({"seed", "stop"}), "openai/b": None}[model]  # KeyError: it fails

    page = FormPage(WatchedForm(runtime, find_tool, takes=takes))
    page.type(name="bob", temperature="0.5", seed="4")
    everything = page.shown
    for model, hidden in [("openai/a", True), ("openai/b", False), ("openai/a", True), ("openai/c", False)]:
        shown = part_of(page.form, "hidden")
        page.type(model=model)
        await shown.wait()
        page.take()
        assert page.shown == (everything - OF_SOME if hidden else everything)
        assert ("temperature" in page.parts["yaml"]) == (not hidden)
    assert threading.main_thread() not in threads


async def test_a_late_answer_is_dropped(runtime: NotebookRuntime) -> None:
    asked: list[str] = []
    go_on = threading.Event()

    def takes(model: str) -> frozenset[str]:
        asked.append(model)
        go_on.wait(100)
        return frozenset({"stop" if model == "openai/last" else "seed"})

    page = FormPage(WatchedForm(runtime, find_tool, takes=takes))
    shown = part_of(page.form, "hidden")
    for model in ("openai", "openai/first", "openai/second", "openai/last"):
        page.type(model=model)
    assert not shown.is_set()
    go_on.set()
    await shown.wait()
    page.take()
    assert asked == ["openai/first", "openai/last"]
    assert "config.stop" in page.shown
    assert "config.seed" not in page.shown


# Functions


def test_the_functions_of_cells_are_listed_and_followed(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.run("def count(path: str) -> int:\n    'Count the rows.\\n\\nMore.'\n_hidden = 1\nalias = count")
    form = notebook.runtime.new_agent_form()
    monkeypatch.setattr(form, "_servers", None)
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(form, "send", lambda content, buffers=None: sent.append(content))
    settle = notebook.runtime.settle
    notebook.shell.events.register("post_run_cell", settle)
    notebook.run("pass")
    assert sent == []  # no page shows it
    hello = {"do": "hello", "view": "view1", "id": 1}
    form._handle_msg({"content": {"data": {"method": "custom", "content": hello}}, "buffers": []})
    (shown,) = [one["parts"]["tools"] for one in sent if one["kind"] == "all"]
    assert shown == [{"name": "count", "signature": "(path: str) -> int", "about": "Count the rows."}]
    notebook.run("@functools.cache\ndef add(): ...\n".join(["import functools\n", ""]))
    assert [one["name"] for one in sent[-1]["parts"]["tools"]] == ["add", "count"]
    count = len(sent)
    notebook.run("pass")
    assert not any(one["parts"] for one in sent[count:])
    notebook.shell.events.unregister("post_run_cell", settle)


def test_no_attribute_of_the_users_objects_is_read() -> None:
    class Frame:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

        @property
        def schema(self) -> Any:
            raise AssertionError

    tool = FunctionTool(rows)
    found = tool_choices({"frame": Frame(), "rows": tool, "_hidden": tool, "alias": rows, "five": 5})
    assert found == [ToolChoice("rows", "", "The first rows.")]


def test_wrong_entries_of_the_price_list_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = {"mode": "chat", "litellm_provider": "openai"}
    listed = {"a": 5, 5: chat, "b": {**chat, "max_input_tokens": 10**400}, "c": chat}
    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(model_cost=listed))
    assert [*listed_models.__wrapped__()] == ["openai/c"]


def test_objects_that_raise_spoil_no_choice() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    class Proxy:
        @property
        def __class__(self) -> Any:
            raise RuntimeError("unbound")

    def by_default(frame: Any = Odd(), most: int = 5) -> None: ...  # noqa: B008
    def annotated(frame: Odd()) -> None: ...  # type: ignore[valid-type]
    def looped() -> None: ...

    by_default.__annotations__.clear()
    annotated.__annotations__["frame"] = Odd()
    looped.__wrapped__ = looped  # type: ignore[attr-defined]
    functions = {"by_default": by_default, "annotated": annotated, "looped": looped}
    for function in functions.values():
        function.__module__ = "__main__"
    found = tool_choices({**functions, "proxy": Proxy()})
    assert found == [ToolChoice("annotated", "", ""), ToolChoice("by_default", "(frame=…, most=5)", "")]


def test_functions_are_offered_as_given(runtime: NotebookRuntime) -> None:
    choice = ToolChoice("rows", "(path: str)", "Count.")
    page = FormPage(WatchedForm(runtime, find_tool, tools=lambda: [choice]))
    assert page.parts["tools"] == [{"name": "rows", "signature": "(path: str)", "about": "Count."}]


# Pages


def test_only_what_differs_is_sent(page: FormPage) -> None:
    page.type(name="bob")
    before = len(page.form.sent)
    page.type(role="a")
    form, done = page.form.sent[before:]
    assert (form["texts"], done["kind"]) == ({"role": "a"}, "done")
    assert form["parts"].keys() == {"yaml", "python"}


def test_views_follow_each_other_and_python(page: FormPage) -> None:
    other = FormPage(page.form, "view2")
    page.type(name="bob")
    page.form.fill(role="x")
    other.take()
    assert (other.texts["name"], other.texts["role"]) == ("bob", "x")
    page.click("bye")
    other.click("bye")
    count = len(page.form.sent)
    page.form.fill(role="y")
    assert len(page.form.sent) == count
    page.click("hello")
    assert page.texts["role"] == "y"


def test_only_the_newest_views_are_remembered(page: FormPage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        page.form.ask("ping", view=f"view{number}")
    assert [*page.form._views] == [f"view{number}" for number in range(12, 20)]
    sent: list[int] = []
    monkeypatch.setattr(page.form, "send_state", lambda: sent.append(1))
    page.form.hear({"method": "request_state"})
    assert sent == [1]


def test_messages_have_valid_text(page: FormPage) -> None:
    page.type(**{path[-1]: HOSTILE for path in FIELDS})
    page.type(name="bob", tools=HOSTILE, model=HOSTILE)
    page.type(
        **{path[-1]: "" for path in FIELDS if path != ("name",)} | {"description": HOSTILE, "system_prompt": HOSTILE}
    )
    assert "onerror" in page.parts["yaml"]
    json.dumps(page.form.sent, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"do": "create"},
        {"do": "create", "view": "view1", "id": 1, "more": 1},
        {"do": "create", "view": "../..", "id": 1},
        {"do": "create", "view": "view1", "id": "1"},
        {"do": "_create", "view": "view1", "id": 1},
        {"do": "type", "view": "view1", "id": 1, "texts": {"gone": "x"}},
        {"do": "type", "view": "view1", "id": 1, "texts": {"name": 5}},
        {"do": "type", "view": "view1", "id": 1, "texts": {"name": "x" * 2_000_000}},
        {"do": "type", "view": "view1", "id": 1, "texts": ["name"]},
        {"do": "load", "view": "view1", "id": 1, "file": None},
        {"do": ["create"], "view": "view1", "id": 1},
    ],
)
def test_a_message_that_is_no_request_is_dropped(page: FormPage, content: object) -> None:
    page.type(name="bob")
    state, count = page.form.get_state(), len(page.form.sent)
    page.form.hear({"method": "custom", "content": content})
    page.form.hear({"method": "custom", "content": {"do": "create", "view": "view1", "id": 1}}, buffers=[b"x"])
    page.form.hear({"method": "update", "state": {"_esm": "evil"}, "buffer_paths": []})
    page.form.hear(content)
    assert (page.form.get_state(), len(page.form.sent)) == (state, count)
    assert page.form._runtime.sessions == ()


def test_an_unexpected_error_is_logged_and_told(
    page: FormPage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page.form, "_do_create", lambda view: 1 / 0)
    page.click("create")
    assert page.status == "create failed; see the kernel's log"
    assert "the form cannot create" in caplog.text
    caplog.clear()


def test_very_long_values_give_an_error_and_are_shown_in_part(page: FormPage) -> None:
    for name in ("name", "tools", "system_prompt", "temperature", "api_base"):
        page.type(**{name: "x" * 300_000})
        path = (name,) if name in page.texts else ("config", name)
        assert page.note(*path).startswith(f"{name} is too long")
        page.type(**{name: ""})
    page.type(name="bob", tools=", ".join(["five"] * 1_000), system_prompt="x" * 100_000)
    assert len(page.note("tools")) < 1_100
    page.type(tools="")
    assert page.parts["ready"]
    assert len(page.parts["yaml"]) < 25_000


def test_a_typed_key_is_removed_and_sent_nowhere(page: FormPage) -> None:
    for text in ("o", "os.environ/", "os.environ/MINE", "${MINE}", ""):
        page.type(api_key=text)
        assert page.texts["config.api_key"] == text
        assert page.note("config", "api_key") == "" or text in ("o", "os.environ/")
    page.type(name="bob", model="openai/x", api_key=CANARY)
    assert page.texts["config.api_key"] == ""
    assert page.note("config", "api_key").startswith("removed: it was not os.environ/NAME")
    page.click("create")
    page.click("save")
    page.click("hello")
    assert CANARY[:12] not in json.dumps([page.form.sent, str(page.form.get_state())])
    page.type(api_key="os.environ/MINE")
    assert "removed" not in page.note("config", "api_key")


def test_classes_of_data_are_offered_as_types_of_answers() -> None:
    @dataclass
    class Verdict:
        fits: bool
        why: str

    class City(BaseModel):
        name: str

    class Row(TypedDict):
        text: str

    class Color(Enum):
        RED = "red"

    class Helper:
        fits: bool

    class Meta(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise RuntimeError

    class Odd(metaclass=Meta):
        pass

    classes: list[type] = [Verdict, City, Row, Color, Helper]
    for one in classes:
        one.__module__ = "__main__"
    namespace = {one.__name__: one for one in classes} | {"Alias": Verdict, "_Hidden": City, "Odd": Odd, "five": 5}
    found = {one.name: one.about for one in type_choices(namespace)}
    assert found.items() >= {"Verdict": "fits, why", "City": "name", "Row": "text", "Color": "RED"}.items()
    assert {"list[City]", "int", "list[str]"} <= found.keys()
    assert not {"Helper", "Alias", "_Hidden", "Odd", "five"} & found.keys()


def test_a_type_of_answers_is_chosen_by_its_name(notebook: Notebook) -> None:
    notebook.shell.run_cell(
        "from dataclasses import dataclass\n@dataclass\nclass Verdict:\n    fits: bool\n    why: str\n"
    )
    form = notebook.runtime.new_agent_form()
    form.fill(name="amy", output_type="list[Verdikt]")
    with pytest.raises(
        ConfigError, match="output type 'Verdikt' is not defined in this notebook; did you mean 'Verdict'"
    ):
        form.create()
    form.fill(output_type="list[Verdict]")
    assert form.create().startswith("amy is ready")
    output = notebook.runtime["amy"].agent.output_type
    assert output
    (answer,) = output.check('[{"fits": true, "why": "it does"}]').value
    assert (type(answer).__name__, answer.fits) == ("Verdict", True)
    python = form._parts["python"]
    assert "output_type=list[Verdict]" in python
    assert "output_type: list[Verdict]" in form._parts["yaml"]
    revision = notebook.runtime["amy"].revision
    notebook.shell.run_cell(python)
    assert notebook.runtime["amy"].revision == revision, "the same spec"


@pytest.mark.parametrize("text", ["Literal['yes', 'no']", "None", "int | None", "dict[str, float]"])
def test_a_type_without_a_class_gives_python_that_runs(page: FormPage, text: str) -> None:
    page.type(name="amy", output_type=text)
    assert page.errors == set()
    made = from_python(page.parts["python"]).output_type
    assert made
    assert made.label == text
