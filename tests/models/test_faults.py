"""Faults of a provider, over each way to a model: none is a success, hangs, runs half a tool call or shows a key."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from support.doubles import observed_by, settled
from support.faults import BY_NAME, FAMILIES, KEY, Fault
from support.leaks import hits, reprs_of, texts_of
from support.provider import (
    CUT,
    DONE,
    Answer,
    Provider,
    Raw,
    Refusal,
    Request,
    call,
    finish,
    says,
    text,
    thought,
    usage,
)
from whisper_nb import Agent, AIConfig, ModelError, Run, RunFailed, Runtime, Session
from whisper_nb.core.errors import ContentFiltered, EmptyReply, LengthExceeded
from whisper_nb.core.events import (
    CallRetried,
    ModelReplied,
    Record,
    StateChanged,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)

pytestmark = pytest.mark.faults

#: The least time limit of a call that the provider lets hang: longer than a call takes to arrive.
HANGS_S = 0.5
MESSAGE_LIMIT = 600


@dataclass(frozen=True)
class Line:
    """A way to a model."""

    transport: str
    model: str
    streams: bool = True

    def __str__(self) -> str:
        return f"{self.transport}-{self.provider}-{'stream' if self.streams else 'whole'}"

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]


#: LiteLLM uses OpenAI's SDK, its own client, or its own client with a provider's own format.
MODELS = ["openai/test-model", "hosted_vllm/test-model", "anthropic/claude-haiku-4-5"]
LINES = [
    Line(transport, model, streams)
    for streams in (True, False)
    for transport, models in (("wire", MODELS[:1]), ("litellm", MODELS))
    for model in models
]

#: For properties that do not depend on the provider.
SOME = [LINES[0], LINES[2]]

#: LiteLLM may take longer for these than a deadline allows, depending on the machine's load.
SLOW = {"much of nothing": "litellm-hosted_vllm-stream"}


@dataclass
class Site:
    """A runtime and a provider with faults."""

    runtime: Runtime
    provider: Provider
    closed_port: int
    heard: list[Record]
    log: pytest.LogCaptureFixture
    limit_s: float = HANGS_S
    _hired: int = 0

    def hire(self, line: Line, place: str = "the provider", **config: Any) -> Session:
        self._hired += 1
        name = f"bob{self._hired}"
        address = {
            # An address for each agent, so that a rate limit of one does not delay another.
            "the provider": f"{self.provider.url}/{name}",
            "a closed port": f"http://127.0.0.1:{self.closed_port}/v1",
            "https": self.provider.url.replace("http:", "https:"),
        }[place]

        def add(a: int, b: int = 0) -> int:
            """Add two numbers."""
            return a + b

        config = {"retries": 0, "timeout_s": 300.0, **config}
        given = AIConfig(model=line.model, api_base=address, transport=line.transport, stream=line.streams, **config)
        return self.runtime.create(Agent(name=name, config=given, tools=(add,)))

    def meets(self, fault: Fault, line: Line, **config: Any) -> Run:
        """Submit a run whose call has this fault."""
        if fault.hangs:
            config = {"timeout_s": 2 * self.limit_s, "token_timeout_s": self.limit_s, **config}
        return self.hire(line, fault.place, **config).submit(fault.name)

    def asked(self, name: str) -> list[Request]:
        """The requests to the address of an agent."""
        return [request for request in self.provider.requests if request.path.startswith(f"/v1/{name}/")]


def answer(request: Request) -> Answer:
    """The fault that the prompt names."""
    fault = BY_NAME.get(request.prompt)
    shape = fault.shape(request.streams) if fault else says("fine")
    assert shape is not None
    return shape


@pytest.fixture
async def site(
    complaints: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Site]:
    for name in ("OPENAI", "OPENROUTER", "HOSTED_VLLM", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    caplog.set_level(logging.INFO)
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        async with Provider(answer) as provider, Runtime() as runtime:
            yield Site(runtime, provider, nobody.getsockname()[1], observed_by(runtime), caplog)


async def ready(site: Site, line: Line) -> None:
    """Import all that a call needs, and derive the limit of calls that hang from the time of a plain call."""
    assert await site.hire(line).submit("Are you there?") == "fine"
    run = site.hire(line).submit("And now?")
    await run
    site.limit_s = min(max(HANGS_S, 20 * (run.seconds or 0.0)), 20.0)  # the slowest answers drip for 100 s


# Each family of faults


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("line", LINES, ids=str)
async def test_each_fault_is_an_error_and_the_next_run_succeeds(site: Site, line: Line, family: str) -> None:
    await ready(site, line)
    faults = faults_of(line, family)
    together = asyncio.Semaphore(1 if family == "big" else len(faults) or 1)

    async def look(fault: Fault) -> str:
        async with together:
            return await verdict(site, line, fault)

    found = await asyncio.gather(*map(look, faults))
    wrong = {fault.name: one for fault, one in zip(faults, found, strict=True) if one}

    assert wrong == {}
    assert hits({"log": site.log.text}, (KEY,)) == []


def faults_of(line: Line, family: str) -> list[Fault]:
    """The faults of a family that are possible on a line: those of bytes are in one format only."""
    faults = [
        fault
        for fault in FAMILIES[family]
        if fault.shape(line.streams) is not None and str(line) not in SLOW.get(fault.name, "")
    ]
    if family == "big" and line.provider == "openrouter":  # takes seconds, and the same client as hosted_vllm
        return []
    if line.provider != "anthropic":
        return [] if family == "Anthropic's" else faults
    if family in ("nonsense", "disguised", "typed oddly", "big"):
        return []
    return [fault for fault in faults if not (isinstance(fault.shape(line.streams), Raw) and fault.kept)]


async def verdict(site: Site, line: Line, fault: Fault) -> str:
    """The problem of a run's outcome; empty if there is none."""
    run = site.meets(fault, line)
    await settled(run)
    try:
        no_tool_ran_on_half_a_call(run)
        if run.status == "failed":
            failed(run, fault, line)
        else:
            assert (run.status, run.text) == ("succeeded", fault.may_say)
        no_key(site, run)
        await closed(site, run, fault, line)
        await goes_on(site, run)
    except AssertionError as error:
        return f"{error} | {run.status}: {run.error!r}"[:1000]
    return ""


