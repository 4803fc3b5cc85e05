"""Notebooks in hostile repositories: no file is used before it is trusted, and no file outside ever."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.doubles import settled
from support.hostile import CANARY, MOST, REPOSITORIES, YAML, put
from support.provider import Provider, Refusal
from support.timing import seconds_of
from whisper_nb import Agent, Runtime
from whisper_nb.config.project import Project
from whisper_nb.config.trust import TrustFile
from whisper_nb.config.yamlfile import MAX_FILE_BYTES
from whisper_nb.notebook.cells.review import trust_lines

#: Opens many repositories, each in a forked process, a few at a time.
INSIDE = r"""
import json, os, signal, sys, time

folder, names, at_once = sys.argv[1], sys.argv[2].split(","), 12
EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.system", "os.exec",
          "os.posix_spawn", "os.spawn", "os.fork", "ctypes.dlopen"}
import IPython.core.interactiveshell, IPython.core.magics, IPython.core.displaypub
from traitlets.config import Config
import whisper_nb

facts = {"html": "", "seen": []}

class Screen(IPython.core.displaypub.DisplayPublisher):
    def publish(self, data, metadata=None, **_):
        print(data["text/plain"])
        facts["html"] += data.get("text/html", "")


def watch(root, seen):
    outside = os.path.join(os.path.dirname(root), "outside")

    def hook(event, args):
        if event in EVENTS:
            seen.append(f"{event} {args[:2]!r}")
        elif event == "exec" and (file := args[0].co_filename)[0] != "<" and os.path.abspath(file).startswith(root):
            seen.append(f"exec {file}")
        elif event == "open" and isinstance(args[0], (str, bytes)) and os.fsdecode(args[0]).startswith(outside):
            seen.append(f"open {args[0]!r}")

    sys.addaudithook(hook)


def visit(root, home):
    os.environ["WHISPER_NB_HOME"] = os.path.join(home, "whisper_nb")
    os.chdir(root)
    sys.path.insert(0, "")  # as in a kernel
    watch(root, facts["seen"])
    shell = IPython.core.interactiveshell.InteractiveShell.instance(
        config=Config({"HistoryManager": {"enabled": False}}), colors="nocolor", display_pub=Screen())
    marks = []

    def run(*cells):
        results = [shell.run_cell(cell) for cell in cells]
        sys.stdout.flush(), sys.stderr.flush()
        marks.append(os.fstat(1).st_size)
        return all(result.success for result in results)

    facts["loads"] = run("%load_ext whisper_nb")
    facts["works"] = run("%agent", "%agent trust", "%agent config alice", "%agent new bob",
                         "%%agent alice -o ans\nhello", "%agent wait")
    rt = whisper_nb.runtime()
    project, packaged = rt.project, sys.modules["whisper_nb.config.project"].package().team
    usable = lambda: [name for name, entry in rt.team.items() if entry.agent and entry is not packaged.get(name)]
    facts["answer"] = shell.user_ns["ans"].text
    facts["used"] = bool(project.used) or usable()
    facts["alice"] = rt["alice"].agent == packaged["alice"].agent
    facts["bob"] = rt["bob"].agent == whisper_nb.Agent(name="bob")
    facts["base"] = [session.config.api_base for session in rt.sessions] + [rt.resolve().api_base]
    facts["keys"] = [name for name in ("GROQ_API_KEY", "OPENAI_API_BASE") if rt.keys.get(name)]
    facts["moved"] = os.environ.get("OPENAI_API_BASE"), os.environ["PATH"] == "/stolen"
    facts["code"] = project.code
    facts["trusts"] = run(f"%agent trust {project.code}")
    facts["held"] = project.held_back
    facts["lists"] = run("%agent", "%agents")
    facts["usable"] = usable()
    facts["problems"] = [str(problem) for problem in project.found.problems]
    facts["key"] = rt.keys.get("OPENAI_API_KEY") == os.environ["OPENAI_API_KEY"]
    facts["base after"] = os.environ.get("OPENAI_API_BASE"), rt.keys.get("PATH") == "/stolen"
    facts["executed"] = os.path.exists("executed")
    facts["marks"] = marks


def child(name):
    home = os.path.join(folder, name)
    out = os.open(os.path.join(home, "said"), os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1), os.dup2(out, 2)
    signal.alarm(300)
    visit(os.path.join(home, "project"), home)
    with open(os.path.join(home, "facts"), "w") as file:
        json.dump(facts, file)


waiting, running = list(names), set()
while waiting or running:
    while waiting and len(running) < at_once:
        name = waiting.pop()
        if pid := os.fork():
            running.add(pid)
            continue
        try:
            child(name)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)
    running.discard(os.wait()[0])
