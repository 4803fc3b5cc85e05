"""Every real provider, through LiteLLM: the one home of litellm.

litellm takes seconds and 150 MB to import, so it is imported at the first call, in a thread. What it raises can carry
the key, in its text, its causes and the frames of its traceback: none of that leaves this module.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from contextvars import ContextVar
from importlib import import_module
from typing import Any
from weakref import WeakSet

from ..config.aiconfig import AIConfig, missing_key
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS
from ..core.errors import ConfigError, ModelError
from ..core.messages import Delta, Message, ToolSchema, replace
from ..core.threads import in_thread
from .chunks import LiteReading, provider_chunks
from .failures import Failures, no_key, retry_after
from .litellm_loader import import_litellm
from .model import Request
from .openai_format import to_openai
from .parameters import PARAMETERS, THINKING, parameters, tools_of
from .prices import Listed, listed, told_cost
from .reading import Distrusted
from .tokens import count_tokens
from .transcript import Transcript

#: Not asked for a key: servers of one's own, and clouds that sign in by role, profile or device.
_KEYLESS = frozenset(
    {"azure", "bedrock", "chatgpt", "github_copilot", "ollama", "ollama_chat", "sagemaker", "vertex_ai"}
)
#: Time limits are the caller's. The same for all calls, because litellm keeps one client per timeout.
_TIMEOUT_S = 86_400.0
_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w* ?(?:Error|Exception|Timeout)(?:: | - ))+")
#: What helps nobody in what litellm and aiohttp say.
_NOISE = re.compile(r" ssl:<[^>]*>| ssl:default| ?\.? Handle with `litellm\.\w+`\.?")
#: Providers whose calls litellm makes with one client for all, unless it is given one.
_GIVEN_CLIENT = frozenset({"amazon_nova", "anthropic", "gemini", "maritalk", "vertex_ai", "watsonx"})
#: litellm keeps its connections per process: whoever closes last closes them, and the client that was given to it.
_in_use: WeakSet[LiteLLMModel] = WeakSet()
_client: list[Any] = []
#: Whether a call of this context is one of ours, and not of a notebook that uses litellm, too.
_is_ours: ContextVar[bool] = ContextVar("is_ours", default=False)


class LiteLLMModel:
    """One model of one provider, for any number of sessions at once.

    Args:
        place: where the model is: `model`, `api_base` and `api_key` are read, nothing else.
        keys: where the key is looked up, at each call, so that it may be set later; it is kept nowhere.
    """

    __slots__ = ("__weakref__", "_keys", "_litellm", "_model", "_place", "_preparing")

    def __init__(self, place: AIConfig, keys: Keys) -> None:
        self._place = place
        self._keys = keys
        self._model = place.model or ""
        self._litellm: Any = None
        self._preparing = asyncio.Lock()

    @property
    def context_tokens(self) -> int | None:
        """What litellm's price map says; None for a model that it does not list, and before `prepare`."""
        limit = self._listed().get("max_input_tokens")
        return limit if isinstance(limit, int) else None

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """As litellm counts for this model; may take long: for a thread."""
        return count_tokens(self._model, messages, tools)

    async def prepare(self) -> None:
        """Look up the key and, the first time, import litellm in a thread.

        Raises:
            ConfigError: no key, or a provider that litellm does not know.
        """
        self._key()
        async with self._preparing:
            if self._litellm is None:
                self._litellm = await in_thread(self._load)
        _in_use.add(self)
        if not _client:
            _client.append(await in_thread(_make_client, self._litellm))

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The reply, delta by delta, and a Finish if and only if the provider gave a finish reason.

        Closing the generator, or cancelling the task that reads it, closes the HTTP response. Nothing is retried.

        Raises:
            ConfigError: no key, or a provider that litellm does not know. Nothing was sent.
            ModelError: whatever else went wrong. It holds neither the key nor an exception that does.
        """
        await self.prepare()
        key = self._key()
        arguments = self._arguments(request)
        known = PROVIDERS.get(self._place.provider)
        reading = LiteReading(known.reasoning if known else "")
        begun = False
        failure: ModelError | None = None
        try:
            _is_ours.set(True)
            _spare_accounts()
            reply = await self._litellm.acompletion(**arguments, api_key=key.reveal() or None)
            begun = True
            async with aclosing(provider_chunks(reply)) as chunks:
                async for chunk in chunks:
                    for delta in reading.read(chunk):
                        yield delta
        except asyncio.CancelledError as error:
            # The frames that it came through hold the key, and a timeout keeps it as its cause.
            error.__traceback__ = error.__context__ = None
            raise
        except Exception as error:  # litellm lets errors of the SDKs, of httpx and of Python through
            failure = self._failure(error, key, begun)
        if failure is not None:
            raise failure  # not above, where the error that holds the key would become its context
        if finish := reading.finish():
            yield replace(finish, cost_usd=self._cost(reading.spent))

    async def aclose(self) -> None:
        """Close litellm's connections, once no other model in this process uses them."""
        _in_use.discard(self)
        if self._litellm is not None and not _in_use:
            while _client:
                await _client.pop().close()
            self._litellm.aclient_session = None
            del self._litellm.in_memory_llm_clients_cache.get_cache
            await self._litellm.close_litellm_async_clients()
            # A closed client that stayed in the cache would fail the next call.
            self._litellm.in_memory_llm_clients_cache.flush_cache()
            await asyncio.sleep(0)  # lets litellm's finalizers end the tasks that they have just begun

    # Before the call

    def _key(self) -> Key:
        """The key to send.

        Raises:
            ConfigError: what should hold it does not.
        """
        place = self._place
        if missing := missing_key(place, self._keys):
            raise no_key(place, missing)
        if key := self._keys.key(place.provider, place.api_key):
            return key
        # A server of one's own may want no key, but the SDK does; and without one litellm would send some other
        # provider's that it finds in the environment.
        return Key("", "none" if place.api_base else "")

    def _load(self) -> Any:
        """Import litellm and check what only litellm can tell; in a thread, because either may block.

        Raises:
            ConfigError: an unknown provider, or one whose key is missing.
        """
        litellm = import_litellm()
        place = self._place
        if place.provider not in litellm.provider_list:
            raise ConfigError(
                f"model {self._model!r}: LiteLLM knows no provider {place.provider!r}; "
                "the known ones are at https://docs.litellm.ai/docs/providers"
            )
        asked = not (place.api_key or place.api_base or place.provider in _KEYLESS or place.provider in PROVIDERS)
        if asked and (missing := litellm.validate_environment(self._model)["missing_keys"]):
            raise no_key(place, *missing)
        _rehearse(litellm, self._model)
        return litellm

    def _arguments(self, request: Request) -> dict[str, Any]:
        """What acompletion is given besides the key. A parameter that is not set is not sent."""
        config = request.config
        optional = {"api_base": self._place.api_base, "tools": tools_of(request.tools) or None}
        return {
            "model": self._model,
            "messages": _openai_messages(request.messages),
            **({"stream": True, "stream_options": {"include_usage": True}} if config.stream is not False else {}),
            **({"client": _client[0]} if self._place.provider in _GIVEN_CLIENT else {}),
            "timeout": max(_TIMEOUT_S, config.timeout_s or 0.0),
            "num_retries": 0,  # litellm's own
            "max_retries": 0,  # those of the SDK under it
            "no-log": True,  # spares the work for logging callbacks
            "_skip_mcp_handler": True,  # else tools make it import mcp, a package that it does not depend on
            **{name: value for name, value in optional.items() if value is not None},
            **parameters(config),
            **(config.extra or {}),
            # What it does not expect of a model, such as `user`, litellm would leave out without a word.
            "allowed_openai_params": list(config.extra or ()),
        }

    # After the call

    def _listed(self) -> Listed:
        """The model's entry in litellm's price map; empty where there is none."""
        return {} if self._litellm is None else listed(self._model, self._litellm.model_cost)

    def _cost(self, spent: Mapping[str, Any]) -> float | None:
        """US dollars: the provider's own figure, else by litellm's price map, else unknown."""
        if (cost := told_cost(spent)) is not None:
            return cost
        listed = self._listed()
        told = spent.get("prompt_tokens") or spent.get("completion_tokens")
        if not told or not (listed.get("input_cost_per_token") or listed.get("output_cost_per_token")):
            return None
        try:
            usage = self._litellm.Usage(**spent)
            return float(sum(self._litellm.cost_per_token(model=self._model, usage_object=usage)))
        except Exception:  # of any kind, for an entry that litellm cannot use: unknown, and no reason to lose the reply
            return None

    def _failure(self, error: Exception, key: Key, begun: bool) -> ModelError:
        failures = Failures(self._place, self._keys, key)
        text = _NOISE.sub("", _PREFIX.sub("", str(error).partition("Traceback (most")[0]))
        status, causes = getattr(error, "status_code", None), [*_causes(error)]
        answer: Any = next((getattr(cause, "response", None) for cause in causes if _is_answered(cause)), None)
        for cause in causes:
            if isinstance(cause, Distrusted):
                return failures.broken(str(cause))
        if answer is not None and answer.status_code >= 300:
            return failures.refused(answer.status_code, text, retry_after(answer.headers))
        if any(isinstance(one, ImportError) for one in causes):
            return failures.unfit(text)
        unreached = any(isinstance(one, OSError) or "ConnectError" in type(one).__name__ for one in causes)
        # litellm says 500 too where nobody answered at all.
        if (
            unreached
            or isinstance(error, self._litellm.APIConnectionError | self._litellm.Timeout)
            or _is_network(causes)
        ):
            return failures.unreached(text, sent=begun or not unreached)
        if begun and isinstance(status, int):
            return failures.told(text, status)
        if not begun and isinstance(status, int) and 400 <= status < 500:
            return failures.refused(status, text)  # by litellm itself
        return failures.broken(text or type(error).__name__)


