"""A kernel never shows, saves or logs a key, however it was given and whichever error occurred."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.leaks import MODES, WAYS, hits
from support.provider import CUT, DONE, HANG, Answer, Provider, Refusal, Request, chunk, says, text
from support.this_machine import OnThisMachine, python_path

pytestmark = pytest.mark.kernel

NOBODY = "http://127.0.0.1:9/v1"
START = """
import json, logging, os, sys
from pathlib import Path
import whisper_nb as wnb
from support.leaks import reprs_of, texts_of
logging.basicConfig(filename="debug.log", level=logging.DEBUG, force=True)

def key(name="call"):
    return Path("keys", name).read_text()

def stop():
    raise KeyboardInterrupt
"""
LOAD = "%load_ext whisper_nb\nrt = wnb.runtime()"
#: A word of the prompt → an error of the call. `config` has the call's settings.
SWEEP = """
async def sweep(words, agent, config):
    for word in words:
        more = {"unreached": {"api_base": "NOBODY"}, "late": {"token_timeout_s": 0.1}}.get(word, {})
        run = agent.submit(f"{word}!", config=config({"retries": 0, **more}))
        raised = None
        try:
            await run
        except wnb.RunFailed as error:
            raised = error
        said = {"it says": f"{run.status}: {run.error}", "repr": repr([run, run.config, run.events])}
        print(json.dumps({word: said | texts_of(raised, ["Verbose"])}))
""".replace("NOBODY", NOBODY)
COPIES = """
import copy, pickle
for one in rt.sessions:
    print(pickle.dumps([one.agent, one.configured]), copy.deepcopy(one.agent), *(run.config for run in one.runs))
"""


def keys_of(turn: int) -> dict[str, str]:
    """A distinct key for each way of giving one.

    Every other one looks like a key; with another turn, the others.
    """
    ends = {name: hashlib.sha256(name.encode()).hexdigest()[:24] for name in WAYS_IN}
    return {name: ("sk-canary-", "zq7Wb")[(at + turn) % 2] + end for at, (name, end) in enumerate(ends.items())}


#: A word of the prompt → the provider's answer, given the key that it received.
ANSWERS: Mapping[str, Callable[[str], Answer]] = {
    "fine": lambda _: says("Hello"),
    "refused": lambda key: Refusal(401, f"the test says no to {key}"),
    "forbidden": lambda key: Refusal(403, f"the test says no to {key}"),
    "bad": lambda key: Refusal(400, f"the test says no to {key}"),
    "busy": lambda key: Refusal(429, f"the test says no to {key}"),
    "broken": lambda key: Refusal(500, f"the test says no to Bearer {key}"),
    "partly": lambda key: Refusal(500, f"the test says no to {key[:20]}…"),
    "cut": lambda _: [*text("Hel"), CUT],
    "midway": lambda key: [
        *text("Hel"), chunk({"content": ""}, "error", error={"code": 502, "message": f"the test says no to {key}"}),
        DONE,
    ],
    "garbage": lambda key: [*text("Hel"), f"data: {{Bearer {key}\n\n".encode(), DONE],
    "late": lambda _: [*text("Hel"), HANG],
}  # fmt: skip
WORDS = (*ANSWERS, "unreached")
#: The words that are used with providers' own formats, too.
ELSEWHERE = ("refused", "forbidden", "bad", "broken", "partly", "unreached")


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    def answer(request: Request) -> Answer:
        body = json.dumps(request.body)
        word = max(ANSWERS, key=lambda word: body.rfind(f"{word}!"))
        return ANSWERS[word](received(request))

    async with Provider(answer) as provider:
        yield provider


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which trust is stored."""
    monkeypatch.setenv("WHISPER_NB_HOME", str(tmp_path / "home"))


def received(request: Request) -> str:
    """The received key, from any header."""
    found = re.search(r"(sk-canary-|zq7Wb)[0-9a-f]{24}", str(request.headers))
    return found[0] if found else ""


