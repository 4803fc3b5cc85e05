"""A canary key is nowhere in what a kernel shows, saves and logs, however it was given and whatever went wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from client import Kernel
from nbclient import NotebookClient
from provider import CUT, DONE, HANG, Answer, Provider, Refusal, Request, chunk, says, text
from test_secrets import MODES, WAYS, hits

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

TESTS = Path(__file__).parents[1]
NOBODY = "http://127.0.0.1:9/v1"
#: Reaches this machine, where the test's provider is, and nobody else; knows no key.
SITE = """
import os, socket, sys

def refuse(event, args):
    if event == "socket.connect" and args[0].family in (socket.AF_INET, socket.AF_INET6) and args[1][0] != "127.0.0.1":
        raise OSError(f"a test tried to reach {args[1]}")

for name in list(os.environ):
    if name.endswith("_API_KEY") or name == "WHISPER_MODEL":
        del os.environ[name]
sys.addaudithook(refuse)
"""
START = """
import json, logging, os, sys
from contextlib import suppress
from pathlib import Path
logging.basicConfig(filename="debug.log", level=logging.DEBUG, force=True)
%load_ext whisper_nb
import whisper_nb as wnb
from test_secrets import kept, told
rt = wnb.runtime()

def key(name):
    return Path("keys", name).read_text()
"""
#: Everything that can go wrong with a call, through a way of giving it a config. `submit` gives the run of a word.
SWEEP = """
async def sweep(words, submit):
    for word in words:
        more = {"unreached": {"api_base": "NOBODY"}, "late": {"token_timeout_s": 0.1}}.get(word, {})
        run = submit(f"{word}!", {"retries": 0, **more})
        raised = None
        try:
            await run
        except wnb.RunFailed as error:
            raised = error
        print(json.dumps({word: [run.status, str(run.error), told(raised)]}))
""".replace("NOBODY", NOBODY)


def key_of(kind: str, name: str) -> str:
    """The key that is given in one way, and only there."""
    return {"like": "sk-canary-", "unlike": "zq7Wb"}[kind] + hashlib.sha256(name.encode()).hexdigest()[:24]


#: What the provider answers to a word, told the key that it was sent.
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
        *text("Hel"), chunk({"content": ""}, "error", error={"code": 502, "message": f"the test says no to {key}"}), DONE
    ],
    "garbage": lambda key: [*text("Hel"), f"data: {{Bearer {key}\n\n".encode(), DONE],
    "late": lambda _: [*text("Hel"), HANG],
}  # fmt: skip
WORDS = (*ANSWERS, "unreached")
#: Of providers with a format of their own: what does not depend on it.
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
    """Where trust is kept."""
    monkeypatch.setenv("WHISPER_NB_HOME", str(tmp_path / "home"))


def received(request: Request) -> str:
    """The key that came, in whatever header."""
    found = re.search(r"(sk-canary-|zq7Wb)[0-9a-f]{24}", str(request.headers))
    return found[0] if found else ""


class OnThisMachine(Kernel):
    """A kernel that may reach this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = python_path(folder)

    def said(self) -> dict[str, str]:
        """Every message that it has published so far."""
        return {f"{at} {one.type}": json.dumps(one.content) for at, one in enumerate(self.messages)}


def python_path(folder: Path) -> str:
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(SITE)
    return os.pathsep.join(map(str, (folder / "site", TESTS)))


def lay_out(folder: Path, kind: str, url: str) -> None:
    """A project whose files hold keys; and for each way of giving one a file that cells may read."""
    at = f"api_base: {url}"
    files = {f"keys/{name}": key_of(kind, name) + "\n" for name in WAYS_IN}
    files |= {
        "keys.env": f"DOT_KEY={key_of(kind, 'dot')}\n",
        "config/main.yaml": f"env_file: keys.env\nopenrouter: {{model: test/model, {at}, api_key: {key_of(kind, 'main')}}}\n",
        "agents/bob.yaml": f"ai_config: {{model: openai/test, {at}, api_key: {key_of(kind, 'bob')}}}\n",
        "agents/dot.yaml": f"ai_config: {{model: openai/test, {at}, api_key: os.environ/DOT_KEY}}\n",
        "agents/team.yaml": f"ai_config: {{model: hosted_vllm/test, {at}, api_key: os.environ/MY_TEAM_KEY}}\n",
    }
    for name, said in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(said)


async def trust(kernel: Kernel) -> str:
    """Trust the project; what was said of it before."""
    before = (await kernel.run("%agent trust")).text
    await kernel.run(before.splitlines()[-1].partition(": ")[2])
    return before


#: How a key is given → what a cell does for it; the agent has the same name.
WAYS_IN = {
    "main": "rt.create(wnb.Agent(name='main'))",
    "bob": "",
    "dot": "",
    "team": "os.environ['MY_TEAM_KEY'] = key('team')",
    "environment": "os.environ['OPENAI_API_KEY'] = key('environment')\nrt.create(wnb.Agent(name='environment', config=there))",
    "plain": "os.environ['bobs_login'] = key('plain')\n"
    "rt.create(wnb.Agent(name='plain', config={**there, 'api_key': 'os.environ/bobs_login'}))",
    "written": "rt.create(wnb.Agent(name='written', config=wnb.AIConfig(**there, api_key=key('written'))))",
    "of": "rt.create(wnb.Agent(name='of', config=wnb.AIConfig.of({'openai': {**there, 'api_key': key('of')}})))",
    "agent": "rt.create(wnb.Agent(name='agent', config={**there, 'api_key': key('agent')}))",
    "session": "rt.create(wnb.Agent(name='session', config=there)).configure(api_key=key('session'))",
    "call": "rt.create(wnb.Agent(name='call', config=there))",
    "flag": "%agent new flag --model openai/test --set api_base={{url}} --set api_key={{key('flag')}}",
    "line": "%agent new line --model openai/test --set api_base={{url}}\n%agent config line api_key={{key('line')}}",
    "anthropic": "os.environ['ANTHROPIC_API_KEY'] = key('anthropic')\n"
    "rt.create(wnb.Agent(name='anthropic', config={**there, 'model': 'anthropic/test'}))",
    "gemini": "os.environ['GEMINI_API_KEY'] = key('gemini')\n"
    "rt.create(wnb.Agent(name='gemini', config={**there, 'model': 'gemini/test'}))",
    "all": "rt.create(wnb.Agent(name='all'))\nwnb.configure(**there, api_key=key('all'))",  # last: above all agents' own
}
OTHER_FORMATS = ("anthropic", "gemini")
#: What people look at.
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