def no_tool_ran_on_half_a_call(run: Run) -> None:
    done = [record.event.message for record in run.events if isinstance(record.event, ToolFinished)]
    assert all(message.is_error for message in done)
    assert run.status == "succeeded" or not any(isinstance(record.event, ToolStarted) for record in run.events)


def failed(run: Run, fault: Fault, line: Line) -> None:
    """The problem of a failed run; empty if there is none."""
    error = run.error
    assert isinstance(error, ModelError), type(error)
    assert str(error).startswith(f"{line.model}: ")
    assert fault.says in str(error)
    assert len(str(error)) < MESSAGE_LIMIT
    assert error.retryable is fault.retryable
    told = error.finish.cost_usd if error.finish else None
    assert run.cost == (0.0 if fault.free(line.streams) else told)
    assert run.session.history == ()
    assert isinstance(error, EmptyReply) is (fault.says == "the reply is empty")
    assert isinstance(error, LengthExceeded) is ("too long" in fault.name)
    assert isinstance(error, ContentFiltered) is fault.name.startswith("filtered")
    if line.streams:
        assert run.text.startswith(fault.kept)
        assert fault.big or fault.kept or not run.text
    if isinstance(answered := fault.shape(line.streams), Refusal):
        assert error.status == answered.status


def no_key(site: Site, run: Run) -> None:
    """The key was sent to the provider, repeated by it, and is shown nowhere."""
    assert {request.key for request in site.asked(run.session.name)} <= {KEY}
    heard = [record for record in site.heard if record.agent == run.session.name]
    everything = {"run": f"{run!r} {run} {run.events}", "heard": str(heard)}
    assert hits({**texts_of(run.error, modes=()), **everything}, (KEY,)) == []


async def closed(site: Site, run: Run, fault: Fault, line: Line) -> None:
    """The provider was called once, and a call that it lets hang was closed."""
    replies = sum(isinstance(record.event, ModelReplied) for record in run.events)
    requests = site.asked(run.session.name)
    calls = replies + (run.status == "failed") if fault.place == "the provider" else 0
    assert len(requests) in _requests(fault, line, calls)
    assert not any(isinstance(record.event, CallRetried) for record in run.events)
    if fault.hangs and run.status == "failed":
        await requests[0].gone.wait()


