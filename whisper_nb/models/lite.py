"""Every real provider, through LiteLLM: the one home of litellm.

litellm takes seconds and 150 MB to import, so it is imported at the first call, in a thread. What it raises can carry
the key, in its text, its causes and the frames of its traceback: none of that leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import warnings
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from ..config import AIConfig, missing_key
from ..errors import ConfigError, ModelError
from ..keys import Key, Keys
from ..messages import Delta, Message, ToolSchema, to_openai
from ..providers import PROVIDERS
from . import Request
from .chunks import Reading, provider_chunks
from .prices import Listed, listed

#: Set for good before the import, since litellm loads parts of itself later: nothing is fetched (prices, headers), and
#: no `.env` of the folder is loaded, which could send the user's key to a stranger's server.
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
}
#: Not asked for a key: servers of one's own, and clouds that sign in by role, profile or device.
_KEYLESS = frozenset(
    {"azure", "bedrock", "chatgpt", "github_copilot", "ollama", "ollama_chat", "sagemaker", "vertex_ai"}
)
#: Time limits are the caller's. The same for all calls, because litellm keeps one client per timeout.
_TIMEOUT_S = 86_400.0
_MESSAGE_LIMIT = 300
#: How much of what litellm says is looked at: all that may be shown, and what is cut away from before it.
_READ = 2_000
_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w* ?(?:Error|Exception|Timeout)(?:: | - ))+")
#: What helps nobody in what litellm and aiohttp say.
_NOISE = re.compile(r" ssl:<[^>]*>| ssl:default| ?\.? Handle with `litellm\.\w+`\.?")
#: HTTP errors that may pass by themselves, besides the provider's own.
_PASSING = (408, 409, 429)
#: Fields that go to litellm by their own names.
_PARAMETERS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "seed")
#: Providers that take a budget of tokens for thinking, as litellm says it for all of them.
_THINKING = frozenset({"anthropic", "bedrock", "gemini", "vertex_ai", "deepseek"})

#: litellm keeps its connections per process: whoever closes last closes them.
_in_use: WeakSet[LiteLLMModel] = WeakSet()


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
        """What litellm's price map says; None for a model that it does not list, and before the first call."""
        limit = self._listed().get("max_input_tokens")
        return limit if isinstance(limit, int) else None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """As litellm counts for this model; before the first call a rough estimate, one for every 4 characters."""
        wire = [to_openai(message) for message in messages]
        if self._litellm is None:
            return sum(len(str(message)) for message in wire) // 4
        return int(self._litellm.token_counter(model=self._model, messages=wire))

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The reply, delta by delta, and a Finish if and only if the provider gave a finish reason.

        Closing the generator, or cancelling the task that reads it, closes the HTTP response. Nothing is retried.

        Raises:
            ConfigError: no key, or a provider that litellm does not know. Nothing was sent.
            ModelError: whatever else went wrong. It holds neither the key nor an exception that does.
        """
        key = self._key()
        await self._prepare()
        arguments = self._arguments(request)
        reading = Reading()
        begun = False
        failure: ModelError | None = None
        try:
            stream = self._litellm.acompletion(**arguments, api_key=key.reveal() or None)
            async with aclosing(provider_chunks(await stream)) as chunks:
                begun = True
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
            raise _no_key(place, missing)
        if key := self._keys.key(place.provider, place.api_key):
            return key
        # A server of one's own may want no key, but the SDK does; and without one litellm would send some other
        # provider's that it finds in the environment.
        return Key("", "none" if place.api_base else "")

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._litellm is None:
                self._litellm = await asyncio.to_thread(self._load)
        _in_use.add(self)

    def _load(self) -> Any:
        """Import litellm and check what only litellm can tell; in a thread, because either may block.

        Raises:
            ConfigError: an unknown provider, or one whose key is missing.
        """
        litellm = _import_litellm()
        place = self._place
        if place.provider not in litellm.provider_list:
            raise ConfigError(
                f"model {self._model!r}: LiteLLM knows no provider {place.provider!r}; "
                "the known ones are at https://docs.litellm.ai/docs/providers"
            )
        asked = not (place.api_key or place.api_base or place.provider in _KEYLESS or place.provider in PROVIDERS)
        if asked and (missing := litellm.validate_environment(self._model)["missing_keys"]):
            raise _no_key(place, *missing)
        return litellm

    def _arguments(self, request: Request) -> dict[str, Any]:
        """What acompletion is given besides the key. A parameter that is not set is not sent."""
        config = request.config
        optional = {
            "api_base": self._place.api_base,
            "tools": [_to_openai_tool(tool) for tool in request.tools] or None,
            **{name: getattr(config, name) for name in _PARAMETERS},
            "stop": config.stop and list(config.stop),
            **_thinking(config),
        }
        return {
            "model": self._model,
            "messages": [to_openai(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": max(_TIMEOUT_S, config.timeout_s or 0.0),
            "num_retries": 0,  # litellm's own
            "max_retries": 0,  # those of the SDK under it
            "no-log": True,  # spares the work for logging callbacks
            "_skip_mcp_handler": True,  # else tools make it import mcp, a package that it does not depend on
            **{name: value for name, value in optional.items() if value is not None},
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
        told = spent.get("cost")
        told = told.get("total_cost") if isinstance(told, Mapping) else told
        if isinstance(told, int | float):
            return float(told)
        listed = self._listed()
        if not spent or not (listed.get("input_cost_per_token") or listed.get("output_cost_per_token")):
            return None
        try:
            usage = self._litellm.Usage(**spent)
            return float(sum(self._litellm.cost_per_token(model=self._model, usage_object=usage)))
        except Exception:  # of any kind, for an entry that litellm cannot use: unknown, and no reason to lose the reply
            return None

    def _failure(self, error: Exception, key: Key, begun: bool) -> ModelError:
        """The one place where what litellm raises becomes an error of ours."""
        status = getattr(error, "status_code", None)
        text = _PREFIX.sub(
            "", " ".join(self._keys.redact(str(error)[:_READ], key).partition("Traceback (most")[0].split())
        )
        text = _NOISE.sub("", text)
        text = text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "…"
        raised = isinstance(error, self._litellm.APIConnectionError | self._litellm.Timeout)
        # litellm says 500 too where nobody answered at all.
        unreached = any(
            isinstance(cause, OSError) or "ConnectError" in type(cause).__name__ for cause in _causes(error)
        )
        network = raised or unreached or (begun and status is None)
        retryable = network or (isinstance(status, int) and (status in _PASSING or status >= 500))
        if status in (401, 403):
            # What the provider says may echo the key, whole or in part.
            what = f"the provider refused {f'the key from {key.variable}' if key.variable else 'access'} ({status})"
            what += ". Check that the key is complete and may use this model; it is read anew at each call."
        elif network:
            where = self._place.api_base or "the provider"
            what = (
                f"the connection to {where} failed or broke off. Check the network, then submit again. Reason: {text}"
            )
        elif status == 404:
            what = f"no such model or address (404). Check the model's name and api_base. Reason: {text}"
        elif status == 429:
            what = f"too many requests, or no credit left (429). Submit again later. Reason: {text}"
        elif retryable:
            what = f"the provider failed ({status}). Submit again. Reason: {text}"
        else:
            what = f"the call was refused ({status or type(error).__name__}). Reason: {text}"
        return ModelError(f"{self._model}: {what}", model=self._model, retryable=retryable)


def fields_taken(model: str) -> frozenset[str] | None:
    """The fields of AIConfig that LiteLLM sends on to a model; None where it does not know the model.

    Imports LiteLLM, which takes seconds: call it in a thread.
    """
    litellm = _import_litellm()
    provider, _, name = model.partition("/")
    try:
        taken = litellm.get_supported_openai_params(model=name, custom_llm_provider=provider)
    except Exception:  # of any kind, for a name that it cannot place
        taken = None
    if not taken:
        return None
    fields = {field for field in (*_PARAMETERS, "stop") if field in taken}
    fields |= {"max_tokens"} if "max_completion_tokens" in taken else set()
    thinks = provider == "openrouter" or (provider in _THINKING and {"thinking", "reasoning_effort"} & {*taken})
    return frozenset(fields | ({"max_reasoning_tokens"} if thinks else set()))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _thinking(config: AIConfig) -> dict[str, Any]:
    """`max_reasoning_tokens` in the words of the provider.

    Raises:
        ConfigError: a provider that has no word for it. Nothing was sent.
    """
    limit = config.max_reasoning_tokens
    if limit is None:
        return {}
    if config.provider == "openrouter":
        return {"reasoning": {"max_tokens": limit} if limit else {"enabled": False}}
    if config.provider in _THINKING:
        return {"thinking": {"type": "enabled", "budget_tokens": limit} if limit else {"type": "disabled"}}
    raise ConfigError(
        f"max_reasoning_tokens: {config.provider} has no limit in tokens; set what it has under extra, such as "
        "extra: {reasoning_effort: low}. Nothing was sent."
    )


def _no_key(place: AIConfig, *variables: str) -> ConfigError:
    return ConfigError(
        f"{place.model} needs a key: set {' and '.join(variables)}, in a cell by "
        f'os.environ["{variables[-1]}"] = getpass.getpass(); or write api_key: os.environ/NAME into config/main.yaml, '
        f"under {place.provider}: beside its model, with the variable that holds it. Nothing was sent."
    )


def _to_openai_tool(tool: ToolSchema) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _import_litellm() -> Any:
    """litellm, silent."""
    os.environ.update(_ENVIRONMENT)
    # Agents never print, and what it logs may quote what was sent.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True  # counting tokens must not reach for the network
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # its import has set it anew
    # It prepares a call in a thread; of a call that is cancelled meanwhile, the thread's coroutine is left over.
    warnings.filterwarnings(
        "ignore", r"coroutine '\w+(Completion|Handler|LLM)\.a\w+' was never awaited", RuntimeWarning
    )
    return litellm
