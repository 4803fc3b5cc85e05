"""Keys do not leak into reprs, files, records or errors. See also tests/kernel/test_kernel_secrets.py."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whisper_nb as wnb
from support.leaks import (
    LIKE,
    UNLIKE,
    WAYS,
    hits,
    reprs_of,
    texts_of,
)
from whisper_nb import Agent, AIConfig, ConfigError, Runtime
from whisper_nb.config.keys import Key, Keys, Vault
from whisper_nb.config.layers import Layer
from whisper_nb.config.paths import user_folder
from whisper_nb.core.errors import SessionError

WARNED = "the API key is a literal"


# The search for a key in objects and errors, which tests in a kernel use, too


def test_the_search_for_keys_finds_a_part_of_a_key() -> None:
    whole, part, less = f"x{LIKE}x", f"x{UNLIKE[5:17]}x", f"x{UNLIKE[5:16]}x"
    assert [hit.partition(":")[0] for hit in hits({"a": whole, "b": part, "c": less})] == ["a", "b"]


def test_the_search_for_keys_covers_errors_and_objects() -> None:
    def fail(secret: str) -> None:
        raise ValueError(secret)

    with pytest.raises(ValueError, match="sk-") as caught:
        fail(LIKE)
    found = {hit.partition(":")[0] for hit in hits(texts_of(caught.value))}
    assert {"0 ValueError", "0 ValueError in Verbose", "0 ValueError in Minimal"} <= found
    layer = Layer(AIConfig(), sources={"model": LIKE})
    assert {hit.partition(":")[0] for hit in hits(reprs_of(x=[layer]))} == {
        "x", "x[0]", "x[0].sources", "x[0].sources['model']",
    }  # fmt: skip


# Given in Python


@pytest.fixture(params=[LIKE, UNLIKE], ids=["like", "unlike"])
def key(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key, which is also in a file, so that the source of a cell need not contain it."""
    monkeypatch.chdir(tmp_path)
    Path("key").write_text(f"{request.param}\n")
    return str(request.param)


@pytest.fixture
def team(runtime: Runtime) -> Runtime:
    """A runtime with an agent, bob."""
    runtime.create(Agent(name="bob"))
    return runtime


def run(source: str, rt: Runtime, **names: object) -> Any:
    """The value of a cell's expression, in which `key()` is the key and `bob` a session."""
    namespace = {"wnb": wnb, "rt": rt, "bob": rt.get("bob"), "key": Path("key").read_text, **names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{WARNED}", UserWarning)
        return eval(compile(source, "<cell>", "eval"), namespace)


def failure(source: str, rt: Runtime, says: str, **names: object) -> BaseException:
    """The error of a cell. No frame of the test may hold the key."""
    with pytest.raises((ConfigError, SessionError, TypeError, ZeroDivisionError), match=says) as caught:
        run(source, rt, **names)
    return caught.value


class Unprintable:
    """An object whose repr fails: a foreign error inside our frames."""

    def __repr__(self) -> str:
        return str(1 / 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"temperature": 9}, "temperature 9 is not a number from 0 to 2"),
        ({"temprature": 1}, "unknown config field 'temprature'|has no argument 'temprature'"),
        ({"model": "x"}, "model 'x' is not provider/model"),
        ({"extra": {"password": "1"}}, "extra must not contain password"),
        ({"temperature": Unprintable()}, "temperature|division by zero"),
    ],
    ids=["range", "unknown", "model", "extra", "unprintable"],
)
async def test_an_error_beside_a_key_does_not_show_it(
    way: str, more: dict[str, Any], says: str, key: str, team: Runtime
) -> None:
    del key
    assert hits(texts_of(failure(way, team, says, more=more))) == []


@pytest.mark.parametrize("way", [way.replace("**more", "'model': 'openai/x'") for way in WAYS if "{**more" in way])
async def test_a_warning_that_is_an_error_does_not_show_a_key(way: str, key: str, team: Runtime) -> None:
    del key
    names = {"wnb": wnb, "rt": team, "bob": team["bob"], "key": Path("key").read_text}
    cell = compile(way, "<cell>", "eval")
    with warnings.catch_warnings(action="error"), pytest.raises(UserWarning, match=WARNED) as caught:
        eval(cell, names)
    assert hits(texts_of(caught.value)) == []


