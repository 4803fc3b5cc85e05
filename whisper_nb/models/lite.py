"""Models of every provider, through LiteLLM.

Its exceptions may contain the key: in their text, in their causes, and in the frames of their tracebacks. None of that
leaves this module.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from contextvars import ContextVar
from importlib import import_module
from typing import Any
from weakref import WeakSet

from ..config.aiconfig import AIConfig, missing_key, own_address
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS, Provider
from ..core.errors import ConfigError, ModelError
from ..core.messages import Delta, Finish, Message, ToolSchema, replace
from ..core.text import valid_unicode
from ..core.threads import in_thread
from .chunks import LiteLLMReader, provider_chunks
from .failures import Failures, no_key, retry_after
from .litellm_loader import import_litellm
from .model import Request
from .openai_format import PARAMETERS, THINKING, parameters, to_openai
from .output_modes import output_fields
from .prices import Listed, context_size, header_cost, listed, reported_cost
from .reading import InvalidReply
from .tokens import count_tokens
from .transcript import Transcript
from .wire_format import ProviderError
from .words import Said, said

#: Providers that need no key: servers of your own, and clouds that sign in by role, profile or device.
_KEYLESS = frozenset(
    {"azure", "bedrock", "chatgpt", "github_copilot", "ollama", "ollama_chat", "sagemaker", "vertex_ai"}
)
#: The engine limits the time of calls. This one is the same for all, because LiteLLM keeps one client per timeout.
_TIMEOUT_S = 86_400.0
#: The iterations of the loop that LiteLLM's finalizers need: a stream is four generators, each closed by the last one.
_CLOSINGS = 5
_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w* ?(?:Error|Exception|Timeout)(?:: | - ))+")
#: Details in messages of LiteLLM and aiohttp that do not help a user.
_NOISE = re.compile(r" ssl:<[^>]*>| ssl:default| ?\.? Handle with `litellm\.\w+`\.?")
#: Providers for which LiteLLM shares one client with everybody else, unless it is given one.
_GIVEN_CLIENT = frozenset({"amazon_nova", "anthropic", "gemini", "maritalk", "vertex_ai", "watsonx"})
#: Settings of LiteLLM that are parameters of providers, or say where in a cloud a model is.
_PASSED_ON = frozenset({"api_version", "cache", "metadata", "region_name", "tags"})
#: LiteLLM keeps its connections per process: closing the last model closes them, and the client that it was given.
_in_use: WeakSet[LiteLLMModel] = WeakSet()
_client: list[Any] = []
_opening = threading.Lock()
#: Whether the current call is made here, and not by a notebook that uses LiteLLM itself.
_is_ours: ContextVar[bool] = ContextVar("is_ours", default=False)


class LiteLLMModel:
    """One model of one provider, for any number of sessions at once.

    Args:
        endpoint: the fields `model`, `api_base` and `api_key` say where the model is. Others are not read.
        keys: the key is looked up here at each call, so that it may be set later. It is not kept.
    """

    __slots__ = ("__weakref__", "_endpoint", "_keys", "_litellm", "_model", "_preparing")

    def __init__(self, endpoint: AIConfig, keys: Keys) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._model = endpoint.model or ""
        self._litellm: Any = None
        self._preparing = asyncio.Lock()

    @property
    def context_tokens(self) -> int | None:
        """The size by LiteLLM's price list; None for a model that is not listed, and before `prepare`."""
        return context_size(self._listed())

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the count of LiteLLM's tokenizer. It may take long: call it in a thread."""
        return count_tokens(self._model, messages, tools)

    def body(self, request: Request) -> bytes:
        """Return the arguments of LiteLLM's call as JSON, without the key: LiteLLM makes the body of them.

        Raises:
            ConfigError: a parameter that the provider does not have.
        """
        return valid_unicode(json.dumps(self._arguments(request), ensure_ascii=False)).encode()

    async def prepare(self) -> None:
        """Look up the key and, the first time, import LiteLLM in a thread.

        Raises:
            ConfigError: no key, or a provider that LiteLLM does not know.
        """
        self._key()
        async with self._preparing:
            if self._litellm is None:
                self._litellm = await in_thread(self._load)
        _in_use.add(self)
        if not _client:
            await in_thread(_open_client, self._litellm)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the reply's deltas, and a Finish if and only if the provider gave a finish reason.

        Closing the generator, or cancelling the task that reads it, closes the HTTP response. Nothing is retried.

        Raises:
            ConfigError: no key, or a provider that LiteLLM does not know. Nothing was sent.
            ModelError: anything else. It holds neither the key nor an exception that does.
        """
        await self.prepare()
        key = self._key()
        self._check_extra(request.config.extra or {})
        arguments = self._arguments(request)
        if self._endpoint.provider in _GIVEN_CLIENT:
            arguments["client"] = _client[0]
        failures = Failures(self._endpoint, self._keys, key, request.output.mode if request.output else None)
        reader = LiteLLMReader(PROVIDERS.get(self._endpoint.provider, Provider()).reasoning)
        answered: list[int] = []
        failure: ModelError | None = None
        begun = False
        try:
            _is_ours.set(True)
            answered = _watch_replies()
            _spare_accounts()
            reply = await self._litellm.acompletion(**arguments, api_key=key.reveal() or None)
            begun = True
            async with aclosing(provider_chunks(reply)) as chunks:
                async for chunk in chunks:
                    for delta in reader.read(chunk):
                        yield delta
        except Exception as error:  # of any class: of the SDKs, of httpx and of Python
            failure = self._failure(error, failures, begun or any(status < 300 for status in answered))
        except BaseException as error:  # a cancellation, an interrupt, an outcome of a test runner
            # Its frames hold the key, and a timeout keeps it as its cause.
            error.__traceback__ = error.__context__ = None
            raise
        if failure is not None:
            raise failure  # not above, where the error that holds the key would become its context
        if finish := reader.finish():
            finish = failures.checked(finish)
            listed = self._listed() if request.config.price is None else {}
            yield replace(finish, cost_usd=self._cost(reader.usage, finish, reply, listed))

    async def aclose(self) -> None:
        """Close LiteLLM's connections, once no other model in this process uses them."""
        _in_use.discard(self)
        if self._litellm is not None and not _in_use:
            while _client:
                client = _client.pop()
                del self._litellm.in_memory_llm_clients_cache.get_cache  # before anything else can install its own
                self._litellm.aclient_session = None
                await client.close()
            await self._litellm.close_litellm_async_clients()
            # A closed client that stayed in the cache would fail the next call.
            self._litellm.in_memory_llm_clients_cache.flush_cache()
            for _ in range(_CLOSINGS):
                await asyncio.sleep(0)

    # Before the call

    def _key(self) -> Key:
        """Return the key to send.

        Raises:
            ConfigError: its variable is not set.
        """
        endpoint = self._endpoint
        if missing := missing_key(endpoint, self._keys):
            raise no_key(endpoint, missing)
        if key := self._keys.key(endpoint.provider, endpoint.api_key):
            return key
        # A server of your own may need no key, but the SDK does, and without one LiteLLM would send the key of another
        # provider that it finds in the environment.
        return Key("", "none" if own_address(endpoint, self._keys)[0] else "")

    def _load(self) -> Any:
        """Import LiteLLM and check what only it knows. Both may block: call it in a thread.

        Raises:
            ConfigError: the provider is unknown, or its key is missing.
        """
        litellm = import_litellm()
        endpoint = self._endpoint
        if endpoint.provider not in litellm.provider_list:
            raise ConfigError(
                f"model {self._model!r}: LiteLLM knows no provider {endpoint.provider!r}; "
                "the known ones are at https://docs.litellm.ai/docs/providers"
            )
        asked = not (
            endpoint.api_key
            or own_address(endpoint, self._keys)[0]
            or endpoint.provider in _KEYLESS
            or endpoint.provider in PROVIDERS
        )
        if asked and (missing := litellm.validate_environment(self._model)["missing_keys"]):
            raise no_key(endpoint, *missing)
        _rehearse(litellm, self._model)
        return litellm

    def _arguments(self, request: Request) -> dict[str, Any]:
        """Return the arguments of `acompletion` without the key. A parameter that is not set is not sent."""
        config = request.config
        optional: dict[str, Any] = {}
        if config.stream is not False:
            optional |= {"stream": True, "stream_options": {"include_usage": True}}
        if address := own_address(self._endpoint, self._keys)[0]:
            optional["api_base"] = address
        optional |= output_fields(request)
        return {
            "model": self._model,
            "messages": _openai_messages(request.messages),
            "timeout": max(_TIMEOUT_S, config.timeout_s or 0.0),
            "num_retries": 0,  # of LiteLLM
            "max_retries": 0,  # of the SDK that it calls
            "no-log": True,  # do nothing for logging callbacks
            "_skip_mcp_handler": True,  # else it imports mcp for tools, which it does not depend on
            **optional,
            **parameters(config),
            **(config.extra or {}),
            # LiteLLM silently drops parameters that it does not expect for a model, such as `user`.
            "allowed_openai_params": list(config.extra or ()),
        }

    def _check_extra(self, extra: Mapping[str, Any]) -> None:
        """Check that LiteLLM passes the extra parameters on, and does not obey them itself.

        Raises:
            ConfigError: it does not. Nothing was sent.
        """
        own = sorted(extra.keys() & set(self._litellm.types.utils.all_litellm_params) - _PASSED_ON)
        if own:
            raise ConfigError(
                f"extra: LiteLLM takes {', '.join(own)} for a setting of its own, which would change how the model "
                "is called: remove it. Nothing was sent."
            )

    # After the call

    def _listed(self) -> Listed:
        """Return the model's entry in LiteLLM's price list, or an empty one."""
        if self._litellm is None:
            return {}
        return listed(self._model, self._litellm.model_cost)

    def _cost(self, usage: Mapping[str, Any], finish: Finish, reply: Any, listed: Listed) -> float | None:
        """Return the cost in US dollars: as the provider reported it, else by LiteLLM's price list; None if unknown."""
        if (cost := reported_cost(usage)) is not None:
            return cost
        hidden = getattr(reply, "_hidden_params", None) or {}
        headers = hidden.get("additional_headers") or {}
        if not hasattr(reply, "aclose") and (cost := header_cost(headers, "llm_provider-")) is not None:
            return cost
        if finish.usage is None or not (listed.get("input_cost_per_token") or listed.get("output_cost_per_token")):
            return None
        try:
            costs = self._litellm.cost_per_token(model=self._model, usage_object=self._litellm.Usage(**usage))
            return float(sum(costs))
        except Exception:  # of any class, for an entry that LiteLLM cannot use: the reply must not be lost for it
            return None

    def _failure(self, error: Exception, failures: Failures, begun: bool) -> ModelError:
        """Return the error for an exception of LiteLLM, after or before a reply has begun."""
        text = _NOISE.sub("", _PREFIX.sub("", str(error).partition("Traceback (most")[0]))
        status = getattr(error, "status_code", None)
        causes = [*_causes(error)]
        answer: Any = next((getattr(cause, "response", None) for cause in causes if _is_answered(cause)), None)
        for cause in causes:
            if isinstance(cause, InvalidReply):
                return failures.broken(str(cause))
            if isinstance(cause, ProviderError):
                return failures.reported(cause.text, cause.code)
        if answer is not None and answer.status_code >= 300:
            return failures.refused(answer.status_code, _said(answer, text, error), retry_after(answer.headers))
        if any(isinstance(one, ImportError) for one in causes):
            return failures.unfit(text)
        unreached = any(isinstance(one, OSError) or "ConnectError" in type(one).__name__ for one in causes)
        # LiteLLM reports status 500 also where no server answered, and where it fails itself.
        unclear = isinstance(error, self._litellm.APIConnectionError | self._litellm.Timeout)
        if unreached or _is_network(causes) or (unclear and not begun):
            return failures.unreached(text, sent=begun or not unreached)
        if begun and (unclear or status is None):
            return failures.unreadable(text or type(error).__name__)
        if begun and isinstance(status, int):
            return failures.reported(text, status)
        if not begun and isinstance(status, int) and 400 <= status < 500:
            return failures.refused(status, _said(None, text, error))  # by LiteLLM itself
        return failures.broken(text or type(error).__name__)


