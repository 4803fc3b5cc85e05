"""Model calls: one turn's call to the model, with what it sends, its retries, its permit and its deadline."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from contextlib import aclosing
from functools import lru_cache

from ..config.aiconfig import own_address
from ..config.providers import public
from ..core.deadlines import Deadline
from ..core.errors import (
    ConfigError,
    LengthExceeded,
    ModelError,
    PromptLimitExceeded,
)
from ..core.events import (
    CallHeld,
    CallRetried,
    Charge,
    HistoryTrimmed,
    ModelReplied,
    Noticed,
    TextStreamed,
)
from ..core.messages import AssistantMessage, Finish, SystemMessage, ToolSchema
from ..core.threads import in_thread
from ..core.turns import Limits, Reply
from ..models.model import Model, Request, server_of
from ..models.prices import input_cost
from ..models.transcript import Transcript
from .fitting import LONG_PROMPT, SURELY_FITS, Counted, Room, Weight, recalled, trim, without
from .journal import Journal
from .permits import PAUSE_MOST_S, endpoint_of
from .ports import Ports, Start
from .runs import Run

#: Seconds before the first retry of a failed call; doubled for each further one.
RETRY_S = 0.5


class ModelCalls:
    """The model calls of one run, one at a time.

    Args:
        journal: of the run's session; publishes what happens.
        ports: the session's collaborators.
        run: claimed, and not done.
        start: the spec and config that the run started with.
    """

    __slots__ = (
        "_agent",
        "_config",
        "_counted",
        "_journal",
        "_ports",
        "_run",
        "_schemas",
        "_schemas_size",
        "_system",
        "_told",
    )

    def __init__(self, journal: Journal, ports: Ports, run: Run, start: Start) -> None:
        self._journal = journal
        self._ports = ports
        self._run = run
        self._agent = start.agent
        self._config = start.config
        self._schemas: Sequence[ToolSchema] = []
        self._schemas_size = 0  # an upper bound of their tokens
        self._told = False  # whether the user was told that the prompt is long
        self._counted = 0  # the tokens of the last call, where they were counted
        self._system = _system_prompt(start.agent.instructions)

    def offer(self, schemas: Sequence[ToolSchema]) -> None:
        """Send the schemas of these tools with all calls from now on."""
        self._schemas = schemas
        self._schemas_size = sum(len(repr(schema)) for schema in schemas)

    async def make(self) -> None:
        """Call the model with the run's messages so far, and publish its reply.

        Cancelling it closes the model's stream.

        Raises:
            WhisperError: the call failed for good, or cannot be made.
        """
        run, config = self._run, self._config
        model = self._ports.open_model(config)
        await model.prepare()
        history = self._journal.history
        part = recalled(history, self._agent, fresh=run.fresh)
        left_out = len(history) - len(part)
        if left_out and not (run.fresh or run.turn):
            await self._journal.publish(HistoryTrimmed(left_out, str(self._agent.memory)), run)
        everything = Transcript.joined(self._system, part, self._journal.projection.draft)
        refused: LengthExceeded | None = None
        sent = 0
        while True:
            messages = await self._fitting(model, everything, left_out)
            if refused is not None and len(messages) >= sent:
                raise refused  # nothing more can be left out
            sent = len(messages)
            if sent < len(everything):
                await self._journal.publish(HistoryTrimmed(len(everything) - sent), run)
            await self._weigh(model, messages)
            try:
                server = server_of(config.provider, own_address(config, self._ports.keys)[0])
                request = Request(messages, self._schemas, config, server=server)
                fingerprint = request.fingerprint
                message, finish = await self._reply_to(model, request)
                break
            except LengthExceeded as error:
                if not await self._learns(model, messages, error):
                    raise
                refused = error
        if self._counted and finish.usage:
            self._ports.contexts.measured(config, self._counted, finish.usage.input_tokens)
        if run._charge is not None:  # known from here on, also if it is cancelled before the record is stored
            run._charge = Charge(finish.usage, finish.cost_usd)
        replied = ModelReplied(message, finish.usage, finish.cost_usd, finish.thoughts, fingerprint)
        await self._journal.publish(replied, run)
        run._charge = None

    async def _weigh(self, model: Model, messages: Transcript) -> None:
        """Tell the user, once a run, how many tokens a long prompt has, and what they cost.

        Raises:
            PromptLimitExceeded: they are more than the agent allows. Nothing was sent.
        """
        agent, config, draft = self._agent, self._config, self._journal.projection.draft
        most = agent.max_prompt_tokens
        if most and not self._counted and messages.size + self._schemas_size > most:
            self._counted = await in_thread(model.count_tokens, messages, self._schemas)
        tokens = self._counted or messages.estimate + self._schemas_size // 4
        if tokens <= (most or tokens) and (self._told or tokens <= LONG_PROMPT):
            return
        history = messages.estimate - self._system.estimate - draft.estimate
        weight = Weight(tokens, exact=self._counted > 0, history=history)
        if most and tokens > most:
            refusal = weight.refusal(agent, in_tools=len(draft) > 1)
            raise PromptLimitExceeded(refusal, reason="prompt", limit=most, used=tokens)
        self._told = True
        cost: float | None = 0.0
        if config.provider != "offline":
            cost = input_cost(tokens, await self._ports.contexts.listed(config))
        await self._journal.publish(Noticed(weight.note(config.model or "", cost)), self._run)

    async def _learns(self, model: Model, messages: Transcript, error: LengthExceeded) -> bool:
        """Learn the size of the context from an error. Return whether the call can be made with fewer messages."""
        contexts, config = self._ports.contexts, self._config
        if error.finish is not None:
            if self._counted and error.finish.usage:
                contexts.measured(config, self._counted, error.finish.usage.input_tokens)
            return False
        if error.unsent or len(messages) <= len(self._system) + len(self._journal.projection.draft):
            return False
        if error.context_tokens is None:
            await contexts.ask(config)
        counted = await in_thread(model.count_tokens, messages, self._schemas)
        contexts.refused(config, counted, error.context_tokens, error.prompt_tokens)
        return contexts.of(config).tokens is not None

    async def _reply_to(self, model: Model, request: Request) -> tuple[AssistantMessage, Finish]:
        """Call the model until it replies: a call that fails for a transient reason is retried."""
        run, journal = self._run, self._journal
        attempt = 0
        while True:
            reply = Reply(request.config.model or "", request.output)
            try:
                return await self._attempt(model, request, reply)
            except ModelError as error:
                after_s = _delay(error, attempt)
                if reply.begun or not self._may_retry(error, attempt, after_s):
                    raise
                reason = error.what
            await journal.shift("wait", run)
            await journal.publish(CallRetried(reason, after_s, run._charge), run)
            run._charge = None
            await asyncio.sleep(after_s)
            await journal.shift("proceed", run)
            attempt += 1

    def _may_retry(self, error: ModelError, attempt: int, after_s: float) -> bool:
        """Whether a failed attempt, counted from 0, may be followed by another one after so many seconds."""
        if not error.retryable or attempt >= (self._config.retries or 0):
            return False
        left_s = (self._run.timeout_s or self._agent.timeout_s or math.inf) - (self._run.seconds or 0.0)
        return after_s < left_s and (error.retry_after_s or 0.0) <= PAUSE_MOST_S

    async def _attempt(self, model: Model, request: Request, reply: Reply) -> tuple[AssistantMessage, Finish]:
        """Make one attempt at a model call, under a permit. `reply` is empty, and takes in what arrives."""
        run, journal = self._run, self._journal
        endpoint = endpoint_of(request.config, own_address(request.config, self._ports.keys)[0])
        permits = self._ports.permits
        waits = not permits.free(endpoint)
        if waits:
            await journal.shift("wait", run)
        async with permits.hold(endpoint, lambda reason, after_s: journal.post(CallHeld(reason, after_s), run)):
            if waits:
                await journal.shift("proceed", run)
            run._begin_call()
            try:
                return await self._stream(model, request, reply)
            except (ConfigError, ModelError) as error:
                if isinstance(error, ConfigError) or error.free:
                    run._charge = None
                elif error.finish is not None and run._charge is not None:
                    run._charge = Charge(error.finish.usage, error.finish.cost_usd)
                raise

    async def _stream(self, model: Model, request: Request, reply: Reply) -> tuple[AssistantMessage, Finish]:
        config = request.config
        token_timeout_s = config.token_timeout_s
        if config.stream is False:  # a reply that is requested whole sends nothing before its end
            token_timeout_s = None
        deadline = Deadline(config.timeout_s, token_timeout_s)
        timed_out = False
        try:
            async with deadline, aclosing(model.stream(request)) as deltas:
                async for delta in deltas:
                    deadline.touch()
                    if text := reply.add(delta):
                        await self._journal.publish(TextStreamed(text), self._run)
                    _obey_cancellation()
        except TimeoutError:
            if deadline.expired is None:
                raise
            timed_out = True
        if timed_out:
            # Raised here, so that it does not hold the error that it replaces.
            server = own_address(config, self._ports.keys)[0]
            source = f" from {public(server)}" if server else ""
            what = f"{config.model}: {deadline.expired}{source}; the call was closed"
            limit = "token_timeout_s" if deadline.idle else "timeout_s"
            raise ModelError(
                f"{what}. Submit again, or raise {limit}", what=what, model=config.model or "", retryable=True
            )
        return reply.complete(allow_empty=config.allow_empty is True, limits=await self._limits(model, request, reply))

    async def _limits(self, model: Model, request: Request, reply: Reply) -> Limits | None:
        """Return the limits of a reply that ended for its length; None for other replies."""
        if not reply.too_long:
            return None
        config, contexts = self._config, self._ports.contexts
        if not config.max_tokens and config.context_tokens is None:
            await contexts.ask(config)
        context = config.context_tokens or contexts.of(config).tokens or model.context_tokens
        own = len(self._system) + len(self._journal.projection.draft)
        return Limits(self._agent.name, config.max_tokens, context, with_history=len(request.messages) > own)

    async def _fitting(self, model: Model, messages: Transcript, left_out: int) -> Transcript:
        """Return the messages that fit into the model's context.

        Args:
            model: the model of the call.
            messages: of the call.
            left_out: messages of the history that are not among them.

        Raises:
            LengthExceeded: the messages that cannot be left out are too long alone. Nothing was sent.
        """
        self._counted = 0
        room = await self._room(model, messages.size)
        if room is None:
            return messages
        context, limit = room.context, room.wanted
        # Most calls need no counting, which is slow.
        if messages.size + self._schemas_size < limit:
            return messages
        history, draft = self._journal.history, self._journal.projection.draft
        counted = self._journal.counted
        guess = 0
        if counted:
            guess = max(0, counted.left_out - left_out)
            if counted.fits(self._config.model, self._agent, history, draft.size, limit):
                return without(messages, guess)
        history_size = history.size
        kept, size = await in_thread(self._trimmed, model, messages, limit, guess)
        if not self._run.fresh:  # it says nothing of other runs
            left_out += len(messages) - len(kept)
            self._journal.counted = Counted(self._config.model, self._agent, history, history_size, size, left_out)
        self._counted = size
        limit = room.limit
        if size > limit:
            what = "the prompt has"
            remedy = "shorten the prompt"
            if len(self._journal.projection.draft) > 1:  # all other messages are left out
                what = "the run, with its tool calls, reasoning and results, has"
                remedy = "ask for less in one run, have its tools return less"
            fit = f"{max(limit, 0):,} fit"
            if limit < context:
                fit += f" beside max_tokens={self._config.max_tokens:,}"
            if size <= context:
                remedy = f"lower max_tokens, {remedy}"
            raise LengthExceeded(
                f"{self._config.model}: {what} {size:,} tokens and only {fit}, even without the history. "
                f"Nothing was sent: {remedy}, or choose a model with a larger context.",
                model=self._config.model or "",
                unsent=True,
            )
        return kept

    async def _room(self, model: Model, size: int) -> Room | None:
        """Return the room for the messages of a call; None where the size of the context is unknown.

        Args:
            model: the model of the call.
            size: the bound of the messages' tokens.
        """
        config, contexts = self._config, self._ports.contexts
        listed = model.context_tokens
        if listed is None and config.context_tokens is None and size > SURELY_FITS:
            await contexts.ask(config)
        known = contexts.of(config)
        return Room.of(config, known.tokens, listed, known.per_counted)

    def _trimmed(self, model: Model, messages: Transcript, limit: int, guess: int) -> tuple[Transcript, int]:
        def count(some: Transcript) -> int:
            return model.count_tokens(some, self._schemas)

        kept = trim(messages, limit, count, guess)
        return kept, count(kept)


@lru_cache(maxsize=256)
def _system_prompt(text: str) -> Transcript:
    return Transcript([SystemMessage(text)])


def _delay(error: ModelError, attempt: int) -> float:
    """Return the seconds before the next attempt: doubled each time, with jitter; at least as the provider asks."""
    backoff: float = RETRY_S * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311
    if error.retry_after_s is None:
        return backoff
    return error.retry_after_s + random.uniform(0.0, backoff / 4)  # noqa: S311


def _obey_cancellation() -> None:
    # Also where a stream catches the CancelledError and goes on.
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError
