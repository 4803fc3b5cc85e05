"""One run, from its prompt to its outcome: the loop of turns around `next_step`, in the run's own task."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, assert_never

from ..config.agents import Agent
from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError, LengthExceeded, ModelError, RunFailed, TurnLimitExceeded
from ..core.events import (
    CallHeld,
    CallRetried,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    RunStarted,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from ..core.messages import AssistantMessage, Finish, Message, SystemMessage, ToolCall, ToolSchema
from ..core.text import error_text
from ..core.threads import in_thread, loaded
from ..core.turns import CallModel, CallTools, Done, Reply, next_step, trim
from ..models.model import Model, Request
from ..models.tokens import most_tokens
from ..tools.calls import call_tool
from ..tools.tool import Tool
from .deadlines import Deadline
from .permits import PAUSE_MOST_S, lane_of
from .runs import Run, current_run

if TYPE_CHECKING:
    from .session import Session


#: Before a failed call is made again the first time; twice as long each time after.
RETRY_S = 0.5


async def execute(session: Session, run: Run) -> None:
    """Take turns until the run is done. Returns when it succeeded and raises what made it fail.

    Cancelling it closes the model's stream and the tools that run; what came until then is on the run.

    Raises:
        WhisperError: a model call failed, a run that this one needs did, it took too many turns or too long.
    """
    current_run.set(run)
    for notice in session.ports.renew(session):
        await session.publish(Noticed(notice), run)
    agent = session.agent
    config = session.resolved(run.config)
    for need in run.needs:
        if need.status != "succeeded":
            raise RunFailed(
                f"it needs {need.id}, which {'failed: ' + error_text(need.error) if need.error else 'was cancelled'}"
            )
    await session.publish(RunStarted(run.prompt, config.model or "", run.images), run)
    deadline = Deadline(run.timeout_s or agent.timeout_s)
    try:
        async with deadline:
            return await _take_turns(session, run, agent, config)
    except TimeoutError:
        if deadline.expired is None:
            raise
        reason = f"{run.id} took too long: {deadline.expired}; its text so far is in run.text"
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled this run, so it must not say that it was.
        reason = f"{run.id}: something that it awaited was cancelled from within; submit it again"
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:  # of the model: it would end the loop
        reason = f"{run.id}: the model raised {type(error).__name__}"
    # Raised out here, so that it does not carry along the error that it replaces, and all that its frames hold.
    raise RunFailed(reason)


async def _take_turns(session: Session, run: Run, agent: Agent, config: AIConfig) -> None:
    tools = {tool.name: tool for tool in agent.as_tools}
    if tools:
        await loaded("pydantic", "pydantic.type_adapter")
    schemas = [tool.schema for tool in tools.values()]
    turns = 0
    while True:
        match next_step(session.messages):
            case Done():
                return
            case CallModel():
                if turns == agent.max_turns:
                    raise TurnLimitExceeded(
                        f"{run.id} wants more than {turns} turns; raise max_turns of {agent.name} to allow it"
                    )
                turns += 1
                await session.hold(run)
                await _call_model(session, run, agent, config, schemas)
            case CallTools(pending):
                await _call_tools(session, run, tools, pending)
            case step:
                assert_never(step)


async def _call_model(session: Session, run: Run, agent: Agent, config: AIConfig, tools: Sequence[ToolSchema]) -> None:
    model = session.ports.open_model(config)
    await model.prepare()
    everything: list[Message] = [SystemMessage(agent.instructions), *session.messages]
    messages = await _fitting(model, everything, tools, config)
    if len(messages) < len(everything):
        await session.publish(HistoryTrimmed(len(everything) - len(messages)), run)
    request = Request(messages, tools, config)
    for attempt in itertools.count():
        try:
            message, finish = await _reply_to(session, run, model, request)
            break
        except ModelError as error:
            after_s = _pause(error, attempt)
            left_s = (run.timeout_s or agent.timeout_s or math.inf) - (run.seconds or 0.0)
            too_late = after_s >= left_s or (error.retry_after_s or 0.0) > PAUSE_MOST_S
            if not error.retryable or run.text or attempt >= (config.retries or 0) or too_late:
                raise
            reason = error.what
        await session.shift("wait", run)
        await session.publish(CallRetried(reason, after_s), run)
        await asyncio.sleep(after_s)
        await session.shift("proceed", run)
    await session.publish(ModelReplied(message, finish.usage, finish.cost_usd), run)


def _pause(error: ModelError, attempt: int) -> float:
    """Seconds before the next attempt: twice as long each time, not all at the same moment, and not before the provider allows."""
    backoff = RETRY_S * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311
    return backoff if error.retry_after_s is None else error.retry_after_s + random.uniform(0.0, backoff / 4)  # noqa: S311


async def _reply_to(session: Session, run: Run, model: Model, request: Request) -> tuple[AssistantMessage, Finish]:
    """One model call, under a permit."""
    config = request.config
    lane, permits = lane_of(config), session.ports.permits
    waits = not permits.free(lane)
    if waits:
        await session.shift("wait", run)
    async with permits.hold(lane, lambda *why: session.post(CallHeld(*why), run)):
        if waits:
            await session.shift("proceed", run)
        run.begin_turn()
        try:
            return await _stream(session, run, model, request)
        except (ConfigError, ModelError) as error:
            if isinstance(error, ConfigError) or error.free:
                run.call_was_free()
            elif error.finish is not None:
                run.call_was_paid(error.finish)
            raise


async def _stream(session: Session, run: Run, model: Model, request: Request) -> tuple[AssistantMessage, Finish]:
    config = request.config
    # A reply that is asked for whole says nothing before its end.
    deadline = Deadline(config.timeout_s, None if config.stream is False else config.token_timeout_s)
    reply, timed_out = Reply(config.model or ""), False
    try:
        async with deadline, aclosing(model.stream(request)) as deltas:
            async for delta in deltas:
                deadline.touch()
                if text := reply.add(delta):
                    await session.publish(TextStreamed(text), run)
                _obey_cancellation()
    except TimeoutError:
        if deadline.expired is None:
            raise
        timed_out = True
    if timed_out:
        bound = "token_timeout_s" if deadline.idle else "timeout_s"
        # Out here, so that the error does not carry along the one that it replaces
        what = f"{config.model}: {deadline.expired}; the call was closed"
        raise ModelError(
            f"{what}. Submit again, or raise {bound}",
            what=what,
            model=config.model or "",
            retryable=True,
        )
    return reply.complete()


def _obey_cancellation() -> None:
    # Also where a stream has caught the CancelledError and goes on.
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError


async def _fitting(
    model: Model, messages: list[Message], tools: Sequence[ToolSchema], config: AIConfig
) -> list[Message]:
    """The messages that fit into the model's context.

    Raises:
        LengthExceeded: what cannot be left out is too long alone. Nothing was sent.
    """
    if model.context_tokens is None:
        return messages
    limit = model.context_tokens - (config.max_tokens or 0)
    # Most requests need no counting, which is slow.
    if sum(map(most_tokens, messages)) + sum(len(repr(tool)) for tool in tools) < limit:
        return messages

    def fit() -> tuple[list[Message], int]:
        kept = trim(messages, limit, lambda some: model.count_tokens(some, tools))
        return kept, model.count_tokens(kept, tools)

    kept, size = await in_thread(fit)
    if size > limit:
        what, remedy = "the prompt has", "shorten the prompt"
        if any(isinstance(message, AssistantMessage) for message in kept):  # the run's own: all others are left out
            what = "the run, with what it called, thought and was told, has"
            remedy = "ask for less in one run, have its tools return less"
        raise LengthExceeded(
            f"{config.model}: {what} {size:,} tokens and only {limit:,} fit, even without the history. "
            f"Nothing was sent: {remedy}, or choose a model with a larger context.",
            model=config.model or "",
            unsent=True,
        )
    return kept


async def _call_tools(session: Session, run: Run, tools: dict[str, Tool], pending: Sequence[ToolCall]) -> None:
    """Run the calls at once; each result is published as it comes."""
    main = session.home if session.home.visits_main else None

    async def one(call: ToolCall) -> None:
        await session.publish(ToolStarted(call), run)
        await session.publish(ToolFinished(await call_tool(tools, call, main)), run)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in pending]
    except BaseExceptionGroup as failures:  # of the store, or the outcome of a test runner; those of tools are results
        raise failures.exceptions[0] from None
    if any(task.cancelled() for task in tasks):  # by its own tool: without a result it would be called for ever
        raise asyncio.CancelledError
