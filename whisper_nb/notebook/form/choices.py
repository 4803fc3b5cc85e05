"""The choices that the form offers: models with their prices, and the functions of the notebook."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import Any, is_typeddict

from msgspec import Struct

from ...config.aiconfig import AIConfig, own_address
from ...config.keys import Keys
from ...config.providers import PROVIDERS, public
from ...core.errors import ConfigError
from ...core.text import clip
from ...models.local import local_models, models_at_bases
from ...models.prices import context_size, price, price_list
from ...tools.functions import FunctionTool, is_of_cells

READY = "Can be used now"
#: Types of answers that need no class.
_PLAIN_TYPES = ("int", "float", "bool", "list[str]", "dict[str, float]", "Literal['yes', 'no']")
#: The types of defaults that are shown, and what stands for another default.
_PLAIN, _OTHER = (str, int, float, bool, type(None)), ...
#: Versions of a model by date, and tuned ones, which their users know by name.
_SPECIAL = re.compile(r"[-@]\d{4}-?\d{2}-?\d{2}|[/.]ft:|:batch")
#: The most models of one provider that are offered, and the most functions.
_MOST_MODELS, _MOST_TOOLS = 150, 100


class ModelChoice(Struct, frozen=True):
    """A model that can be chosen."""

    model: str
    about: str
    """Its price for a million tokens, and the size of its context."""
    group: str
    """READY, or what is missing."""


class ToolChoice(Struct, frozen=True):
    """A function that can be chosen."""

    name: str
    signature: str
    about: str
    """The first line of its docstring."""


class TypeChoice(Struct, frozen=True):
    """A type that answers can have."""

    name: str
    """As it is typed: `Verdict`, `list[Verdict]`."""
    about: str
    """The fields of a class, or the values of an enum."""


@cache
def listed_models() -> Mapping[str, str]:
    """Return model → its price and context, for each listed model of a known provider. Blocks for 0.1 s at first."""
    found: dict[str, str] = {}
    for name, entry in list(price_list().items()):  # LiteLLM may be imported meanwhile, in another thread
        with suppress(AttributeError, TypeError, ValueError, OverflowError):  # an entry of a user
            provider = str(entry.get("litellm_provider"))
            if entry.get("mode") == "chat" and provider in PROVIDERS:
                found[f"{provider}/{name.removeprefix(f'{provider}/')}"] = _about(entry)
    return found


def _about(entry: Mapping[str, Any]) -> str:
    cost = price(entry)
    parts = [cost if cost != "unknown" else "price unknown"]
    if size := context_size(entry):
        parts.append(f"{_in_short(size)} context")
    return " · ".join(parts)


def _in_short(tokens: int) -> str:
    if tokens >= 1_000_000:
        return f"{tokens / 1e6:.3g}M"
    return f"{tokens / 1e3:.3g}k"


def offline_choices(names: Iterable[str] = ()) -> list[ModelChoice]:
    """Return the models that need no provider: those of the package, and those of these names."""
    echo = ModelChoice("offline/echo", "free, no network · repeats the prompt, for trying things out", READY)
    return [echo, *(ModelChoice(name, "registered in this kernel", READY) for name in names if name != echo.model)]


def server_choices(keys: Keys, configs: Iterable[AIConfig]) -> list[ModelChoice]:
    """Return the models of servers of one's own that answer now. Blocks for half a second at most, each time it waits.

    Args:
        keys: where keys and addresses are looked up.
        configs: configs of agents, whose servers are asked, too.
    """
    found: list[ModelChoice] = []
    for provider, models in local_models(keys).items():
        address, _ = own_address(AIConfig(model=f"{provider}/-"), keys)
        where = f"{provider} on this machine"
        if address:
            where = f"at {public(address)}"
        found += [ModelChoice(model, where, READY) for model in models]
    for base, models in models_at_bases(configs, keys).items():
        found += [ModelChoice(model, f"at {public(base)}", READY) for model in models]
    return found


def provider_choices(keys: Keys, about: Mapping[str, str]) -> list[ModelChoice]:
    """Return the models of providers: those whose key is set first.

    Args:
        keys: where keys are looked up.
        about: model → its price and context.
    """
    ready: list[ModelChoice] = []
    missing: list[ModelChoice] = []
    for name, provider in PROVIDERS.items():
        first = [ModelChoice(model, about.get(model, ""), READY) for model in [provider.model] if model]
        if own_address(AIConfig(model=f"{name}/-"), keys)[1]:
            continue  # a variable leads to another server, whose models are others
        if any(map(keys.get, provider.variables)):
            ready += [*first, *_others(name, provider.model, about)]
        else:
            missing += [ModelChoice(one.model, one.about, f"{provider.variables[0]} is not set") for one in first]
    return [*ready, *missing]


def _others(provider: str, first: str, about: Mapping[str, str]) -> list[ModelChoice]:
    """Return the listed models of a provider, but for the first and for versions by date."""
    listed = [name for name, text in about.items() if name.startswith(f"{provider}/") and text.startswith("$")]
    names = [name for name in listed if name != first and not _SPECIAL.search(name)]
    return [ModelChoice(name, about[name], READY) for name in sorted(names)[:_MOST_MODELS]]


def distinct(choices: Iterable[ModelChoice]) -> list[ModelChoice]:
    """Return the first choice of each model."""
    found: dict[str, ModelChoice] = {}
    for one in choices:
        found.setdefault(one.model, one)
    return list(found.values())


def tool_choices(namespace: Mapping[str, Any]) -> list[ToolChoice]:
    """Return the functions that the user's cells define, by name."""
    found = [_tool_choice(name, value) for name, value in _functions(namespace)]
    return sorted(found, key=lambda one: one.name)[:_MOST_TOOLS]