def _requests(fault: Fault, line: Line, calls: int) -> range:
    """The numbers of requests that so many calls may make: one each, and one more where a kept connection was used."""
    return range(calls, calls * (1 + fault.silent(line.streams)) + 1)


async def goes_on(site: Site, run: Run) -> None:
    """The session's next prompt is answered, and the history that is sent with it has no dangling call."""
    before = run.session.history
    name = f"{run.session.name}-again"
    address = f"{site.provider.url}/{name}"
    assert (
        await run.session.submit("again", config={"api_base": address, "timeout_s": 300, "token_timeout_s": 300})
        == "fine"
    )
    [request] = site.asked(name)
    sent = [message["role"] for message in request.body["messages"] if message["role"] != "system"]
    assert len(sent) == len(before) + 1
    assert request.prompt == "again"


# Retries


def retries_of(run: Run) -> list[float]:
    """The pauses before the attempts after the first, in seconds."""
    return [record.event.after_s for record in run.events if isinstance(record.event, CallRetried)]


@pytest.mark.parametrize("line", SOME, ids=str)
async def test_only_transient_failures_are_retried(site: Site, line: Line) -> None:
    await ready(site, line)
    families = ("refusals", "no answers", "truncations", "disguised", "typed", "typed oddly")
    faults = [fault for family in families for fault in faults_of(line, family)]
    runs = [site.meets(fault, line, retries=2) for fault in faults]
    await asyncio.gather(*map(settled, runs))

    again = [
        run
        for fault, run in zip(faults, runs, strict=True)
        if isinstance(run.error, ModelError) and run.error.retryable and not run.text and not fault.calls
    ]
    assert {run.prompt: len(retries_of(run)) for run in runs} == {run.prompt: 2 * (run in again) for run in runs}
    for fault, run in zip(faults, runs, strict=True):
        calls = (1 + 2 * (run in again)) * (fault.place == "the provider")
        assert len(site.asked(run.session.name)) in _requests(fault, line, calls), fault.name
    pauses = [retries_of(run) for run in again if run.prompt != "too many requests"]
    assert all(0.25 <= first <= 0.5 <= second <= 1.0 for first, second in pauses)
    assert len({first for first, _ in pauses}) > len(pauses) / 2  # not all at the same moment
    assert len(again) > 20


@pytest.mark.parametrize("line", SOME, ids=str)
@pytest.mark.parametrize(
    "begun", [thought("hm"), call(0, "add", '{"a": 1'), text("Hel")], ids=["thought", "call", "text"]
)
async def test_a_call_is_not_retried_after_its_first_token(site: Site, line: Line, begun: list[dict[str, Any]]) -> None:
    await ready(site, line)
    site.provider.answers.append([*begun, CUT])
    run = site.hire(line, retries=2).submit("Hi")
    await settled(run)
    assert (run.status, retries_of(run), run.cost) == ("failed", [], None)


async def test_a_silent_provider_is_retried(site: Site) -> None:
    run = site.meets(BY_NAME["no reply"], LINES[0], retries=1)
    await settled(run)
    assert (len(retries_of(run)), len(site.provider.requests)) == (1, 2)
    await asyncio.gather(*(request.gone.wait() for request in site.provider.requests))


