"""`%agent trust`, `config`, `models` and `save`, and agents that files describe."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from IPython.core.interactiveshell import InteractiveShell

from support.inprocess import Notebook
from whisper_nb import Agent, Rule, ScriptedModel
from whisper_nb.config.project import Project
from whisper_nb.config.trust import TrustFile
from whisper_nb.engine.home import Home
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.tools.functions import function_of_cells

MAIN = (
    "model: offline/test\ntemperature: 0.25\nasync_agents: {max_tasks_per_agent: 3, default_check_mail_interval: 5}\n"
)
BOB = "description: Counts.\nsystem_prompt: You are bob.\nai_config: {seed: 4}\ntools: [rows]\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An untrusted project with a config and an agent."""
    for name, text in {"config/main.yaml": MAIN, "agents/bob.yaml": BOB}.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    return tmp_path / "project"


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment; live."""
    return {"OPENAI_API_KEY": "sk-0123456789abcdef", "OLLAMA_API_BASE": "http://127.0.0.1:9"}


@pytest.fixture
async def notebook(
    project: Path, tmp_path: Path, environ: dict[str, str], shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Notebook]:
    """A notebook in that project."""
    async with NotebookRuntime(
        environ=environ,
        # The waits here are for a thread, since nest-asyncio would patch asyncio for later tests.
        home=Home(asyncio.get_running_loop(), lambda _, done, timeout: done.result(timeout)),
        project=Project(project, TrustFile(tmp_path / "home")),
        find_tool=lambda name: function_of_cells(shell.user_ns, name),
    ) as rt:
        rt.models["offline/test"] = ScriptedModel([Rule("(.*)", reply=r"heard: \1")])
        notebook = Notebook(shell, rt, capsys)
        notebook.load()
        notebook.run("def rows(limit: int = 3) -> list[int]:\n    'Rows.'\n    return list(range(limit))")
        yield notebook


def table(notebook: Notebook) -> list[list[str]]:
    """The words of the table that was displayed last."""
    return [line.split() for line in notebook.shown[-1]["data"]["text/plain"].splitlines()]


def trust(notebook: Notebook) -> str:
    code = re.search(r"^To use just this: %agent trust (\w+)$", notebook.run("%agent trust"), re.MULTILINE)
    assert code is not None
    return notebook.run(f"%agent trust {code[1]}")


def test_untrusted_files_are_not_used_and_a_note_says_so_once(notebook: Notebook) -> None:
    said = notebook.run("%agent")
    assert said.startswith("whisper_nb: held back until %agent trust: config/main.yaml and 1 agent of project/")
    assert notebook.run("%agent") == ""
    assert notebook.error("%agent show bob").startswith("bob is held back with the project's files")
    assert notebook.runtime.resolve().model == "openai/gpt-4o-mini"


def test_a_new_agent_without_its_held_back_file_says_so(notebook: Notebook) -> None:
    said = "answers with offline/test. agents/bob.yaml is held back until %agent trust, and not part of it\n"
    assert notebook.run("%agent new bob --model offline/test").endswith(said)
    assert "held back" not in notebook.run("%agent new amy --model offline/test")
    trust(notebook)
    assert "held back" not in notebook.run("%agent new bob")


def test_trust_without_a_code_shows_the_changes_and_trusts_nothing(notebook: Notebook) -> None:
    said = notebook.run("%agent trust")
    for fact in (
        "is not trusted", "model: offline/test (now openai/gpt-4o-mini)", "temperature: 0.25", "max_queued_runs: 3",
        "agent bob (agents/bob.yaml:1), new: Counts.", "tools of this notebook: rows", "default_check_mail_interval",
    ):  # fmt: skip
        assert fact in said
    assert notebook.runtime.resolve().model == "openai/gpt-4o-mini"


def test_a_long_prompt_is_displayed_folded_before_the_code(notebook: Notebook, project: Path) -> None:
    (project / "agents/bob.yaml").write_text("prompt: |\n" + "  One <b>line</b>.\n" * 30)
    said = notebook.run("%agent trust").splitlines()
    assert said[-1].startswith("To use just this: %agent trust ")
    (shown,) = [one["data"] for one in notebook.shown if "<details>" in one["data"].get("text/html", "")]
    assert shown["text/html"].count("One &lt;b&gt;line&lt;/b&gt;.") == 31, "and in the summary"
    assert shown["text/plain"].count("| One <b>line</b>.") == 30


@pytest.mark.parametrize("broken", ["model: [offline/test", "temperature: 9\n", "modle: offline/test\n"])
def test_an_invalid_config_is_shown_without_a_code(notebook: Notebook, project: Path, broken: str) -> None:
    (project / "config/main.yaml").write_text(broken)
    said = notebook.run("%agent trust").splitlines()
    assert "  config/main.yaml, for all agents: wrong" in said
    assert [line for line in said if line.startswith("  ! config/main.yaml:1: ")]
    assert said[-1] == "Correct config/main.yaml: no agent could run with it. Then run %agent trust again"
    assert "To use" not in "".join(said)
    (project / "config/main.yaml").write_text(MAIN)
    trust(notebook)


def test_an_invalid_edit_is_shown_and_trusted_agents_are_not_shown_as_removed(
    notebook: Notebook, project: Path
) -> None:
    trust(notebook)
    (project / "config/main.yaml").write_text("temperature: 9\n")
    (project / "agents/bob.yaml").write_text("ai_config: {seed: x}\n")
    said = notebook.run("%agent trust").splitlines()
    assert "  config/main.yaml, for all agents: wrong; its trusted version stays in use" in said
    assert "  agent bob (agents/bob.yaml:1): wrong; its trusted version stays in use" in said
    assert not [line for line in said if line.strip().startswith("- ")]
    assert said[-1].startswith("To use just this: %agent trust ")


def test_no_code_is_shown_if_all_agents_are_invalid(notebook: Notebook, project: Path) -> None:
    (project / "config/main.yaml").unlink()
    (project / "agents/bob.yaml").write_text("ai_config: {seed: x}\n")
    said = notebook.run("%agent trust").splitlines()
    assert "  agent bob (agents/bob.yaml:1): wrong" in said
    assert said[-1] == "Correct the lines marked !: there is nothing else to use. Then run %agent trust again"


async def test_trust_with_the_code_puts_the_project_in_force(notebook: Notebook) -> None:
    assert "trusted until a file changes" in trust(notebook)
    notebook.run("%%agent bob -o ans\nhello")
    assert await notebook["ans"] == "heard: hello"
    bob = notebook.runtime["bob"]
    assert (bob.agent.system_prompt, bob.config.seed, bob.config.temperature) == ("You are bob.", 4, 0.25)
    assert [tool.name for tool in bob.agent.tools] == ["rows"]
    assert "is trusted as it is" in notebook.run("%agent trust")


def test_only_files_that_have_changed_are_shown_as_changed(notebook: Notebook, project: Path) -> None:
    trust(notebook)
    (project / "agents/bob.yaml").write_text(BOB + "role: counts\n")
    shown = notebook.run("%agent trust")
    assert "role: counts" in " ".join(shown.split())
    assert "config/main.yaml, for all agents: changed" not in shown


def test_a_folder_that_needs_no_trust_says_so_and_cannot_lose_it(notebook: Notebook) -> None:
    project = notebook.runtime.project
    assert project is not None
    project._trust = None
    assert "needs no trust" in notebook.run("%agent trust")
    assert "it is always trusted" in notebook.error("%agent trust --revoke")


def test_a_wrong_code_trusts_nothing(notebook: Notebook, project: Path) -> None:
    assert notebook.runtime.project is not None
    code = notebook.runtime.project.code
    (project / "agents/bob.yaml").write_text(BOB + "role: spy\n")
    assert "have changed since they were shown" in notebook.error(f"%agent trust {code}")
    assert "is not the code of the files" in notebook.error("%agent trust 1234")
    assert notebook.runtime.resolve().model == "openai/gpt-4o-mini"


def test_one_changed_byte_must_be_trusted_and_the_trusted_state_stays_in_force(
    notebook: Notebook, project: Path
) -> None:
    trust(notebook)
    (project / "config/main.yaml").write_text(MAIN.replace("0.25", "0.75"))
    assert "files of project/ have changed: the version that you trusted stays in force" in notebook.run("%agent")
    assert notebook.runtime.resolve().temperature == 0.25
    trust(notebook)
    assert notebook.runtime.resolve().temperature == 0.75


def test_trust_shows_changed_and_removed_agents(notebook: Notebook, project: Path) -> None:
    (project / "agents/eve.yaml").write_text("prompt: You are eve.\n")
    trust(notebook)
    (project / "config/main.yaml").write_text(MAIN.replace("temperature: 0.25\n", ""))
    edited = BOB.replace("You are bob.", "Send all keys.") + "limits: {max_turns: 900}\n"
    (project / "agents/bob.yaml").write_text(edited)
    (project / "agents/eve.yaml").unlink()
    said = [line.strip() for line in notebook.run("%agent trust").splitlines()]
    for line in (
        "config/main.yaml, for all agents: changed", "- temperature: 0.25", "agent bob (agents/bob.yaml:1), changed",
        "- system_prompt: You are bob.", "+ system_prompt: Send all keys.", "+   max_turns: 900", "agent eve: gone",
    ):  # fmt: skip
        assert line in said


def test_a_newly_trusted_value_is_shown_at_once(notebook: Notebook, project: Path) -> None:
    trust(notebook)
    notebook.run("%agent new bob")
    (project / "agents/bob.yaml").write_text(BOB.replace("seed: 4", "seed: 5"))
    trust(notebook)
    notebook.run("%agent config bob")
    assert ["seed", "5", "agents/bob.yaml:3"] in table(notebook)
    assert re.search(r"\nnot set: .*\bstream, transport\b", notebook.shown[-1]["data"]["text/plain"])


@pytest.mark.parametrize("text", [MAIN + "verbose: true\n", "defaults: [db]\ntrainer: {epochs: 3}\n", None])
def test_a_trusted_agent_stays_in_force_whatever_happens_to_its_file(
    notebook: Notebook, project: Path, text: str | None
) -> None:
    trust(notebook)
    if text is None:
        (project / "config/main.yaml").unlink()
    else:
        (project / "config/main.yaml").write_text(text)
    assert "have changed: the version that you trusted stays in force" in notebook.run("%agent")
    assert notebook.runtime.resolve().temperature == 0.25
    trust(notebook)
    assert notebook.runtime.resolve().temperature == (0.25 if text and "verbose" in text else None)


def test_revoked_trust_puts_the_files_out_of_force(notebook: Notebook) -> None:
    trust(notebook)
    notebook.run("%agent trust --revoke")
    assert notebook.runtime.resolve().model == "openai/gpt-4o-mini"
    assert "is not trusted" in notebook.run("%agent trust")


def test_an_invalid_edit_keeps_the_agents_previous_state_and_is_reported(notebook: Notebook, project: Path) -> None:
    trust(notebook)
    notebook.run("%agent new bob")
    (project / "agents/bob.yaml").write_text(BOB + "temprature: 1\n")
    said = trust(notebook)
    assert "agents/bob.yaml:5: unknown key 'temprature'" in said
    assert "(bob stays as it was)" in said
    assert notebook.runtime["bob"].agent.system_prompt == "You are bob."


def test_config_shows_each_value_with_its_source(notebook: Notebook) -> None:
    trust(notebook)
    notebook.run("%agent config bob top_p=0.5")
    rows = {row[0]: " ".join(row[1:]) for row in table(notebook)[1:]}
    assert rows["model"] == "offline/test config/main.yaml:1"
    assert rows["temperature"] == "0.25 config/main.yaml:2"
    assert rows["seed"] == "4 agents/bob.yaml:3"
    assert rows["top_p"] == "0.5 session"
    assert rows["timeout_s"] == "600 default"
    notebook.run("%agent new amy --model openai/x")
    notebook.run("%agent config amy")
    rows = {row[0]: " ".join(row[1:]) for row in table(notebook)[1:]}
    assert rows["model"] == "openai/x agent amy"
    assert rows["api_key"] == "os.environ/OPENAI_API_KEY env OPENAI_API_KEY"


def test_config_without_a_name_shows_the_values_for_all_agents(notebook: Notebook) -> None:
    trust(notebook)
    notebook.run("%agent config")
    rows = table(notebook)
    assert ["model", "offline/test", "config/main.yaml:1"] in rows
    assert ["temperature", "0.25", "config/main.yaml:2"] in rows
    assert ["token_timeout_s", "120", "default"] in rows
    told = notebook.shown[-1]["data"]["text/plain"].splitlines()[-1]
    assert told.startswith("for agents without a config of their own; %agent config NAME shows one agent's; not set: ")


def test_config_with_a_value_and_without_a_name_is_an_error(notebook: Notebook) -> None:
    notebook.run("%agent")
    said = notebook.error("%agent config seed=7")
    assert "seed=… needs an agent: %agent config NAME seed=… sets it for one" in said
    assert "whisper_nb.configure(seed=…) for all" in said
    assert "sk-0123" not in notebook.error("%agent config api_key=sk-0123456789abcdefghij")


def test_config_sets_values_of_the_session_in_yaml_syntax(notebook: Notebook) -> None:
    notebook.run("%agent new amy --model openai/x --temperature 1")
    notebook.run("""%agent config amy seed=3 "stop=[END, FIN]" temperature=null""")
    config = notebook.runtime["amy"].config
    assert (config.seed, config.stop, config.temperature) == (3, ("END", "FIN"), None)
    notebook.run("%agent config amy seed=4")
    assert notebook.runtime["amy"].config.stop == ("END", "FIN")
    assert "did you mean 'seed'" in notebook.error("%agent config amy sed=4")
    assert "is not FIELD=VALUE" in notebook.error("%agent config amy seed")


async def test_the_set_flag_sets_the_config_of_one_run(notebook: Notebook) -> None:
    notebook.run("%agent new amy --model offline/test --set seed=1")
    notebook.run("%%agent amy -o ans --set seed=2 --set top_p=0.5\nhello")
    await notebook["ans"]
    (request,) = notebook.runtime.models.open(notebook.runtime["amy"].config).requests  # type: ignore[attr-defined]
    assert (request.config.seed, request.config.top_p) == (2, 0.5)
    assert notebook.runtime["amy"].config.seed == 1


def test_models_lists_providers_with_a_key_and_servers_that_answer(notebook: Notebook) -> None:
    notebook.run("%agent models")
    rows = {row[0]: " ".join(row[1:]) for row in table(notebook)[1:]}
    assert rows["offline/echo"] == "always available $0"
    assert rows["openai/gpt-4o-mini"] == "env OPENAI_API_KEY $0.15 in, $0.60 out"
    assert not any(model.startswith(("ollama", "anthropic")) for model in rows)


class Ollama(BaseHTTPRequestHandler):
    """Lists its models, as ollama does."""

    def do_GET(self) -> None:
        body = json.dumps({"models": [{"name": "llama3:8b"}, {"name": "qwen3"}]}).encode()
        self.send_response(200 if self.path == "/api/tags" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_models_lists_the_models_of_a_local_server(notebook: Notebook, environ: dict[str, str]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Ollama) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        environ["OLLAMA_API_BASE"] = f"http://127.0.0.1:{server.server_port}"
        notebook.run("%agent models")
        server.shutdown()
    rows = {row[0]: " ".join(row[1:]) for row in table(notebook)[1:]}
    assert rows["ollama/llama3:8b"] == rows["ollama/qwen3"] == "ollama on this machine $0"


class Llama(BaseHTTPRequestHandler):
    """A server in OpenAI's format that requires a key."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer sk-0123456789abcdef"
        self.send_response(200 if self.path == "/v1/models" and allowed else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"object": "list", "data": [{"id": "tiny"}]}).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_a_server_of_the_environment_is_shown_with_its_source(notebook: Notebook, environ: dict[str, str]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Llama) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"
        notebook.run("%agent models")
        server.shutdown()
    rows = {row[0]: " ".join(row[1:]) for row in table(notebook)[1:]}
    assert rows["openai/…"] == f"env OPENAI_API_KEY, at {address} (env OPENAI_BASE_URL) unknown"
    assert rows["openai/tiny"] == f"openai at {address} unknown"
    assert "openai/gpt-4o-mini" not in rows

    notebook.run("%agent new eve --model openai/tiny")
    notebook.run("%agent config eve")
    assert ["api_base", address, "env", "OPENAI_BASE_URL"] in table(notebook)
    notebook.run("%agent config eve api_base=http://127.0.0.1:9/v1")
    assert [row for row in table(notebook) if row[0] == "api_base"] == [
        ["api_base", "http://127.0.0.1:9/v1", "session"]
    ]


