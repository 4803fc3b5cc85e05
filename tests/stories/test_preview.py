"""A preview is what is then sent: over real sockets to the byte, through LiteLLM the same call. It sends nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from support.doubles import HeldModel, hire, observed_by
from support.provider import DONE, Provider, call, finish, says, text, usage
from whisper_nb import Agent, AIConfig, ConfigError, Rule, RunFailed, Runtime, ScriptedModel
from whisper_nb.core.errors import LengthExceeded
from whisper_nb.core.events import ModelReplied
from whisper_nb.core.messages import Image
from whisper_nb.engine.preview import Preview
from whisper_nb.engine.runs import Run

KEY = "sk-of-openai-0123456789"
PNG = Image("image/png", "iVBORw0KGgo=")


@pytest.fixture
async def provider(complaints: list[str]) -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt() -> AsyncIterator[Runtime]:
    async with Runtime(environ=dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY"), KEY)) as rt:
        yield rt


def rows(limit: int = 10) -> int:
    """Count rows."""
    return limit


def replies(run: Run) -> list[str]:
    """The fingerprints of the run's calls."""
    return [record.event.fingerprint for record in run.events if isinstance(record.event, ModelReplied)]


WAYS = [
    ("wire", "openai/gpt-4o-mini", {}),
    ("wire", "openai/gpt-4o-mini", {"stream": False, "temperature": 1, "stop": ["END"], "extra": {"top_k": 4}}),
    ("wire", "openrouter/test/model", {"max_tokens": 10, "max_reasoning_tokens": 5}),
    ("litellm", "openai/gpt-4o-mini", {"seed": 1}),
    ("litellm", "hosted_vllm/test-model", {"extra": {"extra_headers": {"X-Team": "blue"}}}),
    ("litellm", "anthropic/claude-haiku-4-5", {"max_tokens": 100}),
]


@pytest.mark.parametrize(("transport", "model", "config"), WAYS, ids=[f"{way[0]}-{way[1]}-{way[2]}" for way in WAYS])
async def test_a_preview_is_what_the_call_then_sends(
    rt: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch, transport: str, model: str, config: dict[str, Any]
) -> None:
    given = AIConfig(model=model, transport=transport, api_base=provider.url, **config)
    bob = rt.create(Agent(name="bob", config=given, tools=(rows,)))
    provider.answers.append([*call(0, "rows", "{}"), finish("tool_calls"), usage(3, 2), DONE])
    await bob.submit("How many?")
    prompt = ["And these? ⟨größer⟩", PNG]
    preview = await bob.preview(prompt)
    arguments: list[dict[str, Any]] = []
    if transport == "litellm":
        import litellm

        complete = litellm.acompletion

        async def acompletion(**given: Any) -> Any:
            arguments.append({name: value for name, value in given.items() if name not in ("client", "api_key")})
            return await complete(**given)

        monkeypatch.setattr(litellm, "acompletion", acompletion)
    runs = [bob.submit(prompt)]
    await runs[0]
    assert replies(runs[0]) == [preview.fingerprint]
    assert preview.transport == transport
    assert KEY not in preview.json
    if transport == "wire":
        assert provider.requests[-1].raw == preview.body
        return
    assert json.loads(preview.body) == arguments[-1]
    before = provider.requests[-1].raw
    bob.reset()
    for _ in range(2):
        await bob.submit(prompt, fresh=True)
    assert provider.requests[-1].raw == provider.requests[-2].raw != before


async def test_the_ways_to_a_server_have_one_fingerprint(rt: Runtime, provider: Provider) -> None:
    prints = set()
    for number, values in enumerate(
        ({}, {"transport": "litellm"}, {"stream": False}, {"timeout_s": 9.0, "retries": 0})
    ):
        config = AIConfig(model="openai/gpt-4o-mini", api_base=provider.url, api_key="os.environ/OPENAI_API_KEY")
        one = rt.create(Agent(name=f"one-{number}", system_prompt="Be brief.", config=AIConfig.of(config, **values)))
        run = one.submit("How many?")
        await run
        prints |= {*replies(run), (await one.preview("How many?", fresh=True)).fingerprint}
    assert len(prints) == 1


