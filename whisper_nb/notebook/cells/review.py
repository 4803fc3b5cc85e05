"""The listing of `%agent trust`: all that a project's files would change, and where prompts and keys would go.

Everything in it is from files that may be hostile. Nothing is shortened, so that nothing can hide behind an ellipsis:
long texts are folded. Characters that cannot be seen are escapes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import islice
from typing import Any

from msgspec import Struct

from ...config.agentfiles import Entry
from ...config.destinations import destination, shown_address
from ...config.keys import Keys, is_literal, variable_of, variables
from ...config.layers import MODEL_VARIABLE
from ...config.project import Review, package
from ...config.promptfiles import FOLDER as PROMPTS
from ...config.providers import PROVIDERS, rules_path
from ...config.yamlfile import dump_yaml
from ...core.errors import ConfigError
from ...core.text import shortened, visible, visible_lines
from ...models.offline import ScriptedModel
from ...team.runtimes import Runtime
from .explain import value_text
from .markdown import NO_MATH

_INDENT = "  "
#: A text of one line that is not longer is shown in line; others are folded.
_IN_LINE = 120
#: A change of more lines is folded.
_CHANGED = 40
#: The number of destinations from which on they are summed up at the end; and how many agents are named then.
_GOES, _NAMED = 4, 10
#: Field → what it can do to the costs.
_REMARKS: Mapping[str, str] = {
    "budget_usd": "the most that all agents of a notebook may spend, in US dollars",
    "allow_unpriced": "if true, models of unknown price may be called under a budget, and count as $0",
    "price": "what a budget counts, in the place of the price list",
    "max_cost_usd": "for one run, in US dollars",
    "continuation": "the agent goes on by itself, with as many answers to one prompt",
    "output_retries": "further calls for one answer",
}
#: The product of the numbers of lines up to which two texts are compared: more would take long if many are alike.
_COMPARED = 10**6
#: The width at which lines of a folded text are broken in plain text.
_WIDTH = 100
_BREAK_ALL = 'style="white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid; padding-left: 1em"'


class Folded(Struct, frozen=True):
    """A long text of the listing, under a line that can be opened."""

    summary: str
    lines: Sequence[str]
    """The whole text. Each line is printable."""

    def bundle(self) -> dict[str, str]:
        """Return it as text/html, which is closed at first, and as text/plain, in which it is whole.

        In plain text each line begins with a bar: the text cannot imitate a line of the listing.
        """
        pieces = (line[at : at + _WIDTH] for line in self.lines for at in range(0, len(line) or 1, _WIDTH))
        plain = "\n".join([self.summary, *(f"{_INDENT * 3}| {piece}" for piece in pieces)])
        text = html.escape("\n".join(self.lines))
        markup = f"<details><summary>{html.escape(self.summary)}</summary><pre {_BREAK_ALL}>{text}</pre></details>"
        return {"text/plain": plain, "text/html": f"<div {NO_MATH}>{markup}</div>"}


#: A line, or a text below a line.
Part = str | Folded


def trust_lines(review: Review, runtime: Runtime, root: str) -> Iterator[Part]:
    """Yield the listing, but its last line, with the code.

    Args:
        review: the project's files.
        runtime: the agents' runtime, for the layers of config that are not files.
        root: the magic's name.
    """
    listing = _Listing(review, runtime)
    for part in (*_heading(review, root), *listing.parts()):
        if isinstance(part, Folded):
            yield part
        elif len(line := visible(part)) > 4 * _IN_LINE:
            yield Folded(shortened(line, _IN_LINE), [line.strip()])
        else:
            yield line


def last_line(review: Review, root: str) -> str:
    """Return the end of the listing, but for the code itself: how to trust the files, or what must be corrected."""
    if wrong := _to_correct(review):
        return f"Correct {wrong}. Then run %{root} trust again"
    if review.held_back:
        return f"To use just this: %{root} trust {review.code}"
    return ""


def _heading(review: Review, root: str) -> Iterator[str]:
    if not review.found and not review.used:
        yield f"{review.root} has no config/main.yaml and no agents/: nothing to trust"
    elif review.is_always_trusted:
        yield f"{review.root} needs no trust: it is whisper_nb's own folder, or a script named it"
    elif not review.held_back:
        yield f"{review.root} is trusted as it is (%{root} trust --revoke ends that)"
    elif review.used:
        yield f"{review.root} is not trusted as it is now. Its files contain:"
    else:
        yield f"{review.root} is not trusted. Its files contain:"
    if review.trust_problem:
        yield f"{_INDENT}! {review.trust_problem}"


def _to_correct(review: Review) -> str:
    """Return what must be corrected before anything of the project can be used; empty if something can be used now."""
    main, before = review.found.main, review.used.main
    team = review.found.team.values()
    if main and main.problems and not (before and before.layer):
        return "config/main.yaml: no agent could run with it"
    if main is None and team and all(entry.problems for entry in team) and not review.used:
        return "the lines marked !: there is nothing else to use"
    return ""


class _Listing:
    """The parts of one listing.

    Args:
        review: the project's files.
        runtime: the agents' runtime.
    """

    def __init__(self, review: Review, runtime: Runtime) -> None:
        self._review = review
        self._found, self._used = review.found, review.used
        self._runtime = runtime
        self._keys: Keys = runtime.keys
        self._problems: list[str] = []
        self._wrong_rules: dict[str, str] = {}  # path → its problem, or nothing
        self._goes: dict[str, list[str]] = {}  # destination → the agents whose prompts go there
        try:
            self._keys = runtime.keys.with_file(*review.after.env())
        except ConfigError as error:
            self._problems.append(f"{error} (no key of it is used)")

    def parts(self) -> Iterator[Part]:
        """Yield all but the heading."""
        if not self._found and not self._used:
            return
        yield from self._main()
        yield from self._env_file()
        for name in dict.fromkeys([*self._found.team, *self._used.team]):
            yield from self._agent(name)
        yield from self._other_files()
        yield from (f"{_INDENT}{name}: belongs to another program, ignored" for name in self._found.foreign)
        problems = [str(problem) for problem in (*self._found.problems, *self._found.warnings)]
        yield from (f"{_INDENT}! {problem}" for problem in (*self._problems, *problems))
        if sum(map(len, self._goes.values())) > _GOES:
            yield f"{_INDENT}In all:"
            for goes, names in self._goes.items():
                more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
                yield f"{_INDENT * 2}{goes}: {', '.join(names[:_NAMED])}{more}"

    def _main(self) -> Iterator[Part]:
        before, after = self._used.main, self._found.main
        head = f"{_INDENT}config/main.yaml, for all agents"
        if after is None:
            if before:
                yield f"{head}: gone"
                yield from _edits(before.document(), {})
            return
        if after.problems:
            yield f"{head}{_wrong(before and before.layer)}"
        elif before and before.document() != after.document():
            yield f"{head}: changed"
            yield from _edits(before.document(), after.document())
        else:
            yield head
            yield from self._document(after.document(), compared=True)
        if after.layer:
            yield from self._destination(None)

    def _env_file(self) -> Iterator[Part]:
        if not self._found.env_file:
            return
        before = after = None
        try:
            after = variables(*self._found.env())
            before = variables(*self._used.env())
        except ConfigError as error:
            if after is None:
                yield f"{_INDENT}env_file: {error}"
                return
        known = {name for provider in PROVIDERS.values() for name in provider.variables} | {MODEL_VARIABLE}
        named = known | {variable_of(reference) for reference in self._key_references()}
        names = ", ".join(name for name in after if name in named) or "no variables"
        yield f"{_INDENT}env_file {self._found.env_file}, only for keys and {MODEL_VARIABLE}: {names}"
        if unused := [name for name in after if name not in named]:
            yield f"{_INDENT * 2}not used, since no provider and no agent here has them: {', '.join(unused)}"
        changed = [name for name in {**(before or {}), **after} if _revealed(before, name) != _revealed(after, name)]
        if before and changed:
            yield f"{_INDENT * 2}changed: {', '.join(changed)}"
        if self._found.env_model:
            yield f"{_INDENT * 2}{MODEL_VARIABLE} selects {self._found.env_model}"
        if self._found.main is None or self._found.main.layer is None:
            return
        if hidden := [name for name in after if name in known and self._keys.environment(name)]:
            yield f"{_INDENT * 2}not used, since the environment has them: {', '.join(hidden)}"

    def _key_references(self) -> Iterator[str | None]:
        """Yield the reference to a key of each config in the project's files."""
        if self._found.main and self._found.main.layer:
            yield self._found.main.layer.config.api_key
        for entry in self._found.team.values():
            if entry.agent:
                yield entry.agent.config.api_key

    def _agent(self, name: str) -> Iterator[Part]:
        before, entry = self._used.team.get(name), self._found.team.get(name)
        head = f"{_INDENT}agent {name}"
        if entry is None:
            yield f"{head}: gone"
            return
        if entry.problems:
            yield f"{head} ({entry.location}){_wrong(before and before.agent)}"
            return
        if before and before != entry:
            yield f"{head} ({entry.location}), changed"
            yield from _edits(before.document(), entry.document())
        else:
            document = entry.document()
            about = f": {document['description']}" if document.get("description") else ""
            yield f"{head} ({entry.location}), {self._kind(name, before)}{about}"
            if not before:
                yield from self._document(_flat(document))
        yield from self._destination(entry)

    def _kind(self, name: str, before: Entry | None) -> str:
        if before:
            return "unchanged"
        if name in package().team:
            return "replaces whisper_nb's"
        return "new"

    def _document(self, document: Mapping[str, Any], *, compared: bool = False) -> Iterator[Part]:
        """Yield each value of a file that is new.

        Args:
            document: the values.
            compared: whether to say what holds now instead.
        """
        now = self._config_now() if compared else None
        for name, value in document.items():
            if name == "system_prompt":
                yield from _text(f"{_INDENT * 2}prompt", value)
            elif name == "tools":
                yield f"{_INDENT * 2}tools of this notebook: {', '.join(value)}"
            else:
                held = getattr(now, name, None)
                if compared and name == "budget_usd" and self._runtime.budget:
                    held = self._runtime.budget.limit_usd
                changes = f" (now {value_text(name, held)})" if held not in (None, value) else ""
                remark = f"; {_REMARKS[name]}" if name in _REMARKS else ""
                yield f"{_INDENT * 2}{name}: {_value(name, value)}{changes}{remark}"

    def _config_now(self) -> Any:
        try:
            return self._runtime.resolve()
        except ConfigError:  # the files in use are wrong
            return None

    def _destination(self, entry: Entry | None) -> Iterator[Part]:
        """Yield where the prompts of an agent go, or those of agents without a config of their own; and its rules."""
        try:
            config = self._runtime.configs.foresee(
                self._review.after, self._keys, entry.agent if entry else None
            ).config
        except ConfigError as error:
            yield f"{_INDENT * 2}→ nowhere: {str(error).splitlines()[0]}"
            return
        goes = str(destination(config, self._keys))
        self._goes.setdefault(goes.partition(": ")[2], []).append(entry.name if entry else "all others")
        yield f"{_INDENT * 2}→ {goes}"
        if path := rules_path(config.model):
            rules = self._review.after.rules(path)
            yield from self._content("rules", path, rules, self._used.rules(path))
            yield from self._rules_problem(path, rules)

    def _rules_problem(self, path: str, rules: bytes | None) -> Iterator[Part]:
        """Yield why no run could use these rules, if that is so."""
        if rules is None:
            return
        if path not in self._wrong_rules:
            self._wrong_rules[path] = ""
            try:
                ScriptedModel.load(path, rules)
            except ConfigError as error:
                self._wrong_rules[path] = str(error)
        if problem := self._wrong_rules[path]:
            yield f"{_INDENT * 2}! {problem}"

    def _other_files(self) -> Iterator[Part]:
        """Yield the prompt files that no agent has: a form offers every one."""
        prompts = [entry.agent.system_prompt for entry in self._found.team.values() if entry.agent]
        for path, content in self._found.files.data.items():
            text = content.decode("utf-8", "backslashreplace").strip()
            if path.startswith(f"{PROMPTS}/") and not any(text in prompt for prompt in prompts):
                yield from self._content("prompt file", path, content, self._used.files.data.get(path), _INDENT)

    def _content(
        self, kind: str, path: str, after: bytes | None, before: bytes | None, indent: str = _INDENT * 2
    ) -> Iterator[Part]:
        if after is None:
            yield f"{indent}{kind} {path}: not of the project"
        elif before is None:
            yield from _text(f"{indent}{kind} {path}", after.decode("utf-8", "backslashreplace"))
        elif before != after:
            yield f"{indent}{kind} {path}: changed"
            old, new = (content.decode("utf-8", "backslashreplace") for content in (before, after))
            yield from _changes(old.split("\n"), new.split("\n"))


