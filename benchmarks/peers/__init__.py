"""The same work for whisper_nb, for what is beneath it, and for its peers: one small module for each.

Such a module has a function that makes a team: members, each with a conversation of its own, which keeps its history
in the way of the framework. Every module imports what it measures within that function: only there it is installed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

MODEL = "gpt-4o-mini"
#: LiteLLM's quickest way to a server of one's own: without the OpenAI SDK beneath it.
LITELLM_MODEL = f"hosted_vllm/{MODEL}"
PROMPT = "You are a member of a team. Answer briefly."
#: What the members may call: coroutine functions, which no framework needs a thread for.
Tools = Sequence[Callable[..., Any]]


class Member(Protocol):
    """One conversation."""

    async def ask(self, text: str) -> str:
        """A turn, with the tool calls it takes; the reply."""

    def stream(self, text: str) -> AsyncGenerator[str, None]:
        """A turn; the text of its reply, piece by piece as it comes."""


#: (api_base, size, tools) → the team, for as long as its context lasts.
MakeTeam = Callable[[str, int, Tools], AbstractAsyncContextManager[Sequence[Member]]]


@dataclass(frozen=True)
class Client:
    name: str
    module: str
    function: str = "team"
    peer: bool = True
    """Whether it is a framework that whisper_nb is compared with, and installed in the peers' environment."""
    notes: str = ""
    """How its turns are made, where that is for its user to choose."""


OURS = Client("whisper_nb", "ours", "over_wire", peer=False, notes="streams every reply; its whole history")
RAW = Client("raw aiohttp", "raw", peer=False, notes="the limit: streams every reply, keeps a list of messages")
OURS_OVER_LITELLM = Client(
    "whisper_nb over LiteLLM", "ours", "over_litellm", peer=False,
    notes=f"whole replies (`stream: false`); its whole history; `{LITELLM_MODEL}`",
)  # fmt: skip
BARE = Client(
    "bare LiteLLM", "bare", peer=False,
    notes=f"whole replies, a list of messages; `{LITELLM_MODEL}`, called with whisper_nb's arguments",
)  # fmt: skip
PEERS = (
    Client("agno", "agno", notes="whole replies; `InMemoryDb`, cached sessions, of which it sends the last 3 runs"),
    Client("autogen-agentchat", "autogen", notes="whole replies; its whole context; reflects on what tools say"),
    Client("openai-agents", "openai_agents", notes="whole replies; its `to_input_list()` given back"),
    Client("pydantic-ai", "pydantic_ai", notes="whole replies; its `all_messages()` given back; streams undebounced"),
    Client("langgraph", "langgraph", notes="whole replies; `create_agent`, its messages given back"),
)
CLIENTS = (OURS, RAW, OURS_OVER_LITELLM, BARE, *PEERS)
