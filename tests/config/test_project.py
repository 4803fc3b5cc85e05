"""A project: its files in force, and how a Runtime uses them."""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.doubles import HeldModel, settled
from support.hostile import put
from whisper_nb import Agent, AIConfig, ConfigError, Rule, RunFailed, Runtime, ScriptedModel, Session
from whisper_nb.config.files import Files
from whisper_nb.config.paths import packaged, project_root, user_folder
from whisper_nb.config.project import Project, package, parse_project
from whisper_nb.config.trust import TrustFile
from whisper_nb.config.yamlfile import dump_yaml
from whisper_nb.core.events import Noticed

BOB = "system_prompt: One.\nai_config:\n  model: offline/bob\n  seed: 1\n"
MAIN = "temperature: 0.25\n"


def edit(path: Path, text: str) -> None:
    """Write a file again, with a later modification time, as a user does."""
    after = path.stat().st_mtime_ns + 1_000_000_000 if path.exists() else None
    path.write_text(text, encoding="utf-8")
    if after:
        os.utime(path, ns=(after, after))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a config and an agent."""
    put(tmp_path, "project/config/main.yaml", MAIN)
    put(tmp_path, "project/agents/bob.yaml", BOB)
    return tmp_path / "project"


@pytest.fixture
def home(tmp_path: Path) -> TrustFile:
    """The user's folder."""
    return TrustFile(tmp_path / "home")


@pytest.fixture
def project(root: Path, home: TrustFile) -> Project:
    """The project when the user opens it for the first time."""
    project = Project(root, home)
    project.refresh()
    return project


@pytest.fixture
async def rt(project: Project, complaints: list[str]) -> AsyncIterator[Runtime]:
    """A runtime in that project, untrusted."""
    async with Runtime(environ={}, project=project) as rt:
        rt.refresh()
        yield rt


@pytest.fixture
def trusted(rt: Runtime) -> Runtime:
    """A runtime in that project, trusted."""
    trust(rt)
    return rt


def trust(rt: Runtime) -> list[str]:
    """Trust the files' present contents. Return the notes for the user."""
    assert rt.project is not None
    rt.refresh()
    rt.trust(rt.project.code)
    return rt.refresh()


def prompt_of(rt: Runtime, name: str = "bob") -> str:
    return rt.described(name).system_prompt


# Finding the project


