"""The protocol of models, and the request that one call makes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from msgspec import Struct

from ..config.aiconfig import AIConfig
from ..core.messages import Delta, Message, OutputSchema, ToolSchema


class Request(Struct, frozen=True):
    """One model call."""

    messages: Sequence[Message]
    """A Transcript where there is one: its messages are encoded and counted once."""
    tools: Sequence[ToolSchema]
    config: AIConfig
    output: OutputSchema | None = None
    """The form of the reply; None: text."""


class Model(Protocol):
    """A model that agents call: one call at a time per session, many at once over all sessions."""

    @property
    def context_tokens(self) -> int | None:
        """The size of the context in tokens; None where it is unknown."""

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the tokens of messages and tools, as exactly as possible without asking the provider.

        Called in a thread: it may take long.
        """

    async def prepare(self) -> None:
        """Import and look up everything that a call needs. Called before each call; only the first takes time.

        Raises:
            ConfigError: the call cannot be made, for example because the key is missing.
        """

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the deltas of the reply, and one Finish at its end.

        Closing the generator, or cancelling the task that reads it, ends the call and releases its connection.

        Raises:
            ModelError: the call failed. The message never contains a key.
            ConfigError: the call cannot be made, for example because the key is missing.
        """

    async def aclose(self) -> None:
        """Release all connections."""
