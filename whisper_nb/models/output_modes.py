"""How an answer with a schema is asked for: `native`, `tool` or `prompt`, by config, price list and provider."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..config.aiconfig import AIConfig
from ..config.providers import PROVIDERS, Provider, is_own
from ..core.errors import ConfigError
from ..core.messages import OutputMode, OutputSchema, ToolSchema
from .model import Request
from .openai_format import tools_of
from .prices import Listed
from .strict_schemas import rooted, strict

#: Providers whose servers constrain what a model writes, whatever the model.
_CONSTRAINING = frozenset({"hosted_vllm", "perplexity", "vllm"})
#: Providers that constrain every newer model: one that is not listed is taken for newer.
_NATIVE = frozenset({"gemini", "mistral", "openai", "xai"})
#: Providers for which LiteLLM makes a call of its own of a schema, unless the list says that the model takes schemas.
#: Of a whole reply that hits the limit of tokens, it says then that it ended well.
_BY_LITELLM = ("anthropic/", "bedrock/", "vertex_ai/claude")
#: OpenRouter's models are in no list. Those of these makers are constrained:
#: https://openrouter.ai/docs/features/structured-outputs
_NATIVE_AT_OPENROUTER = ("anthropic/claude-", "google/gemini-", "mistralai/", "openai/", "x-ai/")
#: Providers whose models, for the most part, call tools. Azure's names are those of deployments, and tell nothing.
_WITH_TOOLS = frozenset({"anthropic", "azure", "groq", "openrouter"})
#: Providers that constrain a reply to JSON, and not to a schema, which the price list counts as support; and such whose
#: models LiteLLM 1.110 passes no schema on to, or neither a schema nor tools.
_NO_SCHEMA = frozenset({"amazon_nova", "cohere", "dashscope", "deepseek", "minimax", "replicate", "snowflake", "zai"})
_NEITHER = frozenset({"aihubmix", "anyscale", "crusoe", "gmi", "lemonade", "llamagate"})

#: Providers that constrain replies beside tools. Groq and Gemini refuse both together, llama.cpp and vLLM would write
#: the answer in place of a call, and LiteLLM forces the answer of some of Anthropic's models:
#: https://github.com/vercel/ai/pull/16540
_BESIDE_TOOLS = frozenset({"azure", "openai", "xai"})


class Chosen(NamedTuple):
    """An output mode, and the reason for it."""

    mode: OutputMode
    source: str
    """The reason: `the price list`, for example. Empty where the config sets it."""


def output_mode(
    config: AIConfig, listed: Listed, model: object = None, address: str = "", *, tools: bool = False
) -> OutputMode:
    """Return the mode in which a model is asked for an answer with a schema; see `choose`."""
    return choose(config, listed, model, address, tools=tools).mode


def choose(config: AIConfig, listed: Listed, model: object = None, address: str = "", *, tools: bool = False) -> Chosen:
    """Return the mode in which a model is asked for an answer with a schema, with the reason.

    Args:
        config: of the call. Its `output_mode` decides if it is set.
        listed: the model's entry in the price list; empty if it has none.
        model: the model itself. An attribute `output_mode` of it comes second.
        address: of the server that takes the place of the provider's, as `own_address` returns it.
        tools: whether the agent has tools. Beside them, few providers constrain the reply.
    """
    if config.output_mode:
        return Chosen(_mode(config.output_mode), "")
    if stated := getattr(model, "output_mode", None):
        return Chosen(_mode(stated), "the model itself")
    if config.provider == "offline":
        return _offline((config.model or "").partition("/")[2])
    own_server = _constrains(config, config.api_base or address)
    chosen = Chosen("native", "its server constrains replies") if own_server else _known(config, listed, tools)
    if tools and chosen.mode == "native" and (own_server or config.provider not in _BESIDE_TOOLS):
        return Chosen("tool", "the agent has tools, beside which few servers constrain replies")
    return chosen


def _known(config: AIConfig, listed: Listed, tools: bool) -> Chosen:
    """Return the mode of a provider's model, as far as it is known.

    Without other tools, the call of the answer's tool is required, which not every model with tools accepts.
    """
    name = (config.model or "").partition("/")[2]
    converted = (config.model or "").startswith(_BY_LITELLM) and not listed.get("supports_native_structured_output")
    if config.provider in _NEITHER:
        return Chosen("prompt", f"LiteLLM passes no schema on to {config.provider}")
    if listed and (converted or config.provider in _NO_SCHEMA):
        listed = {**listed, "supports_response_schema": False}
    if listed.get("supports_response_schema"):
        return Chosen("native", "the price list")
    if listed.get("supports_function_calling") and (tools or listed.get("supports_tool_choice")):
        return Chosen("tool", "the price list")
    if listed:
        return Chosen("prompt", "the price list")
    if config.provider in _NATIVE or (config.provider == "openrouter" and name.startswith(_NATIVE_AT_OPENROUTER)):
        return Chosen("native", f"of {config.provider}, whose list does not have it")
    if config.provider in _WITH_TOOLS:
        return Chosen("tool", f"of {config.provider}; the model is not listed")
    return Chosen("prompt", "nothing is known of the model")


def _constrains(config: AIConfig, address: str) -> bool:
    """Whether the server is one of those that constrain replies: llama.cpp's, Ollama, LM Studio, vLLM and others."""
    known = PROVIDERS.get(config.provider, Provider())
    behind_openai = config.provider == "openai" and is_own(address)
    return bool(known.address) or config.provider in _CONSTRAINING or behind_openai