async def test_a_server_of_the_environment_is_a_part_of_it(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = []
    for environ in ({"OPENAI_BASE_URL": provider.url}, {}):
        async with Runtime(environ={"OPENAI_API_KEY": KEY, **environ}) as rt:
            bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini")))
            preview = await bob.preview("Hi")
            prints.append(preview.fingerprint)
            if environ:
                assert preview.address == provider.url
                run = bob.submit("Hi")
                await run
                assert replies(run) == prints
            else:
                assert preview.address == "https://api.openai.com/v1"
    assert prints[0] != prints[1]


@dataclass
class Verdict:
    """A judgement."""

    ok: bool


@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
async def test_an_output_type_is_a_part_of_it(rt: Runtime, provider: Provider, mode: str) -> None:
    config = AIConfig(model="openai/gpt-4o-mini", api_base=provider.url, output_mode=mode)
    bob = rt.create(Agent(name="bob", config=config))
    preview = await bob.preview("Is it?", output_type=Verdict)
    if mode == "tool":
        provider.answers.append([*call(0, "Verdict", '{"ok": true}'), finish("tool_calls"), usage(3, 2), DONE])
    else:
        provider.answers.append(says('{"ok": true}'))
    run = bob.submit("Is it?", output_type=Verdict)
    assert (await run).ok
    assert provider.requests[-1].raw == preview.body
    assert replies(run) == [preview.fingerprint] != [(await bob.preview("Is it?", fresh=True)).fingerprint]
    (part,) = [part for part in preview.parts if part.kind == "output"]
    assert (part.text, part.source) == (f"Verdict, mode {mode}", "call")
    typed = rt.create(Agent(name="typed", config=config, output_type=Verdict))
    assert {"output": "agent typed"}.items() <= {
        one.kind: one.source for one in (await typed.preview("?")).parts
    }.items()


# It changes nothing


async def test_it_sends_nothing_asks_nobody_and_changes_nothing(rt: Runtime, provider: Provider) -> None:
    events = observed_by(rt)
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/local", api_base=provider.url)))
    preview = await bob.preview("x " * 5_000)
    assert not provider.requests
    assert not provider.looked_up
    assert not events
    assert bob.runs == ()
    assert not bob.history
    assert repr(preview) == f"<Preview bob → openai/local, about {preview.tokens:,} tokens, {preview.fingerprint[:12]}>"


async def test_no_key_is_needed_and_it_says_what_is_missing(runtime: Runtime) -> None:
    bob = runtime.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini")))
    preview = await bob.preview("Hi")
    assert preview.notes == ("it would fail: OPENAI_API_KEY is not set",)


async def test_bad_arguments_are_errors_at_once(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="fine")]))
    for arguments in ({"prompt": ""}, {"prompt": "x", "priority": "soon"}, {"prompt": "x", "config": {"modell": "y"}}):
        with pytest.raises(ConfigError):
            bob.preview(**arguments)  # type: ignore[arg-type]


# It is what the call leaves out


async def test_it_leaves_out_what_the_call_leaves_out(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="fine " * 20)], context_tokens=200)
    for name, options in {"all": {}, "last": {"memory": "last:2"}, "fresh": {}}.items():
        fresh = name == "fresh"
        bob = hire(runtime, model, name=name, **options)
        left_out = []
        for number in range(12):
            preview = await bob.preview(f"prompt {number}", fresh=fresh)
            again = await bob.preview(f"prompt {number}", fresh=fresh)
            run = bob.submit(f"prompt {number}", fresh=fresh)
            await run
            assert replies(run) == [preview.fingerprint] == [again.fingerprint]
            assert list(model.requests[-1].messages) == list(preview.request.messages)
            left_out.append(dict(preview.left_out))
        assert left_out[0] == {}
        assert left_out[-1] == {"all": {"the model's context": 6}, "last": {"memory last:2": 18}, "fresh": {}}[name]
    assert dict((await runtime["all"].preview("x", fresh=True)).left_out) == {"a fresh run": 24}


async def test_a_prompt_that_is_too_long_is_an_error_or_a_note(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="fine")], context_tokens=50)
    bob = hire(runtime, model, max_prompt_tokens=20)
    with pytest.raises(LengthExceeded, match="Nothing was sent"):
        await bob.preview("word " * 60)
    preview = await bob.preview("word " * 25)
    assert preview.counted
    (note,) = preview.notes
    assert note.startswith(
        f"it would fail: the prompt has {preview.tokens} tokens, and max_prompt_tokens of bob allows 20"
    )
    with pytest.raises(RunFailed, match="max_prompt_tokens of bob allows 20"):
        await bob.submit("word " * 25)