def _openai_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return messages.to_openai() if isinstance(messages, Transcript) else [to_openai(message) for message in messages]


def _spare_accounts() -> None:
    """Have litellm not work out, for the logs of nobody, what the calls of this context cost: a seventh of a call."""
    with suppress(ImportError):  # it is litellm's own
        from litellm._internal_context import is_internal_call

        is_internal_call.set(True)


def _rehearse(litellm: Any, model: str) -> None:
    """A call that goes nowhere: the first one imports hundreds of modules, which shall not hold up the loop."""
    with suppress(Exception):  # whatever it is, the real call will say it
        litellm.completion(
            model=model,
            messages=[{"role": "user", "content": "-"}],
            mock_response="-",
            api_key="none",
            **{"no-log": True},
        )
    with suppress(ImportError):
        for name in ("admin", "beta", "chat"):
            import_module(f"openai.resources.{name}")


def _make_client(litellm: Any) -> Any:
    """The client that litellm makes our calls with; that of SDKs is said for all. Takes its time: for a thread."""
    from .guard import GuardedClient

    handler, clients = GuardedClient(_TIMEOUT_S), litellm.in_memory_llm_clients_cache
    kept = clients.get_cache

    def get_cache(key: str, **options: Any) -> Any:
        """What litellm asks for a client, whoever the provider is."""
        return handler if _is_ours.get() and key.startswith("async_httpx_client") else kept(key, **options)

    litellm.aclient_session = handler.client
    clients.get_cache = get_cache
    return handler