def _offline(name: str) -> Chosen:
    if name == "echo" or name.startswith("script:"):
        return Chosen("native", "the offline model itself")
    return Chosen("prompt", "a model of your own: its attribute output_mode says otherwise")


def _mode(word: str) -> OutputMode:
    match word:
        case "native" | "tool" | "prompt":
            return word
        case _:
            raise ValueError(f"output_mode {word!r} is not native, tool or prompt")


#: What the model reads of the answer's tool, before the description of the type.
_ANSWER = "Gives the final answer. Call it once, when the answer is complete."
#: Providers whose models refuse a forced call, as they reason before each reply.
_UNFORCED = frozenset({"deepseek"})


def output_fields(request: Request) -> dict[str, Any]:
    """Return the fields of a body in OpenAI's format that ask for the form of the answer, and the tools.

    A schema is sent as `strict` in its strict form alone; see `strict_schemas`. Without other tools, the call of the
    answer's tool is required, unless the model reasons: many refuse that then.

    Raises:
        ConfigError: a tool has the name of the answer's. Nothing was sent.
    """
    output, config = request.output, request.config
    tools = tools_of(request.tools)
    fields: dict[str, Any] = {}
    if output is not None and output.mode == "tool":
        if any(tool.name == output.name for tool in request.tools):
            raise ConfigError(
                f"a tool has the name of the answer's type, {output.name}: rename one of them, or set "
                "output_mode: native or prompt. Nothing was sent."
            )
        tools += tools_of([_answer_tool(output)])
        if len(tools) == 1 and not _reasons(config):
            fields["tool_choice"] = "required"
    if output is not None and output.mode == "native":
        fields["response_format"] = {"type": "json_schema", "json_schema": _named_schema(output, config)}
    if tools:
        fields["tools"] = tools
    return fields


def _named_schema(output: OutputSchema, config: AIConfig) -> dict[str, Any]:
    tuned = "/ft:" in (config.model or "")  # OpenAI's, for which the subset is smaller
    if not tuned and (schema := strict(output.json_schema)) is not None:
        return {"name": output.name, "strict": True, "schema": schema}
    return {"name": output.name, "schema": rooted(output.json_schema)}


def _answer_tool(output: OutputSchema) -> ToolSchema:
    schema = rooted(output.json_schema)
    described = str(schema.get("description") or "")
    return ToolSchema(output.name, " ".join(filter(None, (_ANSWER, described))), schema)


def _reasons(config: AIConfig) -> bool:
    """Whether the model is asked to reason before its reply."""
    asked = {"reasoning", "reasoning_effort", "thinking"} & set(config.extra or ())
    return bool(config.max_reasoning_tokens or asked) or config.provider in _UNFORCED
