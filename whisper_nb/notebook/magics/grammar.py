"""The syntax of the magics: a command, its parser, the flags of a run."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct

from ...config.agents import AGENT_FIELDS, Agent, run_limits
from ...config.aiconfig import CONFIG_FIELDS, AIConfig
from ...config.kinds import PriceOfTokens, problem_with
from ...config.plainfiles import read_plain
from ...config.yamlfile import MAX_FILE_BYTES, parse_yaml
from ...core.errors import ConfigError
from ...core.queues import PRIORITIES
from ...core.text import clip, mask_keys
from ...tools.functions import function_in
from ...tools.type_names import type_of_cells
from ..orders import Order
from ..workbench import Workbench

Arguments = argparse.Namespace
Argument = tuple[tuple[str, ...], dict[str, Any]]
Function = Callable[[Workbench, Arguments], object]

_LONGEST_FIELD = 24
#: Field of an agent → the flag of `new` that sets it.
_AGENT_FLAGS = {
    "continuation": "--continue",
    "description": "--description",
    "max_cost_usd": "--max-cost",
    "max_prompt_tokens": "--max-prompt-tokens",
    "max_total_tokens": "--max-total-tokens",
    "max_turns": "--max-turns",
    "memory": "--memory",
    "output_type": "--schema",
    "prompt": "--prompt",
    "system_prompt": "--prompt",
    "tools": "--tools",
}
_IN_PYTHON = "give it to whisper_nb.Agent(…), or write it into the agent's file"
_FLAG = re.compile(r"--?[a-zA-Z][\w-]*")


class Parser(argparse.ArgumentParser):
    """argparse that raises ConfigError instead of exiting the process."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        root, _, name = self.prog.replace("%%", "%").partition(" ")
        topic = root.removeprefix("%") if name == "NAME" else name  # the help of `%%agent NAME` has the magic's name
        raise ConfigError(f"{self.prog}: {message} ({root} help {topic} explains it)")


class Command(Struct, frozen=True):
    """A command of `%agent`."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    function: Function
    examples: tuple[str, ...] = ()
    """Lines or cells that use it, with the magic as `%agent`."""

    def parser(self, root: str) -> Parser:
        """Return its parser. `root` is the magic's name."""
        magic = f"%%{root}" if self is CELL else f"%{root}"
        parser = Parser(prog=f"{magic} {self.name}", add_help=False, allow_abbrev=False)
        for flags, options in self.arguments:
            parser.add_argument(*flags, **options)
        return parser

    def parse(self, root: str, words: Sequence[str]) -> Arguments:
        """Parse words into arguments.

        Raises:
            ConfigError: a word is unknown; the message suggests the nearest flag.
        """
        parser = self.parser(root)
        arguments, unknown = parser.parse_known_args(list(words))
        for word in unknown:
            if _FLAG.match(word):
                parser.error(f"unknown flag {word.partition('=')[0]}; {self._suggestion(word)}")
            hint = "put text with spaces in double quotes"
            if not any(flags[0][0] != "-" for flags, _ in self.arguments):
                hint = "no word may follow"
            elif self is CELL:
                hint = "write the prompt in the lines below, and text with spaces in double quotes"
            parser.error(f"unexpected word {word!r}; {hint}")
        return arguments

    @property
    def flags(self) -> list[str]:
        """Its flags, long and short."""
        return [flag for flags, _ in self.arguments for flag in flags if flag.startswith("-")]

    @property
    def valued(self) -> set[str]:
        """Its flags that take a value."""
        return {
            flag
            for flags, options in self.arguments
            for flag in flags
            if flag[0] == "-" and options.get("action", "append") == "append"
        }

    def _suggestion(self, flag: str) -> str:
        flag = flag.partition("=")[0]
        if (field := flag.strip("-").replace("-", "_")) in CONFIG_FIELDS and "--set" in self.flags:
            return f"--set {field}=… sets this field"
        nearest = difflib.get_close_matches(flag, self.flags, 1)
        if nearest:
            return f"did you mean {nearest[0]}?"
        return f"known are {' '.join(self.flags) or 'none'}"

    def split(self, line: str) -> tuple[str, str]:
        """Split `[flags] NAME [flags] PROMPT` into the part before the prompt, and the prompt unchanged.

        Raises:
            ConfigError: an unknown flag comes before the prompt.
        """
        head: list[str] = []
        rest, named = line.strip(), False
        while rest:
            word, after = first_word(rest)
            flag = word.partition("=")[0]
            if flag == "--" and named:
                return " ".join(head), after
            if flag not in self.flags and named:
                if _FLAG.fullmatch(flag) and flag.startswith("--"):
                    raise ConfigError(
                        f"unknown flag {flag}; {self._suggestion(word)}; a prompt that starts like this goes after a --"
                    )
                break
            named = named or flag not in self.flags
            head.append(word)
            if flag in self.valued and "=" not in word:
                word, after = first_word(after)
                head.append(word)
            rest = after
        return " ".join(head), rest