def _functions(namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in list(namespace.items()):
        # A function under another name than its own would be looked up under that one. Of other objects, only the type
        # is looked at: to read an attribute of a data frame may take long.
        if not name.startswith("_") and _is_choice(name, value):
            yield name, value


def _is_choice(name: str, value: Any) -> bool:
    try:
        is_one = inspect.isroutine(value) or _is_like_tool(type(value))
        return is_one and is_of_cells(value) and getattr(value, "__name__", name) == name
    except Exception:  # of a proxy of a user's class, even `__class__` may raise anything
        return False


def type_choices(namespace: Mapping[str, Any]) -> list[TypeChoice]:
    """Return the types that answers can have: classes of data that cells define, lists of them, plain ones."""
    found: list[TypeChoice] = []
    for name, value in list(namespace.items()):
        if isinstance(value, type) and not name.startswith("_"):
            with suppress(Exception):  # a metaclass of a user may raise anything
                if value.__module__ == "__main__" and value.__name__ == name and (parts := _parts_of_data(value)):
                    found.append(TypeChoice(name, clip(", ".join(map(str, parts)), 90)))
    found = sorted(found, key=lambda one: one.name)[: _MOST_TOOLS // 2]
    return [
        *found,
        *(TypeChoice(f"list[{one.name}]", "") for one in found),
        *(TypeChoice(one, "") for one in _PLAIN_TYPES),
    ]


def _parts_of_data(value: type) -> list[Any]:
    """Return the fields of a class, or the names of an enum's members; nothing for another class."""
    if issubclass(value, Enum):
        return [*value.__members__]
    if is_dataclass(value):
        return [*value.__dataclass_fields__]
    if is_typeddict(value):
        return [*value.__annotations__]
    return [*getattr(value, "__pydantic_fields__", ())]


def _is_like_tool(kind: type) -> bool:
    return hasattr(kind, "name") and hasattr(kind, "schema")


def _signature(function: Any) -> str:
    """Return a function's parameters, with those defaults that are plain: the repr of others is a user's code."""
    found = inspect.signature(function)
    parameters = [
        one if one.default is one.empty or type(one.default) in _PLAIN else one.replace(default=_OTHER)
        for one in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters)).replace(repr(_OTHER), "…")


def _tool_choice(name: str, value: Any) -> ToolChoice:
    signature = about = ""
    if isinstance(value, FunctionTool):
        with suppress(ConfigError):  # it is told when the tool is chosen
            about = value.schema.description
    elif inspect.isfunction(value):
        about = inspect.getdoc(value) or ""
        with suppress(Exception):  # a decorator has put something else in its place, or an annotation has no repr
            signature = _signature(value)
    first = about.strip().partition("\n")[0]
    return ToolChoice(name, clip(signature, 90), clip(first, 160))