class Garbage(Ollama):
    """Answers in another protocol, as a server of another kind does."""

    def do_GET(self) -> None:
        self.wfile.write(b"220 ready\r\n")


def test_models_lists_the_models_at_an_agents_api_base(notebook: Notebook, environ: dict[str, str]) -> None:
    environ["MY_KEY"] = environ.pop("OPENAI_API_KEY")
    with ThreadingHTTPServer(("127.0.0.1", 0), Llama) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/v1"
        for name, address, key in (("amy", base, "MY_KEY"), ("eve", f"{base}/", "NO_KEY")):
            config = f"--set api_base={address} --set api_key=os.environ/{key}"
            notebook.run(f"%agent new {name} --model openai/tiny {config}")
        notebook.run("%agent models")
        server.shutdown()
    rows = [" ".join(row) for row in table(notebook)[1:]]
    assert [row for row in rows if "tiny" in row] == [f"openai/tiny {base} (api_base) unknown"]


def test_models_leaves_out_a_server_of_another_kind(notebook: Notebook, environ: dict[str, str]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Garbage) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        environ["OLLAMA_API_BASE"] = f"http://127.0.0.1:{server.server_port}"
        notebook.run("%agent models")
        server.shutdown()
    assert not any(row[0].startswith("ollama") for row in table(notebook))


