"""Requests: what a model call of a run sends. The part of the history that the agent's memory covers and that fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from msgspec import Struct

from ..config.aiconfig import own_address
from ..core.errors import LengthExceeded
from ..core.events import HistoryTrimmed, ModelReplied, Record, RunContinued, RunFinished, RunStarted, ToolFinished
from ..core.messages import Message, OutputMode, OutputSchema, SystemMessage, ToolSchema, UserMessage
from ..core.threads import in_thread, loaded
from ..core.turns import in_call_order
from ..models.model import HasBody, Model, Request, server_of, transcript_of
from ..models.output_modes import output_mode
from ..models.prices import Listed, context_size
from ..models.transcript import Transcript
from .fitting import SURELY_FITS, Counted, Room, Weight, recalled, trim, without
from .ports import Ports, Start

#: Prompts of the history among which that of a run is looked for.
_PROMPTS = 300


class Conversation(Struct, frozen=True):
    """The messages of a call, before any of them is left out for want of context."""

    messages: Transcript
    history: Transcript
    """All of the session's."""
    draft: Transcript
    """The prompt of the run, and its replies and results so far."""
    left_out: int
    """Messages of the history that are not among the messages: the memory leaves them out, or the run is fresh."""


class Sent(NamedTuple):
    """The request of a model call that was made."""

    request: Request
    own: int
    """The number of its messages that are the run's own, the last ones."""
    exact: bool
    """Whether it has the fingerprint of the call. Otherwise that is in progress or has failed, or the agent, its config
    or its history has changed since."""


class HasCounted(Protocol):
    """Keeps the count of a session's last call that had to be counted."""

    counted: Counted | None