@pytest.mark.parametrize("kind", ["like", "unlike"])
async def test_no_call_shows_a_key(kind: str, provider: Provider, tmp_path: Path) -> None:
    keys = {name: key_of(kind, name) for name in WAYS_IN}
    lay_out(tmp_path, kind, provider.url)
    async with OnThisMachine(tmp_path) as kernel:
        await kernel.run(START)
        await kernel.run(f"url = {provider.url!r}\nthere = {{'model': 'openai/test', 'api_base': url}}\n{SWEEP}")
        before = await trust(kernel)
        assert "a key that the file holds" in before

        for name, cell in WAYS_IN.items():
            await kernel.run(cell)
            words = ELSEWHERE if name in OTHER_FORMATS else WORDS
            given = "{**more, 'api_key': key('call')}" if name == "call" else "more"
            sent = f"lambda word, more: rt[{name!r}].submit(word, config={given})"
            swept = await kernel.send(f"await sweep({words}, {sent})").ok(20)
            assert fates(swept.text) == {word: FATES.get(word, "the test says no") for word in words}, name
        assert {name for name in keys if keys[name] in map(received, provider.requests)} == set(keys)
        await kernel.run("wnb.configure({})")

        for mode in MODES:
            await kernel.run(f"%xmode {mode}")
            for cell, says in ENDINGS.items():
                assert re.search(says, await kernel.send(cell).error())
                await kernel.run("print(json.dumps(told(sys.last_value)))")

        for look in LOOKS:
            for name in ("bob", "dot", "written") if "{0}" in look else ("",):
                await kernel.run(f"%agent {look.format(name)}")
        await kernel.run("%agent save written\n%agent save bob --force\n%agents")
        names = "run=run, store=[*rt.store.records('bob')], there=there, layer=rt.explain('bob'), news=rt.refresh()"
        await kernel.run(f"print(json.dumps(kept(rt=rt, keys=rt.keys, config=rt.resolve(), {names})))")
        await kernel.run("import copy, pickle\nfor one in rt.sessions:\n"
                         "    print(pickle.dumps(one.agent), pickle.dumps(one.config), copy.deepcopy(one.agent))")  # fmt: skip
        for code in ("rt", "rt.keys", "rt.project", "run", "run.config", "run.error"):
            asked = await kernel.request("inspect_request", code=code, cursor_pos=len(code), detail_level=1)
            assert asked["found"]
            kernel_says = {f"{code}?": json.dumps(asked)}
            assert hits(kernel_says, tuple(keys.values())) == []

        everything = kernel.said()
        everything["stderr"] = await kernel.shutdown()
    everything |= {"log": (tmp_path / "debug.log").read_text(), "trust": str([*(tmp_path / "home").iterdir()])}
    everything |= {name: (tmp_path / f"agents/{name}.yaml").read_text() for name in ("bob", "written")}
    assert "api_base" in everything["written"]
    assert hits(everything, tuple(keys.values())) == []


#: What the run of a word says, unless it is the provider's own words.
FATES = {
    "fine": "succeeded",
    "refused": "the provider refused",
    "forbidden": "the provider refused",
    "cut": "broke off",
    "garbage": "broke off",
    "late": "nothing arrived",
    "unreached": "Check the network",
}
#: Cells that end badly.
ENDINGS = {
    "run = rt['bob'].submit('broken!')\nawait run": "RunFailed: .*the test says no",
    "run.result()": "RunFailed: .*the test says no",
    "raise run.error": "ModelError: .*the test says no",
    "await rt['written'].submit('partly!')": "RunFailed",
    "%agent ask flag -b --set api_key={{key('flag')}} broken!": "UsageError: .*the test says no",
    "%agent ask flag --set api_key={{key('flag')}} --set top_p=9 Hi": "UsageError: top_p 9",
    "%agent ask flag --set api_key={{key('flag')}} Hi {{ 1 / 0 }}": "UsageError: .*ZeroDivisionError",
    "%agent ask flag --set api_key={{key('flag')}} Hi {{ sys.exit('stop') }}": "SystemExit: stop",
    "%agent config flag api_key={{key('flag')}} top_p=9": "UsageError: top_p 9",
    "%agent config flag api_key {{key('flag')}}": "UsageError: .*is not FIELD=VALUE",
    "%agent new flag --set api_key {{key('flag')}}": "UsageError: .*",
}


def fates(printed: str) -> dict[str, str]:
    """What became of each word, in the words of FATES."""
    found = {}
    for line in printed.splitlines():
        for word, (status, error, _) in json.loads(line).items():
            wanted = FATES.get(word, "the test says no")
            found[word] = wanted if wanted in (status if word == "fine" else error) else f"{status}: {error}"
    return found