def lay_out(folder: Path, keys: Mapping[str, str], url: str) -> None:
    """A project whose files contain keys, and for each way of giving a key a file that cells may read."""
    at = f"api_base: {url}"
    files = {f"keys/{name}": f"{key}\n" for name, key in keys.items()}
    files |= {
        "keys.env": f"DOT_KEY={keys['dot']}\n",
        "config/main.yaml": f"env_file: keys.env\nopenrouter: {{model: test/model, {at}, api_key: {keys['main']}}}\n",
        "agents/bob.yaml": f"ai_config: {{model: openai/test, {at}, api_key: {keys['bob']}}}\n",
        "agents/dot.yaml": f"ai_config: {{model: openai/test, {at}, api_key: os.environ/DOT_KEY}}\n",
        "agents/team.yaml": f"ai_config: {{model: hosted_vllm/test, {at}, api_key: os.environ/MY_TEAM_KEY}}\n",
    }
    for name, said in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(said)


#: A way of giving a key → the code of a cell for it; the agent has the same name.
WAYS_IN = {
    "main": "rt.create(wnb.Agent(name='main'))",
    "bob": "",
    "dot": "",
    "team": "os.environ['MY_TEAM_KEY'] = key('team')",
    "environment": "os.environ['OPENAI_API_KEY'] = key('environment')\n"
    "rt.create(wnb.Agent(name='environment', config=there))",
    "plain": "os.environ['bobs_login'] = key('plain')\n"
    "rt.create(wnb.Agent(name='plain', config={**there, 'api_key': 'os.environ/bobs_login'}))",
    "written": "rt.create(wnb.Agent(name='written', config=wnb.AIConfig(**there, api_key=key('written'))))",
    "of": "rt.create(wnb.Agent(name='of', config=wnb.AIConfig.of({'openai': {**there, 'api_key': key('of')}})))",
    "agent": "rt.create(wnb.Agent(name='agent', config={**there, 'api_key': key('agent')}))",
    "session": "rt.create(wnb.Agent(name='session', config=there)).configure(api_key=key('session'))",
    "call": "rt.create(wnb.Agent(name='call', config=there))",
    "flag": "%agent new flag --model openai/test --set api_base={{there['api_base']}} --set api_key={{key('flag')}}",
    "line": "%agent new line --model openai/test --set api_base={{there['api_base']}}\n"
    "%agent config line api_key={{key('line')}}",
    "anthropic": "os.environ['ANTHROPIC_API_KEY'] = key('anthropic')\n"
    "rt.create(wnb.Agent(name='anthropic', config={**there, 'model': 'anthropic/test'}))",
    "gemini": "os.environ['GEMINI_API_KEY'] = key('gemini')\n"
    "rt.create(wnb.Agent(name='gemini', config={**there, 'model': 'gemini/test'}))",
    "turned": "os.environ['TURNED_KEY'] = key('turned')\n"
    "rt.create(wnb.Agent(name='turned', config={**there, 'api_key': 'os.environ/TURNED_KEY'}))",
    # Last, because it overrides the agents' own.
    "all": "rt.create(wnb.Agent(name='all'))\nwnb.configure(**there, api_key=key('all'))",
}
OTHER_FORMATS = ("anthropic", "gemini")
#: Code that shows agents and runs.
LOOKS = (
    "list",
    "models",
    "trust",
    "show {0}",
    "config {0}",
    "log {0} -n 99",
    "history {0} -n 99",
    "ask {0} --dry-run Hi",
)