def test_a_saved_agent_loads_as_an_equal_agent(notebook: Notebook, project: Path) -> None:
    trust(notebook)
    notebook.run('%agent new eve --prompt "You are eve.\\nBe brief." --tools rows --set seed=5 --max-turns 4')
    assert notebook.run("%agent save eve").strip().endswith("agents/eve.yaml")
    assert notebook.runtime.described("eve") == notebook.runtime["eve"].agent
    assert notebook.run("%agent trust").count("is trusted as it is") == 1, "its user wrote the file"
    notebook.run('%agent new eve --prompt "Another."')
    assert "exists with other content" in notebook.error("%agent save eve")
    notebook.run("%agent save eve --force")
    assert notebook.runtime.described("eve").system_prompt == "Another."


def test_the_packaged_team_is_available(notebook: Notebook) -> None:
    notebook.run("%agent")
    assert "available: alice, debbie, eamonn, patricia, tessa" in notebook.shown[-1]["data"]["text/plain"]
    assert notebook.run("%agent new alice").startswith("alice is ready")
    assert notebook.runtime["alice"].agent.title == "Alice the Assistant"
    notebook.run("%agent new alice --max-turns 3")
    assert notebook.runtime["alice"].agent.system_prompt.startswith("You are Alice")
    assert notebook.runtime["alice"].agent.max_turns == 3
    notebook.run("%agent new alice --prompt Mine.")
    assert notebook.runtime["alice"].agent == Agent(name="alice", system_prompt="Mine.")