@pytest.mark.parametrize(
    ("files", "start", "found"),
    [
        (["a/agents/x.yaml"], "a/b/c", "a"),
        (["a/config/main.yaml"], "a/b/c", "a"),
        (["a/agents/x.yaml", "a/b/agents/x.yaml"], "a/b/c", "a/b"),
        (["a/agents/x.yaml", "a/b/.git/HEAD"], "a/b/c", "a"),
        (["a/.git/HEAD"], "a/b/c", "a"),
        (["a/pyproject.toml"], "a/b/c", "a"),
        (["a/pyproject.toml", "a/b/.git/HEAD"], "a/b/c", "a/b"),
        (["a/config/other.yaml", "a/x.yaml"], "a/b/c", "a/b/c"),
        (["a/b/c/d/agents/x.yaml"], "a/b/c", "a/b/c"),
        (["other/agents/x.yaml"], "a/b/c", "a/b/c"),
    ],
)
def test_the_project_is_the_nearest_folder_with_its_files(
    tmp_path: Path, files: list[str], start: str, found: str
) -> None:
    (tmp_path / start).mkdir(parents=True)
    for name in files:
        put(tmp_path, name, "")
    assert project_root(tmp_path / start) == tmp_path / found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_an_unreadable_folder_is_not_a_project(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir(mode=0)
    assert project_root(tmp_path) == tmp_path


def test_the_package_has_its_files() -> None:
    assert (packaged() / "config/main.yaml").is_file()
    assert package().problems == ()
    assert {"alice", "debbie", "eamonn", "patricia", "tessa"} <= package().team.keys()


def test_the_user_folder_can_be_set_by_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder({"WHISPER_NB_HOME": "/somewhere"}) == Path("/somewhere")
    assert user_folder({"WHISPER_NB_HOME": "~/there"}) == tmp_path / "there"
    for environ in ({}, {"WHISPER_NB_HOME": ""}):
        assert user_folder(environ).name == "whisper_nb"


# Trust


def test_nothing_is_in_force_before_the_user_trusts_it(project: Project) -> None:
    assert project.held_back
    assert not project.used
    assert (list(project.found.team), project.found.problems) == (["bob"], ())
    assert project.news() == ["held back until %agent trust: config/main.yaml and 1 agent of project/"]
    assert project.news() == []


def test_a_trusted_project_is_in_force_in_the_next_notebook(project: Project, root: Path, home: TrustFile) -> None:
    project.trust(project.code)
    assert not project.held_back
    again = Project(root, home)
    again.refresh()
    assert (again.held_back, list(again.used.team)) == (False, ["bob"])
    assert again.news() == []


CHANGES = {
    "one byte": ("agents/bob.yaml", BOB.replace("One", "Two")),
    "a comment": ("config/main.yaml", MAIN + "#\n"),
    "another agent": ("agents/amy.yaml", "system_prompt: x\n"),
    "a prompt that nobody names": ("agents/prompts/x.md", "x"),
    "the same words elsewhere": ("agents/bob.yml", BOB),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_must_be_trusted_and_the_trusted_state_stays_in_force(
    project: Project, root: Path, home: TrustFile, change: str
) -> None:
    code = project.code
    project.trust(code)
    project.news()
    name, text = CHANGES[change]
    (root / name).parent.mkdir(exist_ok=True)
    edit(root / name, text)
    project.refresh()
    assert (project.held_back, project.code != code) == (True, True)
    assert project.used.team["bob"].agent == Agent(
        name="bob", system_prompt="One.", config=AIConfig(model="offline/bob", seed=1)
    )
    assert project.news() == [
        "files of project/ have changed: the version that you trusted stays in force; %agent trust shows the changes"
    ]
    fresh = Project(root, home)
    fresh.refresh()
    assert (fresh.held_back, bool(fresh.used)) == (True, False)


def test_a_deleted_file_must_be_trusted(project: Project, root: Path) -> None:
    project.trust(project.code)
    (root / "config/main.yaml").unlink()
    project.refresh()
    assert (project.held_back, project.used.main is not None) == (True, True)
    put(root, "config/main.yaml", MAIN)
    project.refresh()
    assert not project.held_back, "it says again what was trusted"


@pytest.mark.parametrize("code", ["", "0", "00000000", "zzzzzzzz", "{:.7}", "{} ", "{}z", "{}{}"])
def test_a_wrong_code_trusts_nothing(project: Project, code: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the code of the files in .*project"):
        project.trust(code.format(project.code, project.code))
    assert project.held_back


def test_the_code_may_be_longer_and_in_upper_case(project: Project) -> None:
    assert len(project.code) == 16, "64 bits"
    project.trust(project.found.files.digest.upper()[:20])
    assert not project.held_back


def test_a_change_after_the_code_was_shown_is_not_trusted(project: Project, root: Path) -> None:
    shown = project.code
    edit(root / "agents/bob.yaml", BOB.replace("One", "Two"))
    with pytest.raises(ConfigError, match="have changed since they were shown"):
        project.trust(shown)
    assert (project.held_back, bool(project.used)) == (True, False)


def test_only_files_that_this_kernel_has_shown_can_be_trusted(project: Project, root: Path, home: TrustFile) -> None:
    other = Project(root, home)
    other.refresh()
    with pytest.raises(ConfigError, match="this kernel has not shown the files of"):
        other.trust(project.code)
    shown = project.code
    edit(root / "agents/bob.yaml", BOB.replace("One", "Two"))
    with pytest.raises(ConfigError, match="is not the code of the files"):
        project.trust(project.review().code)  # of the present files, as somebody else may have told it
    edit(root / "agents/bob.yaml", BOB)
    project.trust(shown)
    assert not project.held_back


def test_a_change_that_is_undone_is_trusted(project: Project, root: Path) -> None:
    project.trust(project.code)
    edit(root / "agents/bob.yaml", "system_prompt: Two.\n")
    project.refresh()
    edit(root / "agents/bob.yaml", BOB)
    project.refresh()
    assert not project.held_back


def test_a_copy_of_a_trusted_folder_is_not_trusted(project: Project, tmp_path: Path, home: TrustFile) -> None:
    project.trust(project.code)
    for name in ("copy", "project/sub"):
        put(tmp_path, f"{name}/config/main.yaml", MAIN)
        put(tmp_path, f"{name}/agents/bob.yaml", BOB)
        copy = Project(tmp_path / name, home)
        copy.refresh()
        assert (copy.code, copy.held_back) == (project.code, True)


def test_trust_is_stored_outside_the_project(project: Project, root: Path, tmp_path: Path) -> None:
    before = sorted(root.rglob("*"))
    project.trust(project.code)
    assert sorted(root.rglob("*")) == before
    kept = json.loads((tmp_path / "home/trust.json").read_text())
    assert kept == {str(root): f"2:{project.found.files.digest}"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"/": true}'])
def test_a_corrupt_trust_file_trusts_nothing(project: Project, root: Path, tmp_path: Path, content: str) -> None:
    project.trust(project.code)
    (tmp_path / "home/trust.json").write_text(content)
    fresh = Project(root, TrustFile(tmp_path / "home"))
    fresh.refresh()
    assert (fresh.held_back, bool(fresh.used)) == (True, False)
    (told,) = [line for line in fresh.news() if "trust.json" in line]
    assert "No project is trusted, and nothing in it is changed" in told
    with pytest.raises(ConfigError, match="correct it, or move it away"):
        fresh.trust(fresh.code)
    assert ((tmp_path / "home/trust.json").read_text(), bool(fresh.used)) == (content, False)


def test_trust_that_cannot_be_stored_puts_nothing_in_force(root: Path, tmp_path: Path) -> None:
    put(tmp_path, "file", "")
    project = Project(root, TrustFile(tmp_path / "file"))
    project.refresh()
    with pytest.raises(ConfigError, match=r"cannot write .*trust"):
        project.trust(project.code)
    assert not project.used


def test_an_empty_project_needs_no_trust(tmp_path: Path, home: TrustFile) -> None:
    project = Project(tmp_path, home)
    project.refresh()
    assert (project.held_back, project.news()) == (False, [])


def test_files_of_another_program_are_named_and_ignored(tmp_path: Path, home: TrustFile) -> None:
    put(tmp_path, "config/main.yaml", "defaults: [db: mysql]\ntrainer: {epochs: 3}\n")
    put(tmp_path, "agents/service.yaml", "apiVersion: v1\nkind: Agent\n")
    put(tmp_path, "agents/README.md", "# Agents\n")
    project = Project(tmp_path, home)
    project.refresh()
    assert not project.found
    assert project.news() == [
        "config/main.yaml belongs to another program: ignored",
        "agents/service.yaml belongs to another program: ignored",
    ]


@pytest.mark.parametrize("name", ["prompts.yaml", "promptsmith.yaml", "prompts_x.md"])
def test_an_agents_name_may_begin_with_prompts(root: Path, name: str) -> None:
    put(root, f"agents/{name}", "---\nsystem_prompt: x\n---\n" if name.endswith(".md") else "system_prompt: x\n")
    project = Project(root)
    project.refresh()
    assert project.used.team.keys() == {"bob", name.partition(".")[0]}


def test_an_agent_in_two_files_is_an_error_that_names_both(root: Path) -> None:
    put(root, "agents/team.yaml", "agents:\n  bob:\n    system_prompt: x\n")
    project = Project(root)
    project.refresh()
    (problem,) = project.used.team["bob"].problems
    assert str(problem) == "agents/team.yaml:2: the agent bob is described here and in agents/bob.yaml:1: remove one"


KEYS = [
    "name", "title", "icon", "color", "prompt", "system_prompt", "prompt_file", "fragments", "ai_config", "config",
    "model", "provider", "generation_params", "params", "tools", "limits", "max_turns", "timeout_s",
    "continuation_config", "agents", "openrouter", "api_base", "api_key",
    "temperature", "stop", "extra", "async_agents", "env_file",
    "max_queued_runs",
    "hooks", "site_url", "cleared", "<<", "modle",
]  # fmt: skip
VALUES = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(st.characters(), max_size=8)
    | st.sampled_from(["openai/x", "bob", "alice.prompt.md", "notebook", "os.environ/KEY", "http://x/", "../x", "#fff"])
)  # fmt: skip
NAMES = st.sampled_from(KEYS) | st.text(max_size=5)
WITHIN = VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(NAMES, VALUES, max_size=4)
SAID = WITHIN | st.lists(WITHIN, max_size=3) | st.dictionaries(NAMES, WITHIN, max_size=6)
PATHS = st.sampled_from(["agents/x.yaml", "agents/x.md", "config/main.yaml"])


@given(
    PATHS,
    st.dictionaries(st.sampled_from(KEYS), SAID, max_size=8).map(dump_yaml) | st.text(st.characters(), max_size=40),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_any_file_is_loaded_or_an_error_with_its_place(path: str, text: str) -> None:
    text = f"---\n{text}\n---\nYou are x.\n" if path.endswith(".md") else text
    data = text.encode("utf-8", "surrogatepass")
    said = parse_project(Files(Path("/project"), {path: data}), package().files)
    lines = len(data.splitlines()) + 1
    for problem in (*said.problems, *said.warnings):
        name, _, line = problem.location.rpartition(":")
        assert (name, 1 <= int(line) <= lines) == (path, True)
    for entry in said.team.values():
        assert (entry.agent is None) == bool(entry.problems)
    if said.main:
        assert (said.main.layer is None) == bool(said.main.problems)


# A Runtime's use of a project


async def test_a_runtime_uses_no_untrusted_file(rt: Runtime) -> None:
    assert rt.resolve().temperature is None
    with pytest.raises(ConfigError, match="bob is held back with the project's files"):
        rt.described("bob")
    assert rt.create(Agent(name="bob")).agent == Agent(name="bob")
    assert rt.described("alice").title == "Alice the Assistant"


async def test_a_runtime_uses_trusted_files_from_the_next_run(rt: Runtime) -> None:
    rt.trust(rt.project.code)  # type: ignore[union-attr]
    assert rt.resolve().temperature == 0.25
    assert (prompt_of(rt), rt["bob"].config.seed) == ("One.", 1)
    assert rt.explain("bob").place("seed") == "agents/bob.yaml:4"
    assert rt.explain("bob").place("temperature") == "config/main.yaml:1"


async def test_trusting_before_the_first_run_gives_no_note_about_untrusted_files(root: Path, home: TrustFile) -> None:
    async with Runtime(environ={}, project=Project(root, home)) as rt:
        rt.trust(rt.project.code)  # type: ignore[union-attr]
        assert rt.refresh() == []


async def test_a_runtime_without_a_project_refuses_trust_and_save(runtime: Runtime) -> None:
    assert runtime.refresh() == []
    with pytest.raises(ConfigError, match="there is no project to trust"):
        runtime.trust("0" * 8)
    runtime.create(Agent(name="bob"))
    with pytest.raises(ConfigError, match="there is no project to save in"):
        runtime.save("bob")


async def test_an_edit_of_a_trusted_file_is_not_in_force_until_it_is_trusted(trusted: Runtime, root: Path) -> None:
    edit(root / "agents/bob.yaml", BOB.replace("One", "Two"))
    edit(root / "config/main.yaml", "temperature: 0.5\n")
    assert "have changed: the version that you trusted stays in force" in trusted.refresh()[0]
    assert (prompt_of(trusted), trusted.resolve().temperature) == ("One.", 0.25)
    assert trust(trusted) == []
    assert (prompt_of(trusted), trusted.resolve().temperature) == ("Two.", 0.5)


async def test_an_edit_changes_the_next_run_and_not_the_current_one(trusted: Runtime, root: Path) -> None:
    model = trusted.models["offline/bob"] = HeldModel()
    bob = trusted["bob"]
    first, second = bob.submit("first"), bob.submit("second")
    call = await model.arrived()
    edit(root / "agents/bob.yaml", BOB.replace("One.", "Two.").replace("seed: 1", "seed: 2"))
    edit(root / "config/main.yaml", "temperature: 0.5\n")
    trust(trusted)
    call.release()
    await first
    later = await model.arrived()
    later.release()
    await second
    said = [(c.request.messages[0].text, c.request.config.seed, c.request.config.temperature) for c in model.calls]
    assert said == [("One.", 1, 0.25), ("Two.", 2, 0.5)]
    assert bob.revision == 2
    assert [message.text for message in bob.history][::2] == ["first", "second"]


async def test_a_run_uses_the_trusted_state_while_an_edit_is_untrusted(trusted: Runtime, root: Path) -> None:
    model = trusted.models["offline/bob"] = HeldModel()
    bob = trusted["bob"]
    edit(root / "agents/bob.yaml", BOB.replace("One.", "Evil."))
    run = bob.submit("hello")
    (await model.arrived()).release()
    await run
    assert model.calls[0].request.messages[0].text == "One."
    (notice,) = [record.event.text for record in run.events if isinstance(record.event, Noticed)]
    assert "have changed: the version that you trusted stays in force" in notice


BAD = {
    "a key": (BOB + "temprature: 1\n", r"agents/bob\.yaml:5: unknown key 'temprature' of an agent"),
    "a value": (BOB.replace("seed: 1", "seed: x"), r"agents/bob\.yaml:4: seed 'x' is not a whole number"),
    "no YAML": (BOB + "]\n", r"agents/bob\.yaml:\d: not YAML"),
    "a prompt": ("prompt_file: gone.md\n", r"agents/bob\.yaml:1: no prompt file 'gone\.md'"),
}


@pytest.mark.parametrize("name", BAD)
async def test_an_invalid_edit_of_an_agent_keeps_its_previous_state_and_is_reported(
    trusted: Runtime, root: Path, name: str
) -> None:
    bob = trusted["bob"]
    text, message = BAD[name]
    edit(root / "agents/bob.yaml", text)
    edit(root / "config/main.yaml", "temperature: 0.5\n")
    (told,) = trust(trusted)
    assert told.endswith("(bob stays as it was)")
    assert re.match(message, told)
    assert (prompt_of(trusted), trusted.resolve().temperature) == ("One.", 0.5)
    edit(root / "agents/bob.yaml", BOB.replace("One", "Two"))
    assert trust(trusted) == []
    assert prompt_of(trusted) == "Two."
    assert trusted["bob"] is bob


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("agents/team.yaml", "agents:\n  eve: {system_prompt: Eve.}\n  ned: {system_prompt: Ned.}\n"),
        ("agents/first.yaml", "name: eve\nsystem_prompt: Eve.\n"),
        ("agents/first.md", "---\nname: eve\n---\nEve.\n"),
    ],
    ids=["many in one", "under another name", "Markdown"],
)
async def test_an_invalid_edit_of_a_file_keeps_all_its_agents(
    trusted: Runtime, root: Path, file: str, text: str
) -> None:
    put(root, file, text)
    trust(trusted)
    before = {name: trusted.described(name) for name in trusted.team}
    edit(root / file, text.replace("eve", "eve: ]"))
    told = trust(trusted)
    assert any(line.startswith(f"{file}:") for line in told)
    assert {name: trusted.described(name) for name in before} == before


async def test_an_invalid_edit_of_the_config_keeps_its_previous_state_and_is_reported(
    trusted: Runtime, root: Path
) -> None:
    edit(root / "config/main.yaml", "temperature: 9\n")
    edit(root / "agents/bob.yaml", BOB.replace("One", "Two"))
    assert trust(trusted) == [
        "config/main.yaml:1: temperature 9 is not a number from 0 to 2 (the config stays as it was)"
    ]
    assert (prompt_of(trusted), trusted.resolve().temperature) == ("Two.", 0.25)


async def test_runs_fail_with_the_place_of_an_invalid_config_until_it_is_corrected(rt: Runtime, root: Path) -> None:
    edit(root / "config/main.yaml", "temperature: 9\n")
    assert trust(rt) == ["config/main.yaml:1: temperature 9 is not a number from 0 to 2"]
    rt.create(Agent(name="amy", config=AIConfig(model="offline/echo")))
    with pytest.raises(RunFailed, match=r"config/main\.yaml:1: temperature 9 is not a number"):
        await rt["amy"].submit("hi")


async def test_a_corrected_config_takes_effect_once_it_is_trusted(rt: Runtime, root: Path) -> None:
    edit(root / "config/main.yaml", "temperature: 9\n")
    trust(rt)
    edit(root / "config/main.yaml", "temperature: 0.5\n")
    assert trust(rt) == []
    assert rt.resolve().temperature == 0.5


# Revoked trust


async def test_revoked_trust_puts_a_project_out_of_force(trusted: Runtime) -> None:
    assert trusted.project is not None
    trusted.project.distrust()
    trusted.refresh()
    assert trusted.resolve().temperature is None
    assert "bob" not in trusted.team
    assert trusted.project.held_back


async def test_revoked_trust_ends_the_use_also_if_it_cannot_be_written(trusted: Runtime, tmp_path: Path) -> None:
    assert trusted.project is not None
    (tmp_path / "home/trust.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        trusted.project.distrust()
    trusted.refresh()
    assert trusted.resolve().temperature is None


async def test_revoked_trust_ends_the_keys_and_limits_of_a_project(rt: Runtime, root: Path) -> None:
    edit(root / "config/main.yaml", "env_file: .env\nmax_queued_runs: 1\n")
    put(root, ".env", "OPENAI_API_KEY=key-of-the-project\n")
    trust(rt)
    assert rt.keys.get("OPENAI_API_KEY") == "key-of-the-project"
    rt.project.distrust()  # type: ignore[union-attr]
    rt.refresh()
    assert rt.keys.get("OPENAI_API_KEY") == ""
    rt.models["offline/held"] = HeldModel()
    amy = rt.create(Agent(name="amy", config=AIConfig(model="offline/held")))
    runs = [amy.submit("x") for _ in range(3)]
    amy.cancel()
    await settled(*runs)


async def test_revoked_trust_keeps_an_agent_of_the_project_from_calling_its_server(trusted: Runtime) -> None:
    model = trusted.models["offline/bob"] = ScriptedModel([Rule(reply="from where the file said")])
    bob = trusted["bob"]
    trusted.project.distrust()  # type: ignore[union-attr]
    run = bob.submit("hello")
    await settled(run)
    assert model.requests == []
    assert run.text != "from where the file said"


# .env files


async def test_a_named_env_file_is_read_and_the_environment_overrides_it(root: Path, home: TrustFile) -> None:
    put(root, "config/main.yaml", "env_file: keys/.env\n")
    put(root, "keys/.env", "OPENAI_API_KEY=file\nGROQ_API_KEY=file\nOPENAI_API_BASE=http://stranger.example\n")
    put(root, ".env", "MISTRAL_API_KEY=nobody named this file\n")
    environ = {"OPENAI_API_KEY": "environment"}
    async with Runtime(environ=environ, project=Project(root, home)) as rt:
        assert (rt.keys.get("OPENAI_API_KEY"), rt.keys.get("GROQ_API_KEY")) == ("environment", "")
        trust(rt)
        assert (rt.keys.get("OPENAI_API_KEY"), rt.keys.source("OPENAI_API_KEY")) == (
            "environment",
            "env OPENAI_API_KEY",
        )
        assert (rt.keys.get("GROQ_API_KEY"), rt.keys.source("GROQ_API_KEY")) == ("file", "keys/.env:2")
        assert rt.keys.get("MISTRAL_API_KEY") == ""
        assert rt.resolve().api_base is None
    assert environ == {"OPENAI_API_KEY": "environment"}
    assert "OPENAI_API_BASE" not in os.environ


async def test_a_changed_env_file_must_be_trusted(trusted: Runtime, root: Path) -> None:
    edit(root / "config/main.yaml", "env_file: .env\n")
    assert trust(trusted) == ["env_file .env: it is not there (no key of it is used that was not before)"]
    for key in ("first", "second"):
        edit(root / ".env", f"OPENAI_API_KEY={key}\n")
        assert "have changed: the version that you trusted stays in force" in trusted.refresh()[0]
        assert trusted.keys.get("OPENAI_API_KEY") != key
        assert trust(trusted) == []
        assert trusted.keys.get("OPENAI_API_KEY") == key


async def test_an_invalid_env_file_keeps_the_previous_keys_and_shows_none(trusted: Runtime, root: Path) -> None:
    edit(root / "config/main.yaml", "env_file: .env\n")
    put(root, ".env", "OPENAI_API_KEY=first\n")
    trust(trusted)
    edit(root / ".env", "OPENAI_API_KEY=second\nno key but a-secret\n")
    (told,) = trust(trusted)
    assert told.startswith(".env:2: not a line of the form NAME=value")
    assert "a-secret" not in told
    assert trusted.keys.get("OPENAI_API_KEY") == "first"


async def test_an_invalid_edit_of_the_config_keeps_its_env_file(trusted: Runtime, root: Path) -> None:
    edit(root / "config/main.yaml", "env_file: .env\n")
    put(root, ".env", "OPENAI_API_KEY=first\n")
    trust(trusted)
    edit(root / "config/main.yaml", "env_file: .env\ntemprature: 1\n")
    (told,) = trust(trusted)
    assert told.startswith("config/main.yaml:2: unknown config field 'temprature'")
    assert trusted.keys.get("OPENAI_API_KEY") == "first"


@pytest.mark.parametrize("name", ["a\\0b", "a\\ud800b", "a" * 5_000, "a/" * 5_000, "\\e[2J"])
async def test_an_env_file_with_an_impossible_name_is_an_error(root: Path, name: str) -> None:
    put(root, "config/main.yaml", f'env_file: "{name}"\n')
    async with Runtime(environ={}, project=root) as rt:
        (told,) = rt.refresh()
        assert told.startswith(("env_file", "config/main.yaml:1: env_file"))


# Scripts that name their folder


async def test_a_script_trusts_the_folder_that_it_names_and_follows_it(root: Path, complaints: list[str]) -> None:
    async with Runtime(environ={}, project=str(root)) as rt:
        model = rt.models["offline/bob"] = HeldModel()
        assert rt.refresh() == []
        bob = rt["bob"]
        for prompt, seed in (("Two.", 2), ("Three.", 3)):
            edit(root / "agents/bob.yaml", BOB.replace("One.", prompt).replace("seed: 1", f"seed: {seed}"))
            run = bob.submit("hi")
            call = await model.arrived()
            call.release()
            await run
            assert (call.request.messages[0].text, call.request.config.seed) == (prompt, seed)
        edit(root / "agents/bob.yaml", "nonsense\n" + BOB)
        run = bob.submit("hi")
        (call := await model.arrived()).release()
        await run
        assert call.request.messages[0].text == "Three."
        (notice,) = [record.event.text for record in run.events if isinstance(record.event, Noticed)]
        assert notice.startswith("agents/bob.yaml:")
        assert notice.endswith("(bob stays as it was)")


async def test_an_agent_created_in_python_does_not_follow_a_file_of_its_name(root: Path) -> None:
    async with Runtime(environ={}, project=root) as rt:
        bob = rt.create(Agent(name="bob", system_prompt="Mine.", config=AIConfig(model="offline/echo")))
        edit(root / "agents/bob.yaml", BOB.replace("One", "Two"))
        await bob.submit("hi")
        assert bob.agent.system_prompt == "Mine."
        assert rt.create("bob") is bob
        assert bob.agent.system_prompt == "Two."


async def test_a_relative_folder_is_resolved_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    async with Runtime(environ={}, project="project") as rt:
        monkeypatch.chdir("/")
        edit(root / "config/main.yaml", "temperature: 0.5\n")
        rt.refresh()
        assert rt.resolve().temperature == 0.5


# Saving


def rows(limit: int = 3) -> list[int]:
    """Rows."""
    return list(range(limit))


TEXT = st.text(st.characters(), max_size=30)
LINE = TEXT.filter(lambda text: len(text.splitlines()) < 2)
CONFIGS = st.builds(
    lambda place, **values: AIConfig(**place, **values),
    place=st.just({})
    | st.fixed_dictionaries(
        {"model": st.sampled_from(["openai/x", "openrouter/openai/gpt-4o", "ollama/llama3:8b"])},
        optional={"api_base": st.just("http://localhost:8000/v1"), "api_key": st.just("os.environ/MY_KEY")},
    ),
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(-(2**63), 2**63),
    stop=st.none() | st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
    extra=st.none()
    | st.dictionaries(st.sampled_from("abc"), st.recursive(TEXT | st.booleans(), st.lists, max_leaves=3)),
    cleared=st.sampled_from([(), ("top_p",), ("max_tokens", "retries")]),
)
AGENTS = st.builds(
    Agent,
    name=st.sampled_from(["bob", "null", "no", "true", "prompts", "agents", "a" * 64, "A-1_2"]),
    title=LINE,
    role=LINE,
    description=LINE,
    icon=st.sampled_from(["", "💡", "~", "#", "1"]),
    color=st.sampled_from(["", "#2F7DE1", "teal", "tan"]),
    system_prompt=TEXT,
    config=CONFIGS,
    tools=st.sampled_from([(), (rows,)]),
    max_turns=st.integers(1, 1000),
    timeout_s=st.none() | st.floats(0.001, 1e6),
)


@given(AGENTS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_a_saved_agent_loads_as_an_equal_agent(tmp_path_factory: pytest.TempPathFactory, agent: Agent) -> None:
    root = tmp_path_factory.mktemp("project")
    async with Runtime(environ={}, project=root, find_tool={"rows": rows}.__getitem__) as rt:
        rt.create(agent)
        assert rt.save(agent.name) == root / f"agents/{agent.name}.yaml"
        assert rt.described(agent.name) == agent
    async with Runtime(environ={}, project=root, find_tool={"rows": rows}.__getitem__) as rt:
        assert rt.refresh() == []
        assert rt[agent.name].agent == agent


def amy(rt: Runtime, prompt: str = "I am amy.") -> Session:
    return rt.create(Agent(name="amy", system_prompt=prompt))


async def test_a_packaged_agent_can_be_saved_and_then_edited(root: Path) -> None:
    async with Runtime(environ={}, project=root) as rt:
        path = rt.save("alice")
        assert rt.described("alice") == package().team["alice"].agent
        edit(path, path.read_text().replace("You are Alice", "You are Alicia"))
        rt.refresh()
        assert prompt_of(rt, "alice").startswith("You are Alicia")


async def test_saving_replaces_another_file_only_with_overwrite(trusted: Runtime, root: Path) -> None:
    path = put(root, "agents/amy.yaml", "# Mine.\nsystem_prompt: Another.\n")
    trust(trusted)
    amy(trusted)
    with pytest.raises(ConfigError, match=r"agents/amy\.yaml exists with other content"):
        trusted.save("amy")
    assert path.read_text().startswith("# Mine.")
    trusted.save("amy", overwrite=True)
    assert prompt_of(trusted, "amy") == "I am amy."
    trusted.save("amy")


async def test_an_agent_that_the_disk_has_no_room_for_leaves_its_earlier_file(trusted: Runtime, root: Path) -> None:
    amy(trusted)
    path = trusted.save("amy")
    earlier = path.read_bytes()
    trusted.create(Agent(name="amy", system_prompt="x" * 10_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(ConfigError, match=r"cannot write .*amy\.yaml: File too large"):
            trusted.save("amy", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == earlier
    assert not [one for one in os.listdir(path.parent) if one.startswith(".")]


async def test_saving_in_a_trusted_project_trusts_the_saved_file(trusted: Runtime, root: Path, home: TrustFile) -> None:
    amy(trusted)
    trusted.save("amy")
    assert trusted.refresh() == []
    assert prompt_of(trusted, "amy") == "I am amy."
    fresh = Project(root, home)
    fresh.refresh()
    assert (fresh.held_back, set(fresh.used.team)) == (False, {"amy", "bob"})


async def test_saving_trusts_nothing_but_the_saved_file(trusted: Runtime, root: Path, home: TrustFile) -> None:
    edit(root / "agents/bob.yaml", BOB.replace("One", "Evil"))
    amy(trusted)
    trusted.save("amy")
    assert prompt_of(trusted) == "One."
    fresh = Project(root, home)
    fresh.refresh()
    assert (fresh.held_back, bool(fresh.used)) == (True, False)


async def test_saving_in_a_project_that_is_not_trusted_trusts_nothing(rt: Runtime, root: Path, home: TrustFile) -> None:
    amy(rt)
    rt.save("amy")
    assert rt.project is not None
    assert (rt.project.held_back, bool(rt.project.used)) == (True, False)
    assert home.digest(root) == ""
    assert "bob" not in rt.team


async def test_saving_in_an_empty_project_trusts_it(tmp_path: Path, home: TrustFile) -> None:
    async with Runtime(environ={}, project=Project(tmp_path, home)) as rt:
        amy(rt)
        rt.save("amy")
        assert prompt_of(rt, "amy") == "I am amy."
        assert home.digest(tmp_path) == rt.project.found.files.digest  # type: ignore[union-attr]


@pytest.mark.parametrize("target", ["outside.yaml", "nothing.yaml"])
async def test_saving_does_not_write_through_a_link(trusted: Runtime, root: Path, tmp_path: Path, target: str) -> None:
    outside = put(tmp_path, "outside.yaml", "not ours")
    (root / "agents/amy.yaml").symlink_to(tmp_path / target)
    amy(trusted)
    with pytest.raises(ConfigError, match="exists with other content"):
        trusted.save("amy")
    path = trusted.save("amy", overwrite=True)
    assert (path.is_symlink(), path.is_file(), outside.read_text()) == (False, True, "not ours")
    assert not (tmp_path / "nothing.yaml").exists()


@pytest.mark.parametrize("overwrite", [False, True])
async def test_saving_does_not_write_into_a_folder_behind_a_link(
    tmp_path: Path, home: TrustFile, overwrite: bool
) -> None:
    outside, project = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    project.mkdir()
    (project / "agents").symlink_to(outside)
    async with Runtime(environ={}, project=Project(project, home)) as rt:
        amy(rt)
        with pytest.raises(ConfigError, match="agents"):
            rt.save("amy", overwrite=overwrite)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("obstacle", ["agents", "agents/amy.yaml/x"])
async def test_saving_into_an_impossible_place_is_an_error(tmp_path: Path, obstacle: str) -> None:
    put(tmp_path, obstacle, "in the way")
    async with Runtime(environ={}, project=tmp_path) as rt:
        amy(rt)
        with pytest.raises(ConfigError, match=r"cannot write .*amy\.yaml"):
            rt.save("amy", overwrite=True)


async def test_saving_an_agent_that_another_file_defines_is_an_error_that_names_the_file(
    trusted: Runtime, root: Path
) -> None:
    put(root, "agents/team.yaml", "agents:\n  eve:\n    system_prompt: x\n")
    trust(trusted)
    trusted.create("eve")
    with pytest.raises(ConfigError, match=r"agents/team\.yaml"):
        trusted.save("eve")
    assert prompt_of(trusted, "eve") == "x"


async def test_an_agent_that_is_too_large_for_a_file_is_not_saved(trusted: Runtime, root: Path) -> None:
    trusted.create(Agent(name="amy", system_prompt="x" * 300_000))
    with pytest.raises(ConfigError, match="more than 262,144 bytes"):
        trusted.save("amy")
    assert not (root / "agents/amy.yaml").exists()


@pytest.mark.parametrize("field", [{"api_base": "http://localhost:1/v1"}, {"api_key": "os.environ/MY_KEY"}])
async def test_a_key_or_an_address_without_a_model_is_not_saved(
    trusted: Runtime, root: Path, field: dict[str, str]
) -> None:
    trusted.create(Agent(name="amy", config=AIConfig(**field)))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"{next(iter(field))} without a model: write model beside it"):
        trusted.save("amy")
    assert not (root / "agents/amy.yaml").exists()


async def test_a_literal_key_is_not_saved(trusted: Runtime, root: Path) -> None:
    with pytest.warns(UserWarning, match="the API key is a literal"):
        config = AIConfig(model="openai/x", api_key="sk-0123456789abcdef")
    trusted.create(Agent(name="amy", config=config))
    text = trusted.save("amy").read_text()
    assert "openai/x" in text
    assert "api_key" not in text
    assert "0123456789" not in text
