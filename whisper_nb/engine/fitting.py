"""Fitting: leaves the oldest exchanges out of a model call, by the agent's memory or for want of context; weighs it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from msgspec import Struct

from ..config.agents import Agent
from ..config.aiconfig import AIConfig
from ..core.costs import dollars
from ..core.messages import OutputSchema, SystemMessage
from ..models.transcript import Transcript

#: A conversation of so many characters fits into any context that is in use: nothing needs to be known of it.
SURELY_FITS = 2_000
#: A prompt of more tokens is told to the user before it is sent.
LONG_PROMPT = 20_000
#: The part of a context that is kept free for the reply, if `max_tokens` is not set.
_FOR_THE_REPLY = 4


class Room(Struct, frozen=True):
    """The room for the messages of a call, in tokens as they are counted here."""

    context: int
    """The size of the context."""
    limit: int
    """The most that can be sent."""
    wanted: int
    """Older exchanges are left out beyond it, so that the reply has room, too."""

    @classmethod
    def of(cls, config: AIConfig, told: int | None, listed: int | None, per_counted: float) -> Room | None:
        """Return the room for a call; None where the size of the context is unknown.

        Args:
            config: of the call.
            told: the size of the context by the model's server.
            listed: its size by the price list, or of an offline model: of the prompt alone.
            per_counted: the server's tokens for each counted token.
        """
        reserved = config.max_tokens or 0
        whole = min(filter(None, (config.context_tokens, told)), default=None)
        context = whole or listed
        if context is None:
            return None
        limit = wanted = context - reserved
        if whole and not reserved:
            wanted -= whole // _FOR_THE_REPLY
        return cls(context, int(limit / per_counted), int(wanted / per_counted))


class Counted(Struct, frozen=True):
    """The tokens of one model call, as counted. They bound those of later calls, which so need no counting."""

    model: str | None
    agent: Agent
    output: OutputSchema | None
    """The form of the answer, which has tokens too."""
    history: Transcript
    """The session's history, which grows in place; a reset replaces it."""
    history_size: int
    """The history's `size` at that time."""
    tokens: int
    left_out: int
    """The number of messages of the history that were left out."""

    def fits(
        self,
        model: str | None,
        agent: Agent,
        output: OutputSchema | None,
        history: Transcript,
        draft_size: int,
        limit: int,
    ) -> bool:
        """Whether a call certainly fits into `limit` tokens, if as many messages are left out as before."""
        if not (model == self.model and agent is self.agent and output == self.output and history is self.history):
            return False
        return self.tokens + (history.size - self.history_size) + draft_size <= limit


class Weight(Struct, frozen=True):
    """The tokens of one model call."""

    tokens: int
    """All of them, with those of the tools."""
    exact: bool
    """Whether they were counted; otherwise they are estimated."""
    history: int
    """About how many of them are history."""

    def note(self, model: str, cost: float | None) -> str:
        """Return the line for the user of a long prompt.

        Args:
            model: the model that it is sent to.
            cost: of its tokens, in US dollars; None if it is unknown.
        """
        price = dollars(cost)
        if cost is None:
            price = "cost unknown"
        elif cost:
            price = f"about {price}"
        line = f"{self._count} tokens go to {model}, {price}"
        if history := round(self.history, -2):
            line += f"; about {history:,} of them are history, which --fresh leaves out"
        return line

    def refusal(self, agent: Agent, *, in_tools: bool) -> str:
        """Return why this call is not made: it exceeds the agent's `max_prompt_tokens`.

        Args:
            agent: the agent.
            in_tools: whether the run has called tools, or has begun to answer.
        """
        name, most = agent.name, agent.max_prompt_tokens or 0
        if self.history and self.tokens - self.history <= most:
            remedy = (
                f"send it without the history (--fresh, fresh=True), clear that (%agent reset {name}), or give {name} "
                "a memory such as last:10"
            )
        elif in_tools:
            remedy = "ask for less in one run, have its tools return less"
        else:
            remedy = "shorten the prompt"
        return (
            f"the prompt has {self._count} tokens, and max_prompt_tokens of {name} allows {most:,}. "
            f"Nothing was sent: {remedy}, or raise max_prompt_tokens"
        )

    @property
    def _count(self) -> str:
        if self.exact:
            return f"{self.tokens:,}"
        return f"about {round(self.tokens, -2):,}"


def recalled(history: Transcript, agent: Agent, *, fresh: bool) -> Transcript:
    """Return the part of a history that a run gets: its newest exchanges, each whole.

    Args:
        history: of the agent's session.
        agent: its memory says how much.
        fresh: whether the run gets no history.
    """
    memory = agent.memory
    cut = len(history) if fresh else history.since(memory.last, memory.tokens)
    return history[cut:] if cut else history


def without(messages: Transcript, left_out: int) -> Transcript:
    """Return a conversation with a system prompt, without that many messages after it."""
    if not left_out:
        return messages
    return Transcript.joined(messages[:1], messages[1 + left_out :])


def trim(messages: Transcript, limit: int, count: Callable[[Transcript], int], guess: int = 0) -> Transcript:
    """Return the messages that fit into `limit` tokens: the oldest exchanges are left out, each whole.

    The system prompt and everything from the last prompt on stay, so no tool call loses its result. The result may
    still exceed the limit: then nothing more can be left out, and the caller must refuse the call.

    Args:
        messages: a whole conversation.
        limit: in tokens.
        count: returns the tokens of messages. Slow, so it is called as rarely as possible.
        guess: the number of messages that an earlier call of the same conversation left out. It saves counting if it
            still holds.
    """
    has_system = len(messages) > 0 and isinstance(messages[0], SystemMessage)

    def kept(cut: int) -> Transcript:
        if cut == 0:
            return messages
        return Transcript.joined(messages[:has_system], messages[cut:])

    def fits(index: int) -> bool:
        return count(kept(cuts[index])) <= limit

    cuts = [0, *messages.starts[1:]]
    # The answer is between these: the more is left out, the fewer tokens remain.
    low, high = 0, len(cuts) - 1
    at = bisect_left(cuts, guess + has_system) if guess else 0
    if at == 0 and fits(0):  # as long as nothing was left out, this is likely, and needs no copies
        return messages
    if 0 < at < high:
        if not fits(at):
            low, high = _next_after(at, high, fits)
        elif fits(at - 1):
            high = at - 1
        else:
            low = high = at
    return kept(cuts[low + bisect_left(range(low, high), True, key=fits)])


def _next_after(at: int, last: int, fits: Callable[[int], bool]) -> tuple[int, int]:
    """Return bounds of the first index after `at` that fits, in steps that double: it is usually the next one."""
    step, below, above = 1, at, at + 1
    while above < last and not fits(above):
        step *= 2
        below, above = above, min(above + step, last)
    return below + 1, above