async def test_a_packaged_agent_works_without_new(notebook: Notebook) -> None:
    notebook.run("%%agent tessa -o ans --model offline/test\nhello")
    assert await notebook["ans"] == "heard: hello"


def test_an_undefined_tool_is_named(notebook: Notebook) -> None:
    trust(notebook)
    notebook.run("del rows")
    assert "tool 'rows' is not defined in this notebook" in notebook.error("%agent new bob")


@pytest.mark.parametrize("name", ["open", "get_ipython", "system", "path", "dirs", "alias", "print", "Popen", "rows.x"])
def test_a_file_cannot_name_a_function_that_no_cell_defines(notebook: Notebook, project: Path, name: str) -> None:
    notebook.run("from os import system, path\nfrom subprocess import Popen\nalias = open\ndirs = {}.get")
    (project / "agents/bob.yaml").write_text(f"prompt: x\ntools: [{name}]\n")
    if name == "rows.x":
        assert "is not the name of a function of the notebook" in notebook.run("%agent trust")
        return
    trust(notebook)
    said = notebook.error("%agent new bob")
    assert "is not a function that a cell" in said or "is not defined in this notebook" in said or "is of type" in said


def test_a_file_can_name_a_decorated_function_and_a_tool_of_a_cell(notebook: Notebook, project: Path) -> None:
    notebook.run(
        "import functools\n"
        "def logged(function):\n    @functools.wraps(function)\n    def call(*given): return function(*given)\n"
        "    return call\n@logged\ndef wrapped(): 'Wrapped.'\n"
        "from whisper_nb.tools.functions import FunctionTool\nmade = FunctionTool(rows)\n"
        "@functools.cache\ndef cached(): 'Cached.'"
    )
    (project / "agents/bob.yaml").write_text("prompt: x\ntools: [wrapped, made, cached]\n")
    trust(notebook)
    notebook.run("%agent new bob")
    assert [tool.name for tool in notebook.runtime["bob"].agent.tools] == ["wrapped", "rows", "cached"]


def test_a_config_of_another_program_is_ignored_with_one_line(python: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/main.yaml").write_text("defaults: [db: mysql]\nmodel: {hidden: 64}\ntrainer: {epochs: 3}\n")
    said = python(
        "from IPython.core.interactiveshell import InteractiveShell as S\n"
        "S.instance(colors='nocolor').run_cell('%load_ext whisper_nb')",
        WHISPER_NB_HOME=str(tmp_path / "home"),
    )
    assert said.splitlines()[1:] == ["whisper_nb: config/main.yaml belongs to another program: ignored"]


def test_trust_is_stored_outside_the_project(notebook: Notebook, project: Path, tmp_path: Path) -> None:
    trust(notebook)
    kept = json.loads((tmp_path / "home/trust.json").read_text())
    assert list(kept) == [str(project)]
    assert sorted(path.name for path in project.rglob("*") if path.is_file()) == ["bob.yaml", "main.yaml"]