async def test_what_is_not_known_yet_is_said(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    first = bob.submit("first")
    call = await model.arrived()
    preview = await bob.preview(["and ", first])
    assert preview.request.messages[-1].text == "and ⟨bob#1⟩"
    assert preview.notes == (
        "the answer of bob#1 will stand in its place: the request is another one then",
        "1 unfinished run of bob will be in the history before it: the request is another one then",
    )
    call.release()
    await first
    assert (await bob.preview(["and ", first])).request.messages[-1].text == "and partial and done"


# Its parts


async def test_each_part_has_its_origin_and_its_tokens(rt: Runtime, provider: Provider) -> None:
    bob = rt.create(
        Agent(
            name="bob",
            system_prompt="Be brief.",
            config=AIConfig(model="openai/gpt-4o-mini", api_base=provider.url, temperature=0.5),
            tools=(rows,),
            memory="last:1",
        )
    )
    for prompt in ("first", "second"):
        await bob.submit(prompt)
    rt.configure(top_p=0.5)
    bob.configure(seed=1)
    preview = await bob.preview(["third ", PNG], config={"max_tokens": 100})
    shown = [(part.kind, part.text, part.source) for part in preview.parts]
    assert shown == [
        ("system", "Be brief.", "agent bob"),
        ("left out", "2 messages", "memory last:1"),
        ("history", "user: second", "history"),
        ("history", "assistant: Hello world", "history"),
        ("prompt", "third ⟨image 1⟩", "call"),
        ("image", "⟨image 1⟩ image/png 8 B", "call"),
        ("tool", "rows: Count rows.", "agent bob"),
        ("parameter", "temperature = 0.5", "agent bob"),
        ("parameter", "top_p = 0.5", "configure"),
        ("parameter", "max_tokens = 100", "call"),
        ("parameter", "seed = 1", "session"),
    ]
    tokens = {part.kind: part.tokens for part in preview.parts}
    assert tokens["image"] == 1_600
    assert tokens["left out"] == tokens["parameter"] == 0
    assert 0 < tokens["prompt"] < 60
    assert preview.input_usd == pytest.approx(preview.tokens * 0.15e-6)
    assert preview.likely_usd == preview.most_usd == pytest.approx(preview.tokens * 0.15e-6 + 100 * 0.6e-6)


async def test_tools_and_results_in_the_history_are_parts_of_it(runtime: Runtime) -> None:
    bob = hire(
        runtime,
        ScriptedModel([Rule(role="tool", reply="ten"), Rule(calls=[{"name": "rows", "arguments": {}}], reply="see")]),
        tools=(rows,),
    )
    await bob.submit("how many?")
    preview = await bob.preview("thanks")
    assert [part.text for part in preview.parts if part.kind == "history"] == [
        "user: how many?",
        "assistant calls rows see",
        "rows returned: 10",
        "assistant: ten",
    ]
    assert (preview.input_usd, preview.most_usd, preview.transport, preview.address) == (0.0, 0.0, "here", "")
    assert preview.body == preview.request.description


async def test_what_is_likely_is_learned_under_a_budget(rt: Runtime, provider: Provider) -> None:
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini", api_base=provider.url)))
    rt.set_budget(1.0)
    before = await bob.preview("Hi", fresh=True)
    for _ in range(10):
        provider.answers.append([*text("Hello"), finish("stop"), usage(7, 200), DONE])
        await bob.submit("Hi", fresh=True)
    after = await bob.preview("Hi", fresh=True)
    assert before.likely_usd == pytest.approx(before.tokens * 0.15e-6 + 1_000 * 0.6e-6)
    assert after.likely_usd == pytest.approx(after.tokens * 0.15e-6 + 200 * 0.6e-6)
    assert after.most_usd is None
    assert after.fingerprint == before.fingerprint


async def test_a_preview_can_be_taken_from_any_thread(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="fine")]))

    def look() -> Preview:
        return asyncio.run(bob.preview("hi"))

    assert (await asyncio.to_thread(look)).fingerprint == (await bob.preview("hi")).fingerprint