class Requests:
    """The requests of one run.

    Args:
        ports: the session's collaborators.
        start: the spec and config that the run started with.
        counts: keeps the last count, for later calls of the session.
        fresh: whether the run gets no history.
        only_looks: whether nothing will be sent. Then no server is asked for the size of its context.
    """

    __slots__ = (
        "_counts",
        "_fresh",
        "_only_looks",
        "_ports",
        "_schemas_size",
        "_start",
        "counted",
        "counted_schemas",
        "output",
        "schemas",
        "system",
    )

    def __init__(
        self, ports: Ports, start: Start, counts: HasCounted, *, fresh: bool, only_looks: bool = False
    ) -> None:
        self._ports = ports
        self._start = start
        self._counts = counts
        self._fresh = fresh
        self._only_looks = only_looks
        self.system = _system_prompt(start.agent.instructions)
        """The system prompt, alone."""
        self.schemas: Sequence[ToolSchema] = []
        """Of the tools that are offered."""
        self.output: OutputSchema | None = None
        """The form of the answer. None: text."""
        self.counted_schemas: Sequence[ToolSchema] = []
        """The schemas that are sent beside the messages: of the tools, and of the output type like one."""
        self._schemas_size = 0  # an upper bound of their tokens
        self.counted = 0
        """The tokens of the last request; 0 where they were not counted."""

    async def begin(self) -> None:
        """Have all requests from now on offer the agent's tools, and ask for the form of the answer.

        The first time, pydantic is imported in a thread.

        Raises:
            ConfigError: an annotation of a tool has no JSON schema; or the model cannot be opened.
        """
        if not (self._start.agent.tools or self._start.output_type):
            return
        if self._start.agent.tools:
            await loaded("pydantic", "pydantic.type_adapter")
        listed: Listed = {}
        if self._start.output_type:
            listed = await self._ports.contexts.listed(self._start.config)
        self._offer(listed)

    def _offer(self, listed: Listed) -> None:
        """Offer the tools, and ask for the form of the answer.

        Args:
            listed: the model's entry in the price list, if there is an output type.
        """
        self.schemas = self.counted_schemas = [tool.schema for tool in self._start.agent.tools]
        if output := self._start.output_type:
            self._ask_for(output.schema(self._mode(listed), taken=frozenset(tool.name for tool in self.schemas)))
        self._schemas_size = sum(len(repr(schema)) for schema in self.counted_schemas)

    def _mode(self, listed: Listed) -> OutputMode:
        config, ports = self._start.config, self._ports
        address = own_address(config, ports.keys)[0]
        return output_mode(config, listed, ports.open_model(config), address, tools=bool(self.schemas))

    def _ask_for(self, output: OutputSchema) -> None:
        self.output = output
        if output.mode == "prompt":  # a part of the messages: neither sent nor counted a second time
            self.system = _system_prompt(f"{self._start.agent.instructions}\n\n{_form(output)}")
        else:
            self.counted_schemas = [*self.schemas, ToolSchema(output.name, "", output.json_schema)]

    def converse(self, history: Transcript, draft: Transcript) -> Conversation:
        """Return the conversation of a call.

        Args:
            history: of the session.
            draft: the messages of the run so far.
        """
        part = recalled(history, self._start.agent, fresh=self._fresh)
        messages = Transcript.joined(self.system, part, draft)
        return Conversation(messages, history, draft, len(history) - len(part))

    async def make(self, model: Model, conversation: Conversation) -> Request:
        """Return the request of a call. Its oldest exchanges are left out if the model's context has no room for all.

        Raises:
            LengthExceeded: the messages that cannot be left out are too long alone.
        """
        return self._request(await self._fitting(model, conversation))

    def _request(self, messages: Transcript) -> Request:
        config = self._start.config
        server = server_of(config.provider, own_address(config, self._ports.keys)[0])
        return Request(messages, self.schemas, config, self.output, server)

    def sent(self, history: Transcript, prompt: UserMessage, records: Sequence[Record]) -> Sent:
        """Return the request of the last model call in a run's records, or of the one that is in progress.

        It is made anew, with the spec and the history as they are now: requests are not kept.

        Args:
            history: of the session.
            prompt: of the run.
            records: of the run.

        Raises:
            ConfigError: as `begin`.
        """
        self._offer(self._ports.contexts.known_listed(self._start.config))
        draft, dropped, fingerprint = _draft(prompt, records)
        ends = [len(history)]
        if fingerprint and not self._fresh:  # the run's own messages may be history
            ends = [end for end in reversed(history.starts[-_PROMPTS:]) if history[end].text == draft[0].text] + ends
        found: Request | None = None
        for end in ends:
            messages = self.converse(history[:end], draft).messages
            for left_out in dict.fromkeys((dropped, 0)):
                request = self._request(without(messages, left_out))
                if request.fingerprint == fingerprint:
                    return Sent(request, len(draft), exact=True)
                found = found or request
        assert found is not None
        return Sent(found, len(draft), exact=False)

    async def weigh(self, model: Model, request: Request, draft: Transcript, *, exact: bool = False) -> Weight:
        """Return the tokens of a request: counted if its context or a limit asks for it, else estimated.

        Args:
            model: of the call.
            request: the last one that was made.
            draft: the run's own part of its messages.
            exact: whether they are counted in any case.
        """
        messages = transcript_of(request.messages)
        most = self._start.agent.max_prompt_tokens
        exact = exact or (most is not None and messages.size + self._schemas_size > most)
        if exact and not self.counted:
            self.counted = await in_thread(model.count_tokens, messages, self.counted_schemas)
        tokens = self.counted or messages.estimate + self._schemas_size // 4
        history = messages.estimate - self.system.estimate - draft.estimate
        return Weight(tokens, exact=self.counted > 0, history=history)

    async def _fitting(self, model: Model, conversation: Conversation) -> Transcript:
        self.counted = 0
        agent, config, messages = self._start.agent, self._start.config, conversation.messages
        room = await self._room(model, messages.size)
        # Most calls need no counting, which is slow.
        if room is None or messages.size + self._schemas_size < room.wanted:
            return messages
        history, draft = conversation.history, conversation.draft
        counted = self._counts.counted
        guess = 0
        if counted:
            guess = max(0, counted.left_out - conversation.left_out)
            if counted.fits(config.model, agent, self.output, history, draft.size, room.wanted):
                return without(messages, guess)
        history_size = history.size
        kept, size = await in_thread(self._trimmed, model, messages, room.wanted, guess)
        if not self._fresh:  # it says nothing of other runs
            left_out = conversation.left_out + len(messages) - len(kept)
            self._counts.counted = Counted(config.model, agent, self.output, history, history_size, size, left_out)
        self.counted = size
        if size > room.limit:
            raise self._too_long(size, room, in_tools=len(draft) > 1)
        return kept

    def _too_long(self, size: int, room: Room, *, in_tools: bool) -> LengthExceeded:
        """Return the error for messages that do not fit, though all others are left out."""
        config = self._start.config
        what = "the prompt has"
        remedy = "shorten the prompt"
        if in_tools:
            what = "the run, with its tool calls, reasoning and results, has"
            remedy = "ask for less in one run, have its tools return less"
        fit = f"{max(room.limit, 0):,} fit"
        if room.limit < room.context:
            fit += f" beside max_tokens={config.max_tokens:,}"
        if size <= room.context:
            remedy = f"lower max_tokens, {remedy}"
        return LengthExceeded(
            f"{config.model}: {what} {size:,} tokens and only {fit}, even without the history. "
            f"Nothing was sent: {remedy}, or choose a model with a larger context.",
            model=config.model or "",
            unsent=True,
        )

    async def _room(self, model: Model, size: int) -> Room | None:
        """Return the room for the messages of a call; None where the size of the context is unknown.

        Args:
            model: the model of the call.
            size: the bound of the messages' tokens.
        """
        config, contexts = self._start.config, self._ports.contexts
        listed = model.context_tokens
        if listed is None and self._only_looks and isinstance(model, HasBody):  # it may not be prepared
            listed = context_size(await contexts.listed(config))
        elif listed is None and config.context_tokens is None and size > SURELY_FITS:
            await contexts.ask(config)
        known = contexts.of(config)
        return Room.of(config, known.tokens, listed, known.per_counted)

    def _trimmed(self, model: Model, messages: Transcript, limit: int, guess: int) -> tuple[Transcript, int]:
        def count(some: Transcript) -> int:
            return model.count_tokens(some, self.counted_schemas)

        kept = trim(messages, limit, count, guess)
        return kept, count(kept)


