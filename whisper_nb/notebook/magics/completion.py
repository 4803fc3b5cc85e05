"""Tab completion after every name of the magic."""

from __future__ import annotations

import re
from collections.abc import Callable

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell

from ..workbench import Workbench
from .magics import Names

#: `%agent …`, `%%agent …`, `x = %agent …`, up to the cursor.
_LINE = re.compile(r"\s*(?:[\w, ]+=\s*)?(?P<percent>%%?)(?P<root>\w+)\s+(?P<words>.*)")


def register(shell: InteractiveShell, bench: Workbench, names: Names) -> Callable[[], None]:
    """Register completion, and return the function that unregisters it."""

    @context_matcher(identifier="whisper_nb")
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.fullmatch(context.text_until_cursor)
        if line is None or line["root"] not in names.roots:
            return {"completions": [], "suppress": False}
        from .candidates import complete

        typed, found = complete(bench, line["words"], is_cell=line["percent"] == "%%")
        completions = [SimpleCompletion(word, type=kind) for word, kind in found.items()]
        return {"completions": completions, "matched_fragment": typed, "suppress": bool(found), "ordered": True}

    shell.Completer.custom_matchers.append(matcher)
    return lambda: shell.Completer.custom_matchers.remove(matcher)
