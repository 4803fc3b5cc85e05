"""The protocol of a tool: what an agent may do besides talk."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..core.messages import ToolSchema

T = TypeVar("T")


@runtime_checkable
class Tool(Protocol):
    """A function that a model may call."""

    @property
    def name(self) -> str:
        """The name by which the model calls it; unique within an agent."""

    @property
    def schema(self) -> ToolSchema:
        """The name, description and parameters that are sent to the model."""

    async def __call__(self, arguments: dict[str, Any]) -> str:
        """Run with the arguments and return the result as text. An error goes to the model as the result.

        When the run is cancelled, asyncio.CancelledError is raised here; let it pass.
        """


class MainThread(Protocol):
    """Runs functions on the main thread, where the notebook's variables are, while agents live on another."""

    async def ask_main(self, function: Callable[..., T], *args: Any) -> T:
        """Call the function on the main thread and return its result."""

    async def await_main(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine on the main thread's event loop and return its result."""