def moment(seconds: float) -> str:
    """An HTTP date that many seconds from now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


#: The provider's headers → the least and the longest pause.
PAUSES = [
    ({"Retry-After": "0.3"}, 0.3, 0.5),
    ({"Retry-After": moment(-60)}, 0.0, 0.2),
    ({"Retry-After": "soon"}, 0.25, 0.5),
    ({"Retry-After": "-5"}, 0.0, 0.5),
    ({"Retry-After": "1e300"}, 0.0, 0.5),
    ({"Retry-After": ""}, 0.25, 0.5),
    ({"retry-after-ms": "200"}, 0.2, 0.4),
    ({}, 0.25, 0.5),
]


@pytest.mark.parametrize("line", LINES[:5], ids=str)
async def test_a_retry_waits_as_long_as_the_provider_asks_for(site: Site, line: Line) -> None:
    await ready(site, line)
    cases = [(status, *one) for status in (429, 503) for one in PAUSES]
    site.provider.default = lambda request: answers[request.prompt].pop()
    answers = {
        f"case {n}": [says("fine"), Refusal(status, headers=headers)] for n, (status, headers, *_) in enumerate(cases)
    }
    runs = [site.hire(line, retries=1).submit(prompt) for prompt in answers]
    await asyncio.gather(*map(settled, runs))
    assert {run.text for run in runs} == {"fine"}
    found = {run: retries_of(run) for run in runs}
    wrong = [
        (status, headers, found[run])
        for (status, headers, least, most), run in zip(cases, runs, strict=True)
        if not (len(found[run]) == 1 and least <= found[run][0] <= most)
    ]
    assert wrong == []


@pytest.mark.parametrize("line", SOME, ids=str)
async def test_a_retry_waits_until_the_date_that_the_provider_names(site: Site, line: Line) -> None:
    await ready(site, line)
    due, heard = time.time() + 1.9, list[float]()
    site.runtime.observe(lambda one: heard.append(time.time()) if isinstance(one.event, CallRetried) else None)
    site.provider.answers.append(Refusal(429, headers={"Retry-After": moment(1.9)}))
    run = site.hire(line, retries=1).submit("Hi")
    assert await run == "fine"
    [pause] = retries_of(run)
    assert max(0, due - 1 - heard[0]) <= pause < 2.5


@pytest.mark.parametrize("line", SOME, ids=str)
@pytest.mark.parametrize("says", ["3600", moment(3600), "9" * 400], ids=["seconds", "moment", "digits"])
async def test_a_provider_that_asks_for_a_too_long_wait_is_not_retried(site: Site, line: Line, says: str) -> None:
    await ready(site, line)
    site.provider.answers.append(Refusal(429, headers={"Retry-After": says}))
    run = site.hire(line, retries=3).submit("Hi")
    await settled(run)
    assert isinstance(run.error, ModelError)
    assert (run.error.status, run.error.retryable, retries_of(run)) == (429, True, [])
    assert len(str(run.error)) < MESSAGE_LIMIT


@pytest.mark.parametrize("line", SOME, ids=str)
async def test_a_retry_does_not_repeat_tool_calls(site: Site, line: Line) -> None:
    await ready(site, line)
    calls = [*call(0, "add", '{"a": 1, "b": 2}'), finish("tool_calls"), usage(7, 2, cost=0.25), DONE]
    end = [*text("3"), finish(), usage(9, 1, cost=0.5), DONE]
    site.provider.answers.extend([Refusal(503), calls, Refusal(503), end])
    run = site.hire(line, retries=2).submit("Add")
    assert await run == "3"
    assert [type(record.event).__name__ for record in run.events] == [
        "RunQueued", "RunStarted", "StateChanged", "CallRetried", "StateChanged", "ModelReplied", "ToolStarted",
        "ToolFinished", "StateChanged", "CallRetried", "StateChanged", "ModelReplied", "RunFinished",
    ]  # fmt: skip
    assert run.cost == 0.75  # who refuses asks for nothing


@pytest.mark.parametrize("line", SOME, ids=str)
async def test_an_aborted_call_may_have_been_billed(site: Site, line: Line) -> None:
    await ready(site, line)
    site.provider.answers.extend([[DONE], [*text("fine"), finish(), usage(7, 1, cost=0.25), DONE]])
    run = site.hire(line, retries=1).submit("Hi")
    assert await run == "fine"
    assert (len(retries_of(run)), run.cost, run.usage) == (1, None, None)


async def test_a_wait_that_exceeds_the_runs_timeout_is_not_retried(site: Site) -> None:
    site.provider.answers.append(Refusal(503, headers={"Retry-After": "50"}))
    run = site.hire(LINES[0], retries=1).submit("Hi", timeout_s=40)
    with pytest.raises(RunFailed, match="the provider failed \\(503\\)"):
        await run
    assert retries_of(run) == []


async def test_cancelling_ends_a_pause_between_attempts(site: Site) -> None:
    site.provider.answers.append(Refusal(503, headers={"Retry-After": "50"}))
    run = site.hire(LINES[0], retries=1).submit("Hi")
    async for record in run.stream():
        if isinstance(record.event, StateChanged):
            assert run.status == "waiting"
            run.cancel()
    assert (run.status, run.cost) == ("cancelled", 0.0)
    assert len(site.provider.requests) == 1


# Keys


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_no_key_and_no_prompt_follow_a_redirect(site: Site, line: Line) -> None:
    await ready(site, line)
    async with Provider() as stranger:
        there = {"Location": f"{stranger.url}/chat/completions"}
        site.provider.answers.extend(Refusal(status, headers=there) for status in (301, 302, 303, 307, 308))
        runs = [site.hire(line).submit("my secret") for _ in range(5)]
        await asyncio.gather(*map(settled, runs))
    assert [type(run.error) for run in runs] == [ModelError] * 5
    assert stranger.requests == []


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_a_key_in_a_providers_error_is_not_shown(
    site: Site, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    middle = "an error in the middle" if line.provider != "anthropic" else "an error event in the middle"
    names = ["key refused", "forbidden", "server error", middle]
    await ready(site, line)
    caplog.set_level(logging.DEBUG)
    for fault in [BY_NAME[name] for name in names if BY_NAME[name].shape(line.streams)]:
        run = site.meets(fault, line)
        await settled(run)
        assert hits({**texts_of(run.error), "log": caplog.text, **reprs_of(run=run, session=run.session)}, (KEY,)) == []
        with pytest.raises(RunFailed) as caught:
            await run
        assert hits(texts_of(caught.value), (KEY,)) == []


# Unusual replies that are not faults


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_unusual_characters_arrive_and_can_be_shown(site: Site, line: Line) -> None:
    await ready(site, line)
    site.provider.answers.append(says("a\0b\x1b[31m", "\ud83d", "\ude00", "\udc00", "é\u2028\r\n", "\ufeff"))
    bob = site.hire(line)
    run = bob.submit("Hi")
    assert await run == "a\0b\x1b[31m😀�é\u2028\r\n\ufeff"
    assert run.text.encode().decode() == str(run)
    events = [record.event for record in site.heard if record.run == run.id]
    assert "".join(event.text for event in events if isinstance(event, TextStreamed)) == run.text
    assert await bob.submit("again") == "fine"  # with all of it in the history


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_unusual_characters_in_a_tool_call_do_not_fail_the_run(site: Site, line: Line) -> None:
    await ready(site, line)
    calls = [*call(0, "add", '{"a": 1, "b": "\\ud800\\u0000"}'), *call(1, "a\ud800dd", "{}")]
    site.provider.answers.append([*calls, finish("tool_calls"), DONE])
    assert await not_run(site.hire(line).submit("Add"), 2) == "fine"


INVALID = [
    '{"a": 1',
    '{"a": 1}}',
    '{"a": "\0"}',
    "[1]",
    "1",
    "null",
    '"a"',
    "{'a': 1}",
    "NaN",
    '{"a": NaN}',
    "[" * 10_000,
]


@pytest.mark.parametrize("line", [line for line in LINES if line.streams], ids=str)
async def test_arguments_that_are_not_json_fail_only_their_call(site: Site, line: Line) -> None:
    await ready(site, line)
    bobs = [site.hire(line) for _ in INVALID]
    for bob, arguments in zip(bobs, INVALID, strict=True):
        site.provider.answers.append([*call(0, "add", arguments), finish("tool_calls"), DONE])
        assert await not_run(bob.submit("Add"), 1) == "fine"
        assert await bob.submit("again") == "fine"


async def not_run(run: Run, calls: int) -> str:
    """The output of a run none of whose tool calls can be executed; the model gets error results."""
    output = await run
    results = [record.event.message for record in run.events if isinstance(record.event, ToolFinished)]
    assert [result.is_error for result in results] == [True] * calls
    assert all(result.text.encode() and result.name.encode() for result in results)
    return output


# Memory


@pytest.mark.parametrize(
    "way",
    [
        "wire openai/test-model true 3 big",
        "wire openai/test-model false 3 big",
        "litellm hosted_vllm/test-model true 1 big",
    ],
)
def test_repeated_faults_do_not_leak_memory(way: str) -> None:
    command = [sys.executable, "-m", "support.soak", *way.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    grown, false, kinds = map(int, done.stdout.split())
    assert false == 0
    assert grown < 100
    assert kinds >= 30
    assert done.stderr == ""
