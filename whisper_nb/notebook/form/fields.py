"""The fields of the form: their labels, what they mean, and the sections that they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from ...config.agents import Agent
from ...config.kinds import Choice, Flag
from ..cells.explain import value_text
from .draft import CONFIG, FIELDS, FieldPath

#: Icons and colors to choose from; any other can be typed. The colors can be told apart, and read on light and dark.
ICONS = ("🤖", "🔍", "📊", "📐", "🧹", "🧪", "📚", "📝", "💡", "🐛", "🔧", "🌍")
PALETTE = ("#2f7de1", "#0e8f7e", "#5f8a3a", "#b07d00", "#e0672f", "#c0392b", "#c2478f", "#8e44ad", "#6b7280")


class Section(Struct, frozen=True):
    """Fields below one heading. A section without a title is always open; the others begin folded."""

    title: str
    about: str
    fields: tuple[FieldPath, ...]


def _of_config(*names: str) -> tuple[FieldPath, ...]:
    return tuple((CONFIG, name) for name in names)


NAME: FieldPath = ("name",)
PROMPT: FieldPath = ("system_prompt",)
TOOLS: FieldPath = ("tools",)
OUTPUT: FieldPath = ("output_type",)
(MODEL,) = _of_config("model")
(KEY,) = _of_config("api_key")
(BASE,) = _of_config("api_base")
#: The parameters of a model. An offline model has none.
PARAMS = tuple(path for path in FIELDS if path[0] == CONFIG and path != MODEL)
#: The parameters that are sent to the model, where it takes them.
SENT = {
    *("temperature", "top_p", "max_tokens", "max_reasoning_tokens"),
    *("frequency_penalty", "presence_penalty", "stop", "seed"),
}
#: Field of the config → its label, and what it means.
_OF_CONFIG: Mapping[str, tuple[str, str]] = {
    "max_tokens": ("Tokens per reply", "The most tokens of one reply, at which the model is cut off."),
    "max_reasoning_tokens": ("Tokens of reasoning", "The most before one reply; 0 turns reasoning off."),
    "temperature": ("Temperature", "0 is the most predictable choice of words, 2 the most varied."),
    "top_p": (
        "Top p",
        "The share of likely words to choose from, 0 to 1. Set this or the temperature, not both.",
    ),
    "frequency_penalty": (
        "Frequency penalty",
        "-2 to 2. Above 0: a word is avoided the more, the more often it was used.",
    ),
    "presence_penalty": ("Presence penalty", "-2 to 2. Above 0: words that were used before are avoided."),
    "stop": ("Stop texts", "A reply ends where it would contain one of these: END, or [END, STOP]."),
    "seed": ("Seed", "A whole number. With the same one, some providers repeat a reply to the same prompt."),
    "api_base": ("Server address", "For a server of your own, such as http://localhost:8000/v1."),
    "api_key": (
        "API key",
        "The environment variable that holds it, as os.environ/NAME. Never the key itself.",
    ),
    "context_tokens": (
        "Context size",
        "The tokens that the model can read at once. Older exchanges are left out to fit.",
    ),
    "timeout_s": ("Seconds per model call", "A call that takes longer fails."),
    "token_timeout_s": (
        "Seconds per token",
        "The longest wait for the first token, and from each to the next.",
    ),
    "retries": ("Retries", "0 to 10: how often a call is repeated that fails before its first token."),
    "output_retries": ("Corrections", "0 to 10: how often an answer is corrected that does not fit the output type."),
    "requests_per_minute": (
        "Calls per minute",
        "The most of all agents with this provider and key. Further calls wait.",
    ),
    "tokens_per_minute": (
        "Tokens per minute",
        "The most of all agents with this provider and key, sent and received. Further calls wait.",
    ),
    "allow_empty": (
        "Empty replies",
        "Whether a reply without any text is an answer. Otherwise it is an error.",
    ),
    "stream": ("Streaming", "Whether text is shown as it is written. Choose false for a server that cannot."),
    "transport": ("Transport", "The way to the provider: OpenAI's own format over the wire, or LiteLLM."),
    "output_mode": ("Output mode", "How an answer with a schema is asked for: native, tool or prompt."),
    "price": (
        "Price",
        "Of a model that no list prices: free, or {input: 0.15, output: 0.6} in US dollars per million tokens.",
    ),
    "extra": ("Extra parameters", "Parameters that only this provider has, as YAML: {top_k: 40}."),
}
#: Field → its label, and what it means.
_MEANINGS: Mapping[FieldPath, tuple[str, str]] = {
    NAME: ("Name", "%%agent NAME gives it work. A letter, then letters, digits, - or _."),
    PROMPT: ("System prompt", "Its role and its rules. The model reads them before each of your prompts."),
    MODEL: ("Model", "The language model that answers: choose one, or type provider/model."),
    ("title",): ("Title", "A longer name, beside the name in the panel."),
    ("role",): ("Role", "One or two words: planner."),
    ("description",): ("Description", "A line about what it is good for."),
    ("icon",): ("Icon", "An emoji, or a few characters."),
    ("color",): ("Color", "The color of its icon: a name of CSS such as teal, or a number such as #2f7de1."),
    TOOLS: ("Functions by name", "The chosen ones; others can be typed, with commas between them."),
    OUTPUT: (
        "Type of answers",
        "If set, answers are instances of it: of a class that a cell defines, or of list[…], Literal['yes', …].",
    ),
    ("max_turns",): (
        "Model calls per run",
        "A run is one prompt. Each round of tool calls needs another call; one call more fails the run.",
    ),
    ("max_total_tokens",): (
        "Tokens per run",
        "Sent and received, by all its model calls. A reply that exceeds it is stopped.",
    ),
    ("max_cost_usd",): ("Dollars per run", "US dollars, by the model's price. A reply that exceeds it is stopped."),
    ("timeout_s",): ("Seconds per run", "A run that takes longer fails."),
    ("memory",): (
        "Memory",
        "The earlier exchanges that the model sees: all, none, the newest (last:10), or so many tokens (tokens:4000).",
    ),
    ("continuation",): (
        "Going on by itself",
        "The most answers in one run, until one ends with DONE: 5, or {max_iterations: 5, until: FINISHED}.",
    ),
    ("max_prompt_tokens",): (
        "Tokens per model call",
        "A call that would send more, with all that is remembered, is refused.",
    ),
    **{(CONFIG, name): meaning for name, meaning in _OF_CONFIG.items()},
}
#: Field → the kind of its input; the others are of one line.
_INPUTS: Mapping[FieldPath, str] = {
    PROMPT: "lines",
    MODEL: "model",
    TOOLS: "tools",
    OUTPUT: "type",
    ("icon",): "icon",
    ("color",): "color",
}
#: Field of the agent → what holds if it is empty, where that is not the field's own default.
_SHOWN_DEFAULTS: Mapping[FieldPath, str] = {
    NAME: "",
    PROMPT: "the text that the field shows",
    OUTPUT: "text",
    ("icon",): "two letters of the name",
    ("color",): "one that follows from the name",
}
#: Field of the config → what holds if no layer sets it; nothing is sent otherwise.
_UNSET = {
    "output_retries": "2",
    "api_base": "the provider's own",
    "api_key": "the provider's variable",
    "context_tokens": "the model's",
    "requests_per_minute": "no limit",
    "tokens_per_minute": "no limit",
    "allow_empty": "false",
    "stream": "true",
    "transport": "by the provider",
    "output_mode": "by the model",
    "price": "that of the price list",
    "extra": "none",
}
SECTIONS: tuple[Section, ...] = (
    Section("", "", (NAME, PROMPT, MODEL)),
    Section("Tools", "Functions that the model may call, when it finds it useful.", (TOOLS,)),
    Section(
        "Answers",
        "Text, or data that fits a type; one for each prompt, or several until all is done.",
        (OUTPUT, *_of_config("output_mode", "output_retries"), ("continuation",)),
    ),
    Section(
        "Look",
        "For people, in lists and in the panel. The model does not see it.",
        (("icon",), ("color",), ("title",), ("role",), ("description",)),
    ),
    Section(
        "Memory and limits",
        "How much of the past the model sees, and what a run may take.",
        (
            *(("memory",), ("max_prompt_tokens",), ("max_turns",)),
            *(("max_total_tokens",), ("max_cost_usd",), ("timeout_s",)),
            *_of_config("max_tokens", "max_reasoning_tokens"),
        ),
    ),
    Section(
        "Sampling",
        "How the model chooses its words. An empty field is not sent.",
        _of_config("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed"),
    ),
)
_PLACED = {path for section in SECTIONS for path in section.fields}
#: The last section has every field that no other has.
_ADVANCED = Section(
    "Advanced",
    "The connection to the model, and what few agents need.",
    tuple(path for path in FIELDS if path not in _PLACED),
)


def id_of(path: FieldPath) -> str:
    """Return a field's name in messages: `max_turns`, `config.seed`."""
    return ".".join(path)