def first_word(line: str) -> tuple[str, str]:
    """Split off the first word of a line. A `{{ … }}`, a `{ … }` and quoted text are parts of one word."""
    found = re.match(r"""\s*((?:\{\{.{,2000}?\}\}|\{[^{}]{,2000}\}|\[[^\[\]]{,2000}\]|"[^"]*"|'[^']*'|\S)+)\s*""", line)
    if found is None:
        return "", ""
    return found[1], line[found.end() :]


def arg(*flags: str, **options: Any) -> Argument:
    """Return an argument, with the parameters of argparse's `add_argument`."""
    return flags, options


def command(summary: str, *arguments: Argument, examples: Sequence[str] = ()) -> Callable[[Function], Command]:
    """Make a command of a function, named like it."""
    return lambda function: Command(function.__name__.rstrip("_"), summary, arguments, function, tuple(examples))


def setting(word: str) -> tuple[str, Any]:
    """Return the field and the value of a `FIELD=VALUE`, the value read as YAML.

    A literal API key becomes a reference here, so that no other code sees it.

    Raises:
        ConfigError: it is not `FIELD=VALUE`, or not a valid key.
    """
    name, equals, value = word.partition("=")
    if not equals:
        shown = "a word"  # it may be a key
        if word.isidentifier() and len(word) < _LONGEST_FIELD:
            shown = repr(word)
        raise ConfigError(f"{shown} is not FIELD=VALUE, such as temperature=0.2")
    field = name.strip()
    try:
        read = parse_yaml(value.encode("utf-8", "replace"), name).data
    except ConfigError as error:
        if value.startswith(("{", "[")) and not value.endswith(("}", "]")):  # the line was split at a space
            raise ConfigError(f"{error}. A value with spaces needs quotes: {field}='…'") from None
        raise
    if field != "api_key" or read is None:
        if isinstance(read, dict) and read and all(one is None for one in read.values()):  # `{len(x)}`
            _check_braces(field, value, read)
        return field, read
    if problem := problem_with(CONFIG_FIELDS[field], field, read):
        raise ConfigError(problem)
    return field, CONFIG_FIELDS[field].read(read)


def _check_braces(field: str, value: str, read: object) -> None:
    if field in CONFIG_FIELDS and problem_with(CONFIG_FIELDS[field], field, read):
        source = clip(mask_keys(value.strip(" {}")), 60)
        if isinstance(CONFIG_FIELDS[field], PriceOfTokens):  # `{input:1,output:2}`, which needs a space after a colon
            allowed = CONFIG_FIELDS[field].allowed
            raise ConfigError(f"{field} is {allowed}. In a magic: {field}='{{input: 0.15, output: 0.6}}'")
        raise ConfigError(
            f"{field} is {CONFIG_FIELDS[field].allowed}, and single braces are a mapping in YAML: "
            f"{field}={{{{ {source} }}}} gives the value of an expression"
        )