def _is_answered(cause: BaseException) -> bool:
    """Whether an HTTP response is behind an error, and not one that litellm made up."""
    return type(cause).__name__.endswith("StatusError") or (
        type(cause).__module__.startswith("openai") and getattr(cause, "response", None) is not None
    )


def _is_network(causes: Sequence[BaseException]) -> bool:
    """Whether the connection was at fault, as httpx or aiohttp say it."""
    import aiohttp
    import httpx

    return any(isinstance(cause, httpx.TransportError | aiohttp.ClientError) for cause in causes)


def fields_taken(model: str) -> frozenset[str] | None:
    """The fields of AIConfig that LiteLLM sends on to a model; None where it does not know the model.

    Imports LiteLLM, which takes seconds: call it in a thread.
    """
    litellm = import_litellm()
    provider, _, name = model.partition("/")
    try:
        taken = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider)
    except Exception:  # of any kind, for a name that it cannot place
        taken = None
    if not taken:
        return None
    fields = {field for field in (*PARAMETERS, "stop") if field in taken}
    fields |= {"max_tokens"} if "max_completion_tokens" in taken else set()
    thinks = provider == "openrouter" or (provider in THINKING and {"thinking", "reasoning_effort"} & {*taken})
    return frozenset(fields | ({"max_reasoning_tokens"} if thinks else set()))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
