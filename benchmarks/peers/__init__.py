"""The same work for whisper_nb, for the libraries beneath it, and for its peers: one small module for each.

A module has a function that makes a team: members, each with a conversation of its own, which keeps its history in the
way of the framework. The function imports the framework, which is installed in the peers' environment only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

MODEL = "gpt-4o-mini"
#: LiteLLM's fastest route to a local server: it bypasses the OpenAI SDK.
LITELLM_MODEL = f"hosted_vllm/{MODEL}"
PROMPT = "You are a member of a team. Answer briefly."
#: The tools of the members: coroutine functions, which need no thread in any framework.
Tools = Sequence[Callable[..., Any]]


class Member(Protocol):
    """One conversation."""

    async def ask(self, text: str) -> str:
        """Take a turn, including its tool calls. Return the reply."""

    def stream(self, text: str) -> AsyncGenerator[str, None]:
        """Take a turn. Yield the text of the reply in pieces as they arrive."""


#: (api_base, size, tools) → a context manager that gives the team.
MakeTeam = Callable[[str, int, Tools], AbstractAsyncContextManager[Sequence[Member]]]


@dataclass(frozen=True)
class Client:
    name: str
    module: str
    function: str = "team"
    peer: bool = True
    """Whether it is another framework, installed in the peers' environment."""
    notes: str = ""
    """How its turns are made, where users have a choice."""


OURS = Client("whisper_nb", "ours", "over_wire", peer=False, notes="streams every reply; its whole history")
RAW = Client("raw aiohttp", "raw", peer=False, notes="the limit: streams every reply, keeps a list of messages")
OURS_OVER_LITELLM = Client(
    "whisper_nb over LiteLLM",
    "ours",
    "over_litellm",
    peer=False,
    notes=f"whole replies (`stream: false`); its whole history; `{LITELLM_MODEL}`",
)
BARE = Client(
    "bare LiteLLM",
    "bare",
    peer=False,
    notes=f"whole replies, a list of messages; `{LITELLM_MODEL}`, called with whisper_nb's arguments",
)
PEERS = (
    Client("agno", "agno", notes="whole replies; `InMemoryDb`, cached sessions, of which it sends the last 3 runs"),
    Client("autogen-agentchat", "autogen", notes="whole replies; its whole context; reflects on tool results"),
    Client("openai-agents", "openai_agents", notes="whole replies; its `to_input_list()` given back"),
    Client("pydantic-ai", "pydantic_ai", notes="whole replies; its `all_messages()` given back; streams undebounced"),
    Client("langgraph", "langgraph", notes="whole replies; `create_agent`, its messages given back"),
)
CLIENTS = (OURS, RAW, OURS_OVER_LITELLM, BARE, *PEERS)
