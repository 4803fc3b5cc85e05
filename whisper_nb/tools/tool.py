"""The protocol of a tool: what an agent may do besides talk."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..core.messages import ToolSchema

T = TypeVar("T")


@runtime_checkable
class Tool(Protocol):
    """Something a model may call."""

    @property
    def name(self) -> str:
        """What the model calls it; unique within an agent."""

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters, as the model is told them."""

    async def __call__(self, arguments: dict[str, Any]) -> str:
        """Run with checked arguments and return the result as text; whatever it raises goes to the model as an error.

        Cancellation of the run arrives here as asyncio.CancelledError; let it pass.
        """


class MainThread(Protocol):
    """Where functions run that touch a notebook's variables, while agents live elsewhere."""

    async def ask_main(self, function: Callable[..., T], *args: Any) -> T:
        """Call it there; what it gives."""

    async def await_main(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there; what it gives."""