@lru_cache(maxsize=256)
def _system_prompt(text: str) -> Transcript:
    return Transcript([SystemMessage(text)])


def _draft(prompt: UserMessage, records: Sequence[Record]) -> tuple[Transcript, int, str]:
    """Return the run's own messages in its last model call, the older ones that did not fit, and its fingerprint."""
    messages: list[Message] = [prompt]
    turn: list[Message] = []
    sent, dropped, fingerprint = 1, 0, ""
    for record in records:
        match record.event:
            case RunStarted(text, _, images):
                messages = [UserMessage(text, images)]
            case HistoryTrimmed(count, ""):
                dropped = count
            case ModelReplied(message):
                messages += in_call_order(turn)
                sent, turn, fingerprint = len(messages), [message], record.event.fingerprint
            case ToolFinished(message):
                turn.append(message)
            case RunContinued(text):
                messages += [*in_call_order(turn), UserMessage(text, goes_on=True)]
                turn = []
            case RunFinished():
                return Transcript(messages[:sent]), dropped, fingerprint
    return Transcript([*messages, *in_call_order(turn)]), dropped, ""


def _form(output: OutputSchema) -> str:
    """Return the end of a system prompt that asks for the form of the answer."""
    schema = json.dumps(output.json_schema, ensure_ascii=False, separators=(",", ":"))
    return f"Give your final answer as JSON alone, without other text. It must fit this JSON Schema:\n{schema}"
