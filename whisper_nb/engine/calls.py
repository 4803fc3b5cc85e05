"""Model calls: one turn's call to the model, with what it sends, its retries, its permit and its deadline."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import aclosing

from ..config.aiconfig import own_address
from ..config.kinds import FREE
from ..config.providers import public
from ..core.costs import plausible
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
)
from ..core.limits import RunLimits
from ..core.messages import AssistantMessage, Finish, Usage, replace
from ..core.rates import Rate
from ..core.threads import in_thread
from ..core.turns import Limits, Reply
from ..models.model import Model, Request
from .costs.meter import Meter
from .costs.purse import Hold
from .fitting import LONG_PROMPT
from .journal import Journal
from .permits import PAUSE_MOST_S, Held, endpoint_of
from .ports import Ports, Start
from .requests import Requests
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
        limits: of the run, in force.
    """

    __slots__ = (
        "_agent",
        "_config",
        "_journal",
        "_meter",
        "_ports",
        "_requests",
        "_run",
        "_timeout_s",
        "_tokens",
        "_told",
    )

    def __init__(self, journal: Journal, ports: Ports, run: Run, start: Start, limits: RunLimits) -> None:
        self._journal = journal
        self._ports = ports
        self._run = run
        self._agent = start.agent
        self._config = start.config
        self._timeout_s = limits.timeout_s
        self._meter = Meter.of(run, limits)
        self._tokens = 0  # that the call sends
        self._told = False  # whether the user was told that the prompt is long
        self._requests = Requests(ports, start, journal, fresh=run.fresh)

    async def begin(self) -> None:
        """Prepare what all calls of the run send alike: the schemas of the agent's tools and of the output type.

        Raises:
            ConfigError: a tool has no schema, or no call can be made.
        """
        await self._requests.begin()

    async def make(self) -> None:
        """Call the model with the run's messages so far, and publish its reply.

        Cancelling it closes the model's stream.

        Raises:
            WhisperError: the call failed for good, or cannot be made.
        """
        run, config = self._run, self._config
        model = self._ports.open_model(config)
        await model.prepare()
        talk = self._requests.converse(self._journal.history, self._journal.projection.draft)
        if talk.left_out and not (run.fresh or run.turn):
            await self._journal.publish(HistoryTrimmed(talk.left_out, str(self._agent.memory)), run)
        refused: LengthExceeded | None = None
        sent = 0
        while True:
            request = await self._requests.make(model, talk)
            if refused is not None and len(request.messages) >= sent:
                raise refused  # nothing more can be left out
            sent = len(request.messages)
            if sent < len(talk.messages):
                await self._journal.publish(HistoryTrimmed(len(talk.messages) - sent), run)
            await self._weigh(model, request)
            fingerprint = request.fingerprint
            try:
                message, finish = await self._reply_to(model, request)
                break
            except LengthExceeded as error:
                if not await self._learns(model, request, error):
                    raise
                refused = error
                if run._charge is not None:  # it may be billed: the next call has a charge of its own
                    await self._journal.publish(CallRetried(error.what, 0.0, run._charge), run)
                    run._charge = None
        if self._requests.counted and finish.usage:
            self._ports.contexts.measured(config, self._requests.counted, finish.usage.input_tokens)
        estimated = run._charge.estimated_usd if run._charge else None
        replied = ModelReplied(message, finish.usage, finish.cost_usd, finish.thoughts, fingerprint, estimated)
        await self._journal.publish(replied, run)
        run._charge = None
        if warning := self._ports.purse.budget.warn_once():
            await self._journal.publish(Noticed(warning), run)

    async def _weigh(self, model: Model, request: Request) -> None:
        """Find out how many tokens a call sends. Tell the user, once a run, if they are many, and what they cost.

        Raises:
            PromptLimitExceeded: they are more than the agent allows. Nothing was sent.
        """
        agent, config, draft = self._agent, self._config, self._journal.projection.draft
        weight = await self._requests.weigh(model, request, draft)
        meter = self._meter
        if (
            meter is not None
            and not weight.exact
            and meter.is_near(weight.tokens, await self._ports.contexts.price(config, weight.tokens))
        ):
            weight = await self._requests.weigh(model, request, draft, exact=True)
        self._tokens = weight.tokens
        most = agent.max_prompt_tokens
        if most and weight.tokens > most:
            refusal = weight.refusal(agent, in_tools=len(draft) > 1)
            raise PromptLimitExceeded(refusal, reason="prompt", limit=most, used=weight.tokens)
        if self._told or weight.tokens <= LONG_PROMPT:
            return
        self._told = True
        price = await self._ports.contexts.price(config, weight.tokens)
        cost = None if price is None else price.of(Usage(weight.tokens))
        await self._journal.publish(Noticed(weight.note(config.model or "", cost)), self._run)

    async def _learns(self, model: Model, request: Request, error: LengthExceeded) -> bool:
        """Learn the size of the context from an error. Return whether the call can be made with fewer messages."""
        contexts, config = self._ports.contexts, self._config
        if error.finish is not None:
            if self._requests.counted and error.finish.usage:
                contexts.measured(config, self._requests.counted, error.finish.usage.input_tokens)
            return False
        if error.unsent or len(request.messages) <= self._least:
            return False
        if error.context_tokens is None:
            await contexts.ask(config)
        counted = await in_thread(model.count_tokens, request.messages, self._requests.counted_schemas)
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
        left_s = (self._timeout_s or math.inf) - (self._run.seconds or 0.0)
        return after_s < left_s and (error.retry_after_s or 0.0) <= PAUSE_MOST_S

    async def _attempt(self, model: Model, request: Request, reply: Reply) -> tuple[AssistantMessage, Finish]:
        """Make one attempt at a model call, which the budget pays. `reply` is empty, and takes in what arrives."""
        purse, run = self._ports.purse, self._run
        hold = await self._hold() if purse.budget.limited else None
        try:
            return await self._permitted(model, request, reply, hold)
        finally:
            run._charge = purse.close(self._agent.name, self._config, hold, run._charge)

    async def _hold(self) -> Hold | None:
        """Reserve in the budget what the call may cost; wait, without a permit, until it fits.

        Raises:
            LimitExceeded: the budget has too little left, or the price is unknown. Nothing was sent.
        """
        run, journal, purse, config = self._run, self._journal, self._ports.purse, self._config
        contexts = self._ports.contexts
        price = await contexts.price(config, self._tokens)
        if price is None and (note := purse.unpriced(config)):
            await journal.publish(Noticed(note), run)
        per_counted = contexts.of(config).per_counted if self._requests.counted else None
        quote = purse.quote(self._agent.name, config, price or FREE, self._tokens, per_counted)
        if quote is None:
            return None
        if (hold := quote.take()) is not None:
            return hold
        await journal.shift("wait", run)
        await journal.publish(CallHeld(f"{quote}: it waits for what other calls give back", 0.0, "budget"), run)
        hold = await quote.wait()
        try:
            await journal.shift("proceed", run)
        except BaseException:
            hold.settle(None)
            raise
        return hold

    async def _permitted(
        self, model: Model, request: Request, reply: Reply, hold: Hold | None
    ) -> tuple[AssistantMessage, Finish]:
        """Make the attempt under a permit."""
        run, journal = self._run, self._journal
        endpoint = endpoint_of(request.config, own_address(request.config, self._ports.keys)[0])
        permits = self._ports.permits
        meter = self._meter
        if meter is not None:
            meter.begin(self._tokens, await self._ports.contexts.price(self._config, self._tokens))
        rate = self._rate(request)
        waits = not permits.free(endpoint, rate)
        if waits:
            await journal.shift("wait", run)
        async with permits.hold(endpoint, lambda *why: journal.post(CallHeld(*why), run), rate) as held:
            if waits:
                await journal.shift("proceed", run)
            run._begin_call(hold.usd if hold else None)
            try:
                message, finish = await self._stream(model, request, reply, hold)
            except (ConfigError, ModelError) as error:
                if isinstance(error, ConfigError) or error.free:
                    run._charge = None
                elif error.finish is not None:
                    self._priced(plausible(error.finish))
                self._took(held, run._charge)
                raise
            finish = self._priced(finish)
            self._took(held, Charge(finish.usage, finish.cost_usd))
            return message, finish

    def _took(self, held: Held, charge: Charge | None) -> None:
        """Count what a call has taken. None: nothing."""
        if self._meter is not None:
            self._meter.end(charge)
        usage = Usage() if charge is None else charge.usage
        if usage is not None:
            held.took(usage.input_tokens + usage.output_tokens)

    def _rate(self, request: Request) -> Rate | None:
        """Return the rate that a call keeps to; None if its config has none."""
        config = request.config
        if config.requests_per_minute is None and config.tokens_per_minute is None:
            return None
        return Rate(config.requests_per_minute, config.tokens_per_minute, self._tokens + (config.max_tokens or 0))

    def _priced(self, finish: Finish) -> Finish:
        """Return how a reply ended, with its cost also where the config sets the price. Keep it as the charge."""
        config = self._config
        if finish.cost_usd is None and (config.price or config.provider != "offline"):
            price = self._ports.contexts.declared_price(config)
            if price is not None and (finish.usage or price == FREE):
                finish = replace(finish, cost_usd=price.of(finish.usage or Usage()))
        if self._run._charge is not None or finish.cost_usd:
            self._run._charge = Charge(finish.usage, finish.cost_usd)
        return finish

    async def _stream(
        self, model: Model, request: Request, reply: Reply, hold: Hold | None
    ) -> tuple[AssistantMessage, Finish]:
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
                    for event in reply.add(delta):
                        await self._journal.publish(event, self._run)
                    if self._meter is not None:
                        self._meter.add(delta)
                    if hold is not None:
                        hold.add(delta)
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
        with_history = len(request.messages) > self._least
        return Limits(self._agent.name, config.max_tokens, context, with_history=with_history)

    @property
    def _least(self) -> int:
        """The messages of a call without history."""
        return len(self._requests.system) + len(self._journal.projection.draft)


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
