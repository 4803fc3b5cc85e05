"""The models that agents talk to: the protocol, and one call of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from msgspec import Struct

from ..config.aiconfig import AIConfig
from ..core.messages import Delta, Message, ToolSchema


class Request(Struct, frozen=True):
    """One model call."""

    messages: Sequence[Message]
    """A Transcript where there is one: its messages are encoded and counted once."""
    tools: Sequence[ToolSchema]
    config: AIConfig


class Model(Protocol):
    """Answers one call at a time per session, and many at once over all."""

    @property
    def context_tokens(self) -> int | None:
        """The most tokens that a request may hold; None where nobody knows."""

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """The tokens of messages and tools, as exactly as can be told without asking the provider.

        Called in a thread: it may take long.
        """

    async def prepare(self) -> None:
        """Get ready for a call: look up, import and load what it needs. Called before each, quick when all is there.

        Raises:
            ConfigError: the call cannot be made, for example without a key.
        """

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The reply, delta by delta, closed by one Finish.

        Closing the generator, or cancelling the task that reads it, ends the call and lets go of its connection.

        Raises:
            ModelError: the call failed. No key is ever part of the message.
            ConfigError: the call cannot be made, for example without a key.
        """

    async def aclose(self) -> None:
        """Let go of connections."""