"""
SECRETS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN")


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each repository: the project, and the record of a notebook in it."""
    folder = tmp_path_factory.mktemp("repositories")
    for name, repository in REPOSITORIES.items():
        (folder / name / "project").mkdir(parents=True)
        repository.write(folder / name / "project")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "WHISPER_MODEL": "offline/echo",
        **{name: f"sk-{CANARY}-{name.lower()}" for name in SECRETS},
    }
    command = [sys.executable, "-c", INSIDE, str(folder), ",".join(REPOSITORIES)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


class Visit:
    """The output and actions of a notebook in one repository."""

    def __init__(self, folder: Path) -> None:
        self.said = (folder / "said").read_bytes()
        assert (folder / "facts").exists(), f"it broke off or hung: {self.said.decode(errors='replace')[-3000:]}"
        self.facts: dict[str, Any] = json.loads((folder / "facts").read_text())
        ends = self.facts["marks"]
        self.loading, self.working, self.trusting, _ = (
            self.said[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)
        )

    def __getitem__(self, fact: str) -> Any:
        return self.facts[fact]


@pytest.fixture(params=REPOSITORIES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a hostile repository."""
    return str(request.param)


@pytest.fixture
def visit(visits: Path, name: str) -> Visit:
    """The visit to the repository of this name."""
    return Visit(visits / name)


def test_a_hostile_repository_executes_nothing_and_connects_to_nothing_and_shows_nothing(visit: Visit) -> None:
    assert visit["seen"] == []
    assert not visit["executed"]
    assert CANARY.encode() not in visit.said
    assert "<img" not in visit["html"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", visit.said.decode() + visit["html"])


def test_agents_work_in_a_hostile_repository_and_none_of_its_files_is_in_force(visit: Visit) -> None:
    assert (visit["loads"], visit["works"]) == (True, True), visit.said.decode()
    assert visit["answer"].startswith("You said: hello")
    assert not visit["used"]
    assert (visit["alice"], visit["bob"]) == (True, True)
    assert set(visit["base"]) == {None}
    assert (visit["keys"], visit["moved"]) == ([], [None, False])


def test_a_hostile_repositorys_files_are_not_used_and_one_line_says_so(visit: Visit, name: str) -> None:
    lines = re.findall("^.*held back.*$", visit.loading, re.MULTILINE)
    assert [line.startswith("whisper_nb: held back until %agent trust: ") for line in lines] == (
        [True] if REPOSITORIES[name].held else []
    )
    assert "whisper_nb: held back" not in visit.working, "it is said once"
    # A completely invalid project has no code.
    codes = re.findall(
        r"^(?:To use just this: %agent trust (\w+)|Correct .* run %agent trust again)$", visit.working, re.MULTILINE
    )
    assert codes in ([[visit["code"]], [""]] if lines else [[]])


def test_a_trusted_hostile_repository_still_gets_nothing_forbidden(visit: Visit, name: str) -> None:
    assert (visit["trusts"], visit["held"], visit["lists"]) == (True, False, True), visit.said.decode()
    assert (visit["key"], visit["base after"]) == (True, [None, False])
    if refused := REPOSITORIES[name].refused:
        assert re.search(refused, "\n".join(visit["problems"]) + visit.trusting)
        assert "evil" not in visit["usable"]


@pytest.mark.parametrize("path", ["agents/x.yaml", "config/main.yaml"])
@pytest.mark.parametrize("name", YAML)
def test_a_hostile_file_is_a_located_error_and_takes_no_longer_than_a_large_one(
    tmp_path: Path, name: str, path: str
) -> None:
    content, line, words = YAML[name]
    put(tmp_path / "project", path, content)
    project = Project(tmp_path / "project", TrustFile(tmp_path / "home"))
    put(tmp_path / "large", path, LARGE["texts to stop at"])
    assert seconds_of(project.refresh) < 10 * seconds_of(Project(tmp_path / "large").refresh)
    place = f"{path}:{line}" if line else path
    assert any(problem.location == place and re.search(words, problem.text) for problem in project.found.problems)
    assert project.found.main is None or project.found.main.layer is None
    assert [entry.agent for entry in project.found.team.values() if entry.agent] == []


PARAMETERS = "".join(f"    k{number}: 1\n" for number in range(MOST))
LARGE = {
    "parameters of a model": f"generation_params:\n  extra:\n{PARAMETERS}",
    "texts to stop at": f"model: openai/x\ngeneration_params:\n  stop: [{'a, ' * (2 * MOST)}]\n",
    "one text": f"model: openai/x\ngeneration_params:\n  stop: {'a' * 250_000}\n",
}


@pytest.mark.parametrize("path", ["agents/x.yaml", "config/main.yaml"])
@pytest.mark.parametrize("name", LARGE)
def test_the_largest_valid_files_are_read(tmp_path: Path, name: str, path: str) -> None:
    put(tmp_path, path, LARGE[name])
    project = Project(tmp_path)
    project.refresh()
    assert (project.found.problems, bool(project.used)) == ((), True)


def test_the_amount_that_is_read_of_many_large_files_is_limited(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path, f"agents/x{number:02}.yaml", LARGE["texts to stop at"])
    project = Project(tmp_path, TrustFile(tmp_path / "home"))
    project.refresh()
    assert sum(map(len, project.found.files.data.values())) <= MAX_FILE_BYTES
    (problem,) = project.found.problems
    assert "all YAML files of a project may have together" in problem.text


@pytest.mark.parametrize(
    "model",
    [
        "openai/x",
        "groq/x",
        "hosted_vllm/x",
        "volcengine/x",
        "custom_openai/x",
        "anthropic_text/x",
        "azure/x",
    ],
)
async def test_a_server_gets_only_the_key_that_is_configured_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[str], model: str
) -> None:
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_API_KEY", "GROQ_API_KEY")
    for name in names:
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    async with Provider(lambda _: Refusal(400)) as server:
        put(tmp_path, "config/main.yaml", f"model: {model}\napi_base: {server.url}\n")
        project = Project(tmp_path, TrustFile(tmp_path / "home"))
        async with Runtime(environ=os.environ, project=project) as rt:
            (said,) = [line for line in map(str, trust_lines(project.review(), rt, "agent")) if "→" in line]
            rt.trust(project.code)
            await settled(rt.create(Agent(name="bob")).submit("hello"))
    sent = {name for request in server.requests for name in names if f"{CANARY}-{name}" in str(request.headers)}
    assert server.requests
    assert sent == {name for name in names if name in said}