def label_of(path: FieldPath) -> str:
    """Return the label of a field."""
    name = path[-1].replace("_", " ").capitalize()
    return _MEANINGS.get(path, (name, ""))[0]


def described_sections() -> list[dict[str, Any]]:
    """Return the sections as the page draws them: titles, and fields with labels and meanings."""
    return [
        {
            "title": section.title,
            "about": section.about,
            "fields": [_described(path) for path in section.fields if path in FIELDS],
        }
        for section in (*SECTIONS, _ADVANCED)
    ]


def _described(path: FieldPath) -> dict[str, Any]:
    kind = FIELDS[path]
    field: dict[str, Any] = {"id": id_of(path), "label": label_of(path), "as": _INPUTS.get(path, "line")}
    if path == PROMPT:
        field["placeholder"] = Agent(name="NAME").instructions
    field["help"] = _MEANINGS.get(path, ("", f"{kind.allowed[:1].upper()}{kind.allowed[1:]}."))[1]
    if isinstance(kind, Flag | Choice):
        field["as"] = "choice"
        field["options"] = ["true", "false"]
        if isinstance(kind, Choice):
            field["options"] = list(kind.words)
    return field


def default_texts(values: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, str]:
    """Return what holds where a field is empty, by the field's name in messages.

    Args:
        values: the config that the other layers set.
        places: the source of each of its values.
    """
    found = {id_of(path): _own_default(path) for path in FIELDS if path[0] != CONFIG}
    for path in (MODEL, *PARAMS):
        name = path[-1]
        text = _UNSET.get(name, "the provider's")
        if values.get(name) is not None:
            text = value_text(name, values[name])
            if not places[name].startswith("default"):
                text += f" ({places[name]})"
        found[id_of(path)] = text
    return found


def _own_default(path: FieldPath) -> str:
    default = Agent.__dataclass_fields__[path[0]].default
    if path in _SHOWN_DEFAULTS:
        return _SHOWN_DEFAULTS[path]
    if default in ("", None, ()):
        return "none"
    return str(default)


def labels(paths: Iterable[FieldPath]) -> str:
    """Return the labels of fields, as the end of a sentence."""
    return ", ".join(map(label_of, paths))