class Interrupted(BaseException):
    """An interrupt, or the outcome of a test runner."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt, MemoryError, RecursionError, KeyError])
async def test_no_error_of_any_class_shows_a_key(way: str, kind: type[BaseException], key: str, team: Runtime) -> None:
    del key

    class Stops(dict[str, int]):
        def items(self) -> Any:
            raise kind("stop")

    with pytest.raises(kind) as caught:
        run(way, team, more={"extra": Stops({"a": 1})})
    assert hits(texts_of(caught.value)) == []
    assert caught.value.__context__ is None
    if kind is KeyError:
        assert "It was raised in items, line" in caught.value.__notes__[0]


@pytest.mark.parametrize("cell", ["rt.refresh()", "rt.review()", "rt.create('bob')", "rt.described('bob')"])
async def test_no_error_shows_a_key_of_a_file(
    cell: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: the error stands for a fault in a library."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "config").mkdir()
    async with Runtime(environ={}, project=tmp_path) as rt:
        text = f"prompt: x\nmodel: openai/x\nai_config: {{model: openai/x, api_key: {key}}}\n"
        (tmp_path / "agents/bob.yaml").write_text(text)

        def fail(data: bytes, *_: object) -> None:
            raise DeprecationWarning("old")

        monkeypatch.setattr("whisper_nb.config.agentfiles.parse_yaml", fail)
        monkeypatch.setattr("whisper_nb.config.agentfiles.Entry.build", fail)
        del key, text
        with pytest.raises((DeprecationWarning, ConfigError)) as caught:
            eval(compile(cell, "<cell>", "eval"), {"rt": rt})
    assert hits(texts_of(caught.value)) == []


CONFIG = "{'model': 'openai/x', 'api_key': key()}"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("wnb.AIConfig(api_key=[key()])", "api_key must be text, not list"),
        ("wnb.AIConfig(api_key=key().encode())", "api_key must be text, not bytes"),
        ("wnb.AIConfig(api_key=key() + key())", "api_key is empty or contains spaces"),
        ("wnb.AIConfig(api_base=f'http://me:{key()}@host')", "api_base"),
        ("wnb.AIConfig(api_base=f'http://host?key={key()}')", "api_base"),
        ("wnb.AIConfig(extra={'api_key': key()})", "extra must not contain api_key"),
        ("wnb.AIConfig(extra={'extra_headers': {'Authorization': 'Bearer ' + key()}})", "contain Authorization"),
        ("wnb.AIConfig.of([key()])", "a config cannot be made of list"),
        (f"wnb.Agent(name='b b', config={CONFIG})", "name 'b b'"),
        (f"wnb.Agent(name='bob', tools=[1], config={CONFIG})", "1 is not a tool"),
        (f"bob.submit('', config={CONFIG})", "an empty prompt"),
        (f"bob.submit('Hi', priority='soon', config={CONFIG})", "unknown priority 'soon'"),
        (f"bob.submit('Hi', timeout_s=-1, config={CONFIG})", "timeout_s -1"),
        (f"bob.submit([1], config={CONFIG})", "not int"),
        (f"(bob.stop(), bob.submit('Hi', config={CONFIG}))", "bob was stopped"),
        (f"bob.resolved({CONFIG})", "."),
        (f"rt.resolve(call={CONFIG})", "."),
        (f"rt.explain(call={CONFIG})", "."),
        (f"rt.configure({CONFIG}, offline='x')", "model 'x' is not provider/model"),
        (f"wnb.Runtime(config={CONFIG}, max_concurrent_calls=0)", "max_concurrent_calls 0"),
        ("wnb.Runtime(config='x', environ={'OPENAI_API_KEY': key()})", "model 'x' is not provider/model"),
    ],
)
async def test_no_error_of_a_call_shows_a_key_among_its_arguments(
    source: str, says: str, key: str, team: Runtime
) -> None:
    del key
    assert hits(texts_of(failure(source, team, says))) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("wnb.AIConfig(model=key().strip())", "is not provider/model"),
        ("wnb.AIConfig.of(key().strip())", "is not provider/model"),
        ("wnb.AIConfig(temperature=key())", "is not a number"),
        ("wnb.AIConfig(stop=[key(), 1])", "is not a list of non-empty texts"),
        ("wnb.AIConfig.of({'provider': key(), 'model': 'x'})", "is not the name of a provider"),
        ("wnb.AIConfig.of({'model': 'openai/x', 'api_key_env': key().strip()})", "variable"),
        ("wnb.Agent(name='bob', config=key().strip())", "is not provider/model"),
    ],
)
async def test_a_key_in_a_wrong_place_is_not_shown(
    source: str, says: str, tmp_path: Path, team: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").write_text(f"{LIKE}\n")
    assert hits({"it says": str(failure(source, team, says))}) == []


@pytest.mark.parametrize("way", [way.replace("**more", "'model': 'openai/x'") for way in WAYS if "{**more" in way])
async def test_a_literal_key_gives_a_warning_and_is_used_and_not_shown(way: str, key: str, team: Runtime) -> None:
    bob = team["bob"]
    bob.pause()  # nothing is to be sent
    with pytest.warns(UserWarning, match=WARNED) as heard:
        made = eval(way, {"wnb": wnb, "rt": team, "bob": bob, "key": Path("key").read_text})
    rt = made if isinstance(made, Runtime) else team
    bob = rt.create(made if isinstance(made, Agent) else Agent(name="bob"))
    config = bob.resolved(made if isinstance(made, AIConfig) else getattr(made, "config", None))
    found = rt.keys.key("openai", config.api_key)
    assert found is not None
    assert found.reveal() == key
    things = {"made": made, "rt": rt, "bob": bob, "config": config, "layer": rt.explain("bob"), "key": found}
    assert hits({"the warning": str([vars(one) for one in heard]), **reprs_of(**things)}) == []


def test_no_copy_of_a_config_or_an_agent_contains_a_key(key: str) -> None:
    with pytest.warns(UserWarning, match=WARNED):
        config = AIConfig.of({"model": "openai/x", "api_key": key, "temperature": 1})
    agent = Agent(name="bob", config=config)
    for one in (config, agent):
        copies = {
            "pickled": pickle.dumps(one).decode("latin-1"),
            "asdict": str(dataclasses.asdict(one)),  # type: ignore[call-overload]
            "astuple": str(dataclasses.astuple(one)),  # type: ignore[call-overload]
            "replaced": repr(dataclasses.replace(one)),  # type: ignore[type-var]
            "formatted": f"{one} {one!r} {one!s:>9} %s" % one,
            "hash": str(hash(one)),
        }
        assert hits(copies | reprs_of(deepcopy=copy.deepcopy(one), loaded=pickle.loads(pickle.dumps(one)))) == []
        assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert hits({"values": str(config.values()), "document": str(agent.document())}) == []


def test_no_object_with_keys_shows_them(key: str) -> None:
    vault, keys = Vault(), Keys({"OPENAI_API_KEY": key})
    reference = vault.put(key)
    keys.read(f"MY_KEY={key}\n", ".env")
    assert [vault.get(reference).reveal(), keys.get("MY_KEY"), *vault] == [key] * 3  # type: ignore[union-attr]
    held = {"vault": vault, "keys": keys, "key": Key("X", key), "reference": reference}
    assert hits(reprs_of(**held) | {"slots": str([getattr(keys, name) for name in Keys.__slots__])}) == []


# Given in files


@pytest.fixture
async def rt(key: str, tmp_path: Path) -> AsyncIterator[Runtime]:
    """Return a runtime of a project with literal keys, for all agents and for bob, and a `.env` file for `ann`."""
    for name, text in {
        "config/main.yaml": f"env_file: keys.env\nopenai:\n  model: x\n  api_key: {key}\n",
        "agents/bob.yaml": f"system_prompt: You are Bob.\nai_config:\n  model: groq/x\n  api_key: {key}\n",
        "agents/ann.yaml": "system_prompt: You are Ann.\nai_config:\n  model: groq/x\n  api_key: os.environ/ANNS_KEY\n",
        "keys.env": f"# hers\nANNS_KEY={key}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    async with Runtime(environ={}, project=tmp_path) as rt:
        yield rt


async def test_a_project_with_keys_shows_none(rt: Runtime, key: str) -> None:
    ann, bob = rt["ann"], rt["bob"]
    for config in (ann.config, bob.config, rt.resolve()):
        found = rt.keys.key(config.provider, config.api_key)
        assert found is not None
        assert found.reveal() == key
    layers = [rt.explain(name) for name in ("ann", "bob")]
    news = rt.refresh()
    assert sum(WARNED in line for line in news) == 2
    assert hits(reprs_of(rt=rt, layers=layers, news=news)) == []
    assert hits({"pickled": pickle.dumps([ann.agent, bob.agent]).decode("latin-1")}) == []


async def test_a_saved_agent_contains_no_key(rt: Runtime, key: str) -> None:
    error = failure("rt.save('bob')", rt, "exists with other content")
    assert hits(texts_of(error)) == []
    saved = rt.save("bob", overwrite=True).read_text()
    assert "model: groq/x" in saved
    assert "api_key" not in saved
    assert hits({"saved": saved}) == []
    assert hits(texts_of(failure("rt.save('nobody')", rt, "no agent named 'nobody'"))) == []


MAIN = "openai:\n  model: x\n  "


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("config/main.yaml", MAIN + "api_key: <key>\n  params: {temperature: 9}\n", ":4: temperature 9 is not"),
        ("config/main.yaml", MAIN + "api_key: [<key>]\n", ":3: api_key must be text, not list"),
        ("config/main.yaml", MAIN + "api_key: <key> <key>\n", ":3: api_key is empty or contains spaces"),
        ("config/main.yaml", MAIN + "api_key: <key>\n  api_key: <key>\n", ":4: the key 'api_key' appears twice"),
        ("config/main.yaml", MAIN + "api_key <key>\n", ":[34]: not YAML"),
        ("config/main.yaml", MAIN + "api_key: '<key>\n", ":[34]: not YAML"),
        ("config/main.yaml", MAIN + 'api_key: "\\q<key>"\n', ":3: not YAML"),
        ("config/main.yaml", MAIN + "api_key: *<key>\n", ":3: aliases"),
        ("config/main.yaml", MAIN + "api_base: http://me:<key>@host\n", ":3: api_base must not contain a password"),
        ("agents/bob.yaml", "system_prompt: Hi\napi_key: <key>\n", ":2: unknown key 'api_key' of an agent"),
        ("agents/bob.yaml", "ai_config: {model: openai/x, api_key: <key>, top_p: 9}\n", ":1: top_p 9"),
        ("agents/bob.yaml", "ai_config: {model: openai/x, api_key: <key>}\ntools: [1]\n", ":2: tools"),
        ("agents/bob.md", "---\nname: bob\nconfig:\n  api_key: <key>\n  top_p: 9\n---\nHi\n", ":5: top_p 9"),
        ("keys.env", "OPENAI_API_KEY <key>\n", ":1: not a line of the form NAME=value"),
        ("keys.env", "A=1\nOPENAI_API_KEY='<key>\n", ":2: not a line of the form NAME=value"),
    ],
)
async def test_an_error_in_a_file_does_not_show_a_key_beside_it(
    file: str, text: str, says: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "agents").mkdir()
    (tmp_path / "config/main.yaml").write_text("env_file: keys.env\n")
    (tmp_path / "keys.env").write_text("")
    (tmp_path / file).write_text(text.replace("<key>", key))
    async with Runtime(environ={}, project=tmp_path) as rt:
        assert rt.project is not None
        news, problems = rt.refresh(), rt.project.used.problems
        assert re.search(file + says, "\n".join(news))
        errors = {}
        if file != "keys.env":
            errors = texts_of(failure("rt.resolve()" if "main" in file else "rt.create('bob')", rt, says))
    assert hits(errors | reprs_of(news=news, problems=problems)) == []


# Given in the environment


def test_help_and_signatures_show_no_environment(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect
    import pydoc

    monkeypatch.setenv("OPENAI_API_KEY", key)
    public = [getattr(wnb, name) for name in wnb.__all__]
    docs = {repr(one): pydoc.render_doc(one) for one in public if inspect.isclass(one) or inspect.isfunction(one)}
    assert "environ" in docs[repr(Runtime)]
    assert hits(docs) == []


def test_a_bad_home_is_an_error_that_shows_no_environment(key: str) -> None:
    with pytest.raises(ConfigError, match="WHISPER_NB_HOME") as caught:
        user_folder({"WHISPER_NB_HOME": "~no-such-user/x", "OPENAI_API_KEY": Path("key").read_text()})
    # The frame of this test itself has the key among its arguments.
    assert [hit for hit in hits(texts_of(caught.value)) if "in Verbose" not in hit] == []


@given(
    keys=st.lists(st.text("abAB01_-", min_size=8, max_size=24), min_size=1, max_size=4),
    pieces=st.lists(st.text("abAB01_- /:", max_size=8), min_size=5, max_size=5),
)
def test_no_known_key_is_left_in_a_redacted_text(keys: list[str], pieces: list[str]) -> None:
    found = Keys({"OPENAI_API_KEY": keys[0], "DB_PASSWORD": keys[-1]})
    found.read("\n".join(f"KEY_{number}={key}" for number, key in enumerate(keys)), ".env")
    text = pieces[0] + "".join(key + piece for key, piece in zip(keys, pieces[1:], strict=False))
    redacted = found.redact(text)
    assert "[redacted]" in redacted
    assert [key for key in keys if key in redacted] == []