def _revealed(values: Mapping[str, Any] | None, name: str) -> str | None:
    if values is None or name not in values:
        return None
    revealed: str = values[name].reveal()
    return revealed


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an agent's file, without its description; those of nested mappings beside the others."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("ai_config", "limits"):
            flat |= value
        elif name not in ("name", "description"):
            flat[name] = value
    return flat


def _value(name: str, value: Any) -> str:
    if name == "api_base":
        return shown_address(str(value))
    if name == "api_key" and is_literal(value):
        return "a literal key in the file"
    return value_text(name, value)


def _wrong(is_kept: object) -> str:
    if is_kept:
        return ": wrong; its trusted version stays in use"
    return ": wrong"


def _text(label: str, text: str) -> Iterator[Part]:
    """Yield a text: after its label if it is short, else folded."""
    lines = visible_lines(text.removesuffix("\n"))
    line = f"{label}, {len(text):,} characters: {lines[0][:_IN_LINE]}"
    if len(lines) == 1 and len(lines[0]) <= _IN_LINE:
        yield line
        return
    is_escaped = "\n".join(lines) != text.removesuffix("\n").replace("\r\n", "\n")
    note = " (with characters that cannot be seen, as escapes)" if is_escaped else ""
    yield Folded(f"{line}…{note}", lines)


def _edits(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Part]:
    """Yield the removed and the added lines of a document."""
    return _changes(dump_yaml(before).splitlines(), dump_yaml(after).splitlines())


def _alike(before: Sequence[str], after: Sequence[str]) -> int:
    """Return the number of lines that two texts have in common at their beginning."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(len(before), len(after)))


def _changes(before: Sequence[str], after: Sequence[str]) -> Iterator[Part]:
    start = _alike(before, after)
    before, after = before[start:], after[start:]
    end = _alike(before[::-1], after[::-1])
    before, after = before[: len(before) - end], after[: len(after) - end]
    if len(before) * len(after) > _COMPARED:
        found = [*(f"-{line}" for line in before), *(f"+{line}" for line in after)]
    else:
        diff = islice(unified_diff(before, after, lineterm="", n=0), 2, None)
        found = [line for line in diff if not line.startswith("@@")]
    lines = [visible(f"{line[0]} {line[1:]}") for line in found]
    if len(lines) > _CHANGED:
        yield Folded(f"{_INDENT * 2}{len(lines):,} lines", lines)
    else:
        yield from (f"{_INDENT * 2}{line}" for line in lines)