def _openai_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    if isinstance(messages, Transcript):
        return messages.to_openai()
    return [to_openai(message) for message in messages]


def _watch_replies() -> list[int]:
    """Return a list that gets the HTTP status of each reply to the current call."""
    from .http.guard import statuses

    answered: list[int] = []
    statuses.set(answered)
    return answered


def _spare_accounts() -> None:
    """Keep LiteLLM from computing the costs of calls for its logs, which takes a seventh of a call."""
    with suppress(ImportError):  # a private module
        from litellm._internal_context import is_internal_call

        is_internal_call.set(True)


def _rehearse(litellm: Any, model: str) -> None:
    """Make a call that is not sent: the first call imports hundreds of modules, which would block the event loop."""
    with suppress(Exception):  # the real call reports it
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


def _open_client(litellm: Any) -> None:
    """Open the client for our calls, unless it is open. Several models may call this at once, each in a thread."""
    with _opening:
        if not _client:
            _client.append(_make_client(litellm))


def _make_client(litellm: Any) -> Any:
    """Return the client for our calls, and have LiteLLM use it. It takes long: call it in a thread."""
    from .http.guard import GuardedClient

    handler = GuardedClient(_TIMEOUT_S)
    clients = litellm.in_memory_llm_clients_cache
    kept = clients.get_cache

    def get_cache(key: str, **options: Any) -> Any:
        """Return the client for a provider: LiteLLM calls this."""
        if _is_ours.get() and key.startswith("async_httpx_client"):
            return handler
        return kept(key, **options)

    litellm.aclient_session = handler.client
    clients.get_cache = get_cache
    return handler