def usd(word: str) -> float:
    """Return an amount of US dollars, such as `$0.50` or `0.5`.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        return float(word.removeprefix("$"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no amount: give US dollars, such as $2 or 0.50") from None


SCHEMA = arg(
    "--schema",
    metavar="T",
    help="the type of the answer: a class of this notebook, int, list[str], Literal['yes', 'no']; str for text",
)
NAME = arg("name", metavar="NAME", help="an agent")
NAMES = arg("names", metavar="NAME", nargs="*", help="agents")
#: The arguments of a command for several agents: `Workbench.sessions` finds them.
TEAM = (NAMES, arg("--all", action="store_true", help="all agents"))
SET = arg(
    "--set",
    metavar="FIELD=VALUE",
    type=setting,
    action="append",
    default=[],
    help="a field of AIConfig; can be repeated",
)
#: The limits of a run, of one or of each of an agent.
LIMITS: tuple[Argument, ...] = (
    arg("--max-turns", metavar="N", type=int, help="the limit of model calls in one run"),
    arg("--max-total-tokens", metavar="N", type=int, help="the limit of tokens in one run, sent and received"),
    arg("--max-cost", metavar="USD", type=usd, help="the limit of the cost of one run, in US dollars, such as $0.50"),
    arg("--timeout", metavar="S", type=float, help="seconds for one run, counted from its start"),
)
#: The arguments of a run, for `%%agent` and `%agent ask`.
ORDER: tuple[Argument, ...] = (
    NAME,
    arg("-o", "--out", metavar="VAR", help="bind the run to a variable, at once"),
    arg("-b", "--block", action="store_true", help="wait for the answer in this cell"),
    arg("-a", "--noblock", "--bg", action="store_false", dest="block", help="do not wait (the default)"),
    arg("--priority", choices=PRIORITIES, default="normal", help="the run's priority in the agent's queue"),
    arg("--model", metavar="M", help="the model for this run, as provider/model"),
    SET,
    *LIMITS,
    arg(
        "--image",
        metavar="IMAGE",
        action="append",
        default=[],
        help="a figure, an axes or a PIL image of this notebook, or the path of a file; can be repeated",
    ),
    SCHEMA,
    arg("--raw", action="store_true", help="show the answer as the text that the model wrote"),
    arg("--fresh", action="store_true", help="without the agent's history, and not remembered in it"),
    arg("--no-interpolate", action="store_true", help="do not evaluate {{ … }}"),
    arg("--dry-run", action="store_true", help="show what would be sent, and its price; send nothing"),
)
#: `%%agent NAME …`, parsed like a command.
CELL = Command(
    "NAME",
    "Give an agent the prompt in the cell. The cell returns at once, and the answer streams into it.",
    ORDER,
    lambda bench, arguments: None,
    (
        "%%agent bob -o ans\nWhich columns of this table look like dates?\n{{ df.head().to_csv() }}",
        "%%agent bob --block --model openrouter/openai/gpt-4o-mini\nSum this up: {{ ans }}",
        "%%agent bob -o v --schema Literal['yes','no']\nIs this a date? 2026-11-30",
    ),
)


def settings(pairs: Sequence[tuple[str, Any]], **flags: Any) -> dict[str, Any]:
    """Return the config that `FIELD=VALUE` words and flags set. A flag of None was not given.

    Raises:
        ConfigError: a field is one of the agent, which no config has.
    """
    for field, _ in pairs:
        if field in _AGENT_FLAGS or field in AGENT_FIELDS.keys() - CONFIG_FIELDS:
            flag = _AGENT_FLAGS.get(field)
            remedy = f"give {flag} to the agent's `%agent new`, beside its other flags" if flag else _IN_PYTHON
            raise ConfigError(f"{field} is a field of the agent, not of its config: {remedy}")
    return dict(pairs) | {name: value for name, value in flags.items() if value is not None}


def order(arguments: Arguments, prompt: str) -> Order:
    """Make an order of parsed arguments and a prompt."""
    return Order(
        name=arguments.name,
        prompt=prompt,
        out=arguments.out,
        block=arguments.block,
        priority=arguments.priority,
        config=settings(arguments.set, model=arguments.model),
        limits=run_limits(**limits_of(arguments)),
        interpolate=not arguments.no_interpolate,
        dry_run=arguments.dry_run,
        fresh=arguments.fresh,
        schema=arguments.schema,
        raw=arguments.raw,
        images=tuple(arguments.image),
    )


def limits_of(arguments: Arguments) -> dict[str, Any]:
    """Return the limits of a run that flags set, by their names in Python. A flag of None was not given."""
    return {
        "max_turns": arguments.max_turns,
        "max_total_tokens": arguments.max_total_tokens,
        "max_cost_usd": arguments.max_cost,
        "timeout_s": arguments.timeout,
    }


def described(bench: Workbench, args: Arguments) -> Agent | str:
    """Return the agent that the arguments of `new` describe; its name if no argument changes the spec in its file."""
    prompt = _system_prompt(args)
    config = settings(args.set, model=args.model, temperature=args.temperature, max_tokens=args.max_tokens)
    given: dict[str, Any] = {
        "description": args.description,
        **limits_of(args),
        "max_prompt_tokens": args.max_prompt_tokens,
        "memory": args.memory,
        "continuation": args.continuation,
        "system_prompt": prompt,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if args.schema is not None:
        given["output_type"] = type_of_cells(bench.shell.user_ns, args.schema)
    if args.tools is not None:
        names = [name.strip() for name in args.tools.split(",") if name.strip()]
        given["tools"] = tuple(function_in(bench.shell.user_ns, name) for name in names)
    if prompt is not None or args.name not in bench.runtime.team:
        return Agent(name=args.name, config=AIConfig.of(config), **given)
    if not (given or config):
        return str(args.name)
    agent = bench.runtime.described(args.name)
    return replace(agent, config=AIConfig.of(agent.config, **config), **given)


def _system_prompt(args: Arguments) -> str | None:
    prompt: str | None = args.prompt
    if args.prompt_file is None:
        return prompt
    if prompt is not None:
        raise ConfigError("--prompt and --prompt-file exclude each other")
    try:
        data = read_plain(Path(args.prompt_file).expanduser(), MAX_FILE_BYTES)
        text = data.decode("utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # no such file, not UTF-8, no such home folder
        raise ConfigError(f"cannot read the prompt file {args.prompt_file!r}: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"the prompt file {args.prompt_file!r} has more than {MAX_FILE_BYTES:,} bytes, the limit")
    return text