async def test_no_call_shows_a_key(provider: Provider, tmp_path: Path) -> None:
    keys = keys_of(0)
    lay_out(tmp_path, keys, provider.url)
    everything: dict[str, str] = {}
    async with OnThisMachine(tmp_path) as kernel:
        await kernel.run(f"{START}\n{LOAD}\n{SWEEP}\nthere = {{'model': 'openai/test', 'api_base': {provider.url!r}}}")
        before = (await kernel.run("%agent trust")).text
        assert "a literal key in the file" in before
        await kernel.run(before.splitlines()[-1].partition(": ")[2])

        for name, cell in WAYS_IN.items():
            await kernel.run(cell)
            words = ELSEWHERE if name in OTHER_FORMATS else WORDS
            given = "{**more, 'api_key': key('call')}" if name == "call" else "more"
            swept = await kernel.send(f"await sweep({words}, rt[{name!r}], lambda more: {given})").ok()
            for line in filter(lambda line: line.startswith("{"), swept.text.splitlines()):  # litellm logs others
                ((word, said),) = json.loads(line).items()
                assert re.search(FATES.get(word, "the test says no"), said["it says"]), (name, word)
                everything[f"{name}, {word}"] = "\n".join(said.values())
            assert sum(where.startswith(f"{name}, ") for where in everything) == len(words)
        assert {name for name in keys if keys[name] in map(received, provider.requests)} == set(keys)
        await kernel.run("wnb.configure({})")

        turned = asyncio.Event()
        provider.answers.append([*text("Hel"), turned, *ANSWERS["midway"](keys["turned"])])
        await kernel.run(WAYS_IN["turned"] + "\nrun = rt['turned'].submit('Hi', config={'retries': 0})")
        while received(await provider.arrived()) != keys["turned"]:
            pass
        await kernel.run("os.environ['TURNED_KEY'] = 'another'")
        turned.set()
        assert "the test says no" in await kernel.send("await run").error()

        for mode in MODES:
            await kernel.run(f"%xmode {mode}")
            for cell, says in ENDINGS.items():
                assert re.search(says, await kernel.send(cell).error())
                if mode == "Verbose":
                    last = await kernel.value("texts_of(sys.last_value, ())")
                    everything |= {f"{cell!r}, {where}": text for where, text in last.items()}

        for look in LOOKS:
            for name in ("bob", "dot", "written") if "{0}" in look else ("",):
                await kernel.run(f"%agent {look.format(name)}")
        await kernel.run("%agent save written\n%agent save bob --force\n%agents")
        names = "run=run, store=[*rt.store.records('bob')], there=there, layer=rt.explain('bob'), news=rt.refresh()"
        everything |= await kernel.value(f"reprs_of(rt=rt, keys=rt.keys, config=rt.resolve(), {names})")
        await kernel.run(COPIES)
        for code in ("rt", "rt.keys", "rt.project", "run", "run.config", "run.error"):
            asked = await kernel.request("inspect_request", code=code, cursor_pos=len(code), detail_level=1)
            assert asked["found"]
            everything[f"{code}?"] = json.dumps(asked)
        everything |= kernel.said()
        everything["stderr"] = await kernel.shutdown()
    everything |= {"log": (tmp_path / "debug.log").read_text(), "trust": str([*(tmp_path / "home").iterdir()])}
    everything |= {name: (tmp_path / f"agents/{name}.yaml").read_text() for name in ("bob", "written")}
    assert "api_base" in everything["written"]
    assert "DEBUG:" in everything["log"]
    assert_nowhere(keys, everything)


def assert_nowhere(keys: Mapping[str, str], everything: Mapping[str, str]) -> None:
    found = hits(everything, tuple(keys.values()))
    if found:
        pytest.fail("\n".join([f"{len(found)} times, such as", *found[:20]]), pytrace=False)