def _said(answer: Any, text: str, error: Exception) -> Said:
    """Return what a server said, by its response; by LiteLLM's text where there is no body, or it was not read."""
    found = Said("")
    with suppress(Exception):  # of httpx, and of LiteLLM's own kinds of responses
        found = said(answer.content)
    if not found.text:
        found = said(text)
    # LiteLLM's name of it is a code, too: it knows more words of providers, such as for a prompt that is too long.
    return replace(found, codes=f"{found.codes} {type(error).__name__}")


def _is_answered(cause: BaseException) -> bool:
    """Whether a server answered. LiteLLM also makes up responses."""
    return type(cause).__name__.endswith("StatusError") or (
        type(cause).__module__.startswith("openai") and getattr(cause, "response", None) is not None
    )


def _is_network(causes: Sequence[BaseException]) -> bool:
    """Whether the connection failed, by an error of httpx or aiohttp."""
    import aiohttp
    import httpx

    return any(isinstance(cause, httpx.TransportError | aiohttp.ClientError) for cause in causes)


def fields_taken(model: str) -> frozenset[str] | None:
    """Return the fields of AIConfig that LiteLLM passes on to a model; None if it does not know the model.

    Imports LiteLLM, which takes seconds: call it in a thread.

    Raises:
        Exception: of any class, for a name whose provider LiteLLM does not know.
    """
    litellm = import_litellm()
    provider, _, name = model.partition("/")
    taken = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider)
    if not taken:
        return None
    fields = {field for field in (*PARAMETERS, "stop") if field in taken}
    if "max_completion_tokens" in taken:
        fields.add("max_tokens")
    if provider == "openrouter" or (provider in THINKING and {"thinking", "reasoning_effort"} & {*taken}):
        fields.add("max_reasoning_tokens")
    return frozenset(fields)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
