"""No fault of a provider is taken for success, hangs, runs half a tool call or shows a key: over a real socket, each way to a model."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
from doubles import heard_by, settled
from faults import BY_NAME, FAMILIES, FAULTS, KEY, Fault
from provider import DONE, Answer, Provider, Raw, Refusal, Request, call, chunk, finish, says, text, usage
from test_secrets import hits, told

from whisper_nb import Agent, AIConfig, ModelError, Run, RunFailed, Runtime, Session
from whisper_nb.errors import ContentFiltered, LengthExceeded
from whisper_nb.events import CallRetried, ModelReplied, Record, ToolFinished, ToolStarted

#: How much later than its deadline a run may end, in seconds.
SLACK_S = 1.0
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


#: Through litellm it goes by the SDK of OpenAI, by litellm's own client, and by that with a handler of the provider.
MODELS = ["openai/test-model", "hosted_vllm/test-model", "openrouter/test/model", "anthropic/claude-haiku-4-5"]
LINES = [
    Line(transport, model, streams)
    for streams in (True, False)
    for transport, models in (("wire", MODELS[:1]), ("litellm", MODELS))
    for model in models
]

#: What is still wrong → on these lines. What is mended has to leave the list.
KNOWN: dict[str, str] = {}


@dataclass
class Site:
    """A runtime, and a provider that has faults."""

    runtime: Runtime
    provider: Provider
    closed_port: int
    heard: list[Record]
    log: pytest.LogCaptureFixture
    _hired: int = 0

    def hire(self, line: Line, place: str = "the provider", **config: Any) -> Session:
        self._hired += 1
        name = f"bob{self._hired}"
        address = {
            # An address for each agent, so that what a provider says to one of them slows no other down.
            "the provider": f"{self.provider.url}/{name}",
            "a closed port": f"http://127.0.0.1:{self.closed_port}/v1",
            "https": self.provider.url.replace("http:", "https:"),
        }[place]

        def add(a: int, b: int = 0) -> int:
            """Add two numbers."""
            return a + b

        config = {"retries": 0, "timeout_s": 5.0, **config}
        given = AIConfig(model=line.model, api_base=address, transport=line.transport, stream=line.streams, **config)
        return self.runtime.create(Agent(name=name, config=given, tools=(add,)))

    def meets(self, fault: Fault, line: Line, **config: Any) -> Run:
        """A run that meets a fault."""
        if fault.hangs:
            config = {"timeout_s": 0.5, "token_timeout_s": 0.3, **config}
        return self.hire(line, fault.place, **config).submit(fault.name)

    def asked(self, name: str) -> list[Request]:
        """What came to the address of an agent."""
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
            yield Site(runtime, provider, nobody.getsockname()[1], heard_by(runtime), caplog)


async def ready(site: Site, line: Line) -> None:
    """Have all imported that a call needs: it takes litellm seconds, the first time, which are no provider's fault."""
    assert await site.hire(line, timeout_s=30.0).submit("Are you there?") == "fine"


# Each kind


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("line", LINES, ids=str)
async def test_faults_are_told_and_do_no_harm(site: Site, line: Line, family: str) -> None:
    await ready(site, line)
    faults = faults_of(line, family)
    known = {name for name, lines in KNOWN.items() if str(line) in lines.split()}
    together = asyncio.Semaphore(1 if family == "big" else len(faults) or 1)

    async def look(fault: Fault) -> str:
        async with together:
            return await verdict(site, line, fault)

    found = await asyncio.gather(*map(look, faults))
    wrong = {fault.name: one for fault, one in zip(faults, found, strict=True) if one}

    assert {name: one for name, one in wrong.items() if name not in known} == {}
    assert hits({"log": site.log.text}, (KEY,)) == []
    assert {fault.name for fault in faults} & known == wrong.keys() & known, "mended: take it off KNOWN"


def faults_of(line: Line, family: str) -> list[Fault]:
    """Those of a family that there can be on a line: bytes are in one format alone."""
    faults = [fault for fault in FAMILIES[family] if fault.shape(line.streams) is not None]
    if line.provider != "anthropic":
        return [] if family == "Anthropic's" else faults
    if family in ("nonsense", "big"):
        return []
    return [fault for fault in faults if not (isinstance(fault.shape(line.streams), Raw) and fault.kept)]


async def verdict(site: Site, line: Line, fault: Fault) -> str:
    """What became of the run that should not have; empty where all is well."""
    run = site.meets(fault, line)
    began = asyncio.get_running_loop().time()
    await settled(run)
    took = asyncio.get_running_loop().time() - began
    try:
        assert took < (run.session.config.timeout_s or 0) + SLACK_S
        no_tool_ran_on_half_a_call(run)
        if run.status == "failed":
            failed(run, fault, line)
        else:
            assert (run.status, run.text) == ("succeeded", fault.may_say)
        no_key(site, run)
        await closed(site, run, fault)
        await goes_on(site, run)
    except AssertionError as error:
        return f"{error} | {run.status}: {run.error!r}"[:1000]
    return ""


def no_tool_ran_on_half_a_call(run: Run) -> None:
    done = [record.event.message for record in run.events if isinstance(record.event, ToolFinished)]
    assert all(message.is_error for message in done)
    assert run.status == "succeeded" or not any(isinstance(record.event, ToolStarted) for record in run.events)


def failed(run: Run, fault: Fault, line: Line) -> None:
    """What holds of every failure."""
    error = run.error
    assert isinstance(error, ModelError), type(error)
    assert str(error).startswith(f"{line.model}: ")
    assert fault.says in str(error)
    assert len(str(error)) < MESSAGE_LIMIT
    assert error.retryable is fault.retryable
    assert run.cost == (0.0 if fault.free(line.streams) else None)
    assert run.session.history == ()
    assert isinstance(error, LengthExceeded) is ("too long" in fault.name)
    assert isinstance(error, ContentFiltered) is (fault.name == "filtered")
    if line.streams:
        assert run.text.startswith(fault.kept)
        assert fault.big or fault.kept or not run.text
    if isinstance(answered := fault.shape(line.streams), Refusal):
        assert error.status == answered.status


def no_key(site: Site, run: Run) -> None:
    """The key was sent to the provider, said by it, and is nowhere."""
    assert {request.key for request in site.asked(run.session.name)} <= {KEY}
    heard = [record for record in site.heard if record.agent == run.session.name]
    everything = {"run": f"{run!r} {run} {run.events}", "heard": str(heard)}
    assert hits({**told(run.error, modes=()), **everything}, (KEY,)) == []


async def closed(site: Site, run: Run, fault: Fault) -> None:
    """It was called once, and whom the provider lets hang, hangs up."""
    replies = sum(isinstance(record.event, ModelReplied) for record in run.events)
    requests = site.asked(run.session.name)
    assert len(requests) == (replies + (run.status == "failed") if fault.place == "the provider" else 0)
    assert not any(isinstance(record.event, CallRetried) for record in run.events)
    if fault.hangs and run.status == "failed":
        async with asyncio.timeout(1):
            await requests[0].gone.wait()


async def goes_on(site: Site, run: Run) -> None:
    """The session's next prompt is answered, and nothing dangles in what is sent with it."""
    before = run.session.history
    name = f"{run.session.name}-again"
    address = f"{site.provider.url}/{name}"
    assert await run.session.submit("again", config={"api_base": address, "timeout_s": 10}) == "fine"
    [request] = site.asked(name)
    sent = [message["role"] for message in request.body["messages"] if message["role"] != "system"]
    assert len(sent) == len(before) + 1
    assert request.prompt == "again"