#: A word → the text of its run, unless that is the provider's.
FATES = {
    "fine": "succeeded",
    "refused": "the provider refused",
    "forbidden": "the provider refused",
    "cut": "broke off",
    "garbage": "broke off|cut off|cannot be read",
    "late": "nothing arrived",
    "unreached": "nothing answers at|Check the network",
}
#: Cells that end badly.
ENDINGS = {
    "run = rt['bob'].submit('broken!')\nawait run": "RunFailed: .*the test says no",
    "run.result()": "RunFailed: .*the test says no",
    "raise run.error": "ModelError: .*the test says no",
    "await rt['written'].submit('partly!')": "RunFailed",
    "%agent ask flag -b --set api_key={{key('flag')}} broken!": "RunFailed: .*the test says no",
    "%agent ask flag --set api_key={{key('flag')}} --set top_p=9 Hi": "UsageError: top_p 9",
    "%agent ask flag --set api_key={{key('flag')}} Hi {{ 1 / 0 }}": "UsageError: .*ZeroDivisionError",
    "%agent ask flag --set api_key={{key('flag')}} Hi {{ stop() }}": "KeyboardInterrupt",
    "%agent config flag api_key={{key('flag')}} top_p=9": "UsageError: top_p 9",
    "%agent config flag api_key {{key('flag')}}": "UsageError: .*is not FIELD=VALUE",
    "%agent new line --set api_key {{key('line')}}": "UsageError: .*is not FIELD=VALUE",  # this one looks like a key
}


async def test_no_saved_notebook_contains_a_key(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_of(1)
    lay_out(tmp_path, keys, provider.url)
    monkeypatch.setenv("PYTHONPATH", python_path(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    cells = [
        START,
        "%xmode Verbose",
        "os.environ |= {'OPENAI_API_KEY': key('environment'), 'WHISPER_NB_HOME': '~no-such-user/x'}",
        "%load_ext whisper_nb",
        f"os.environ['WHISPER_NB_HOME'] = {str(tmp_path / 'home')!r}",
        LOAD,
        f"there = {{'model': 'openai/test', 'api_base': {provider.url!r}, 'retries': 0}}",
        "%agent trust",
        "rt.trust(rt.project.code)",
    ]
    for mode in MODES:
        cells += [f"%xmode {mode}", "bob = rt['bob']", "more = {**there, 'temperature': 9}", *WAYS]
        cells += ["wnb.Runtime(config='x', environ={**there, 'X_API_KEY': key()})"]
    for at, (name, cell) in enumerate(WAYS_IN.items()):
        given = "{'api_key': key()}" if name == "call" else "None"
        cells += [
            f"%xmode {MODES[at % 4]}",
            cell,
            f"%%agent {name}{' --set api_key={{key()}}' * (name == 'call')}\nbroken!",
            f"%agent wait {name}",
            f"run = rt[{name!r}].submit('refused!', config={given})\nawait run",
            "run",
            f"run, run.error, run.events, run.config, rt[{name!r}], rt[{name!r}].agent, rt.explain({name!r})",
            f"%agent config {name}",
        ]
    cells += ["def shows(secret):\n    raise ValueError(1)", "%xmode Verbose", "shows(key())"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    client = NotebookClient(notebook, timeout=300, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}})
    client.extra_arguments = ["--log-level=ERROR"]
    await client.async_execute()

    assert set(map(received, provider.requests)) == set(keys.values())
    for cell in notebook.cells:
        said = str([one.get("evalue", one.get("text")) for one in cell.outputs])
        for source, wanted in {
            "%load_ext": "WHISPER_NB_HOME|answer with",
            **{re.escape(way): "temperature 9 is not" for way in WAYS},
            "wnb.Runtime": "is not",
            "run =": "the provider refused",
            "%agent wait": "the test says no",
            "shows": "1",
        }.items():
            assert not re.match(source, cell.source) or re.search(wanted, said), cell.source
    control = notebook.cells.pop()
    assert hits({"what Verbose shows": str(control.outputs)}, tuple(keys.values()))
    saved = {f"cell {at}, {cell.source!r}": nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))
             for at, cell in enumerate(notebook.cells)}  # fmt: skip
    assert_nowhere(keys, {**saved, "log": (tmp_path / "debug.log").read_text()})
