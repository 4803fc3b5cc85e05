"""Let `%agent ask bob how many rows?` through: IPython would take it as a call for help on `rows`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from tokenize import DEDENT, INDENT, TokenInfo
from typing import Self

from IPython.core.inputtransformer2 import TokenTransformBase
from IPython.core.interactiveshell import InteractiveShell

_QUESTION = re.compile(r"(?P<before>.*?)%(?P<root>agent|whisper)\s+(?P<line>ask\s.*\?)\s*$", re.DOTALL)
_ASKS = (["%", "agent", "ask"], ["%", "whisper", "ask"])


class AskQuestion(TokenTransformBase):  # type: ignore[misc]
    """Transforms a line such as `%agent ask …?` or `ans = %agent ask …?`, but not one inside a string."""

    priority = 4  # before IPython's HelpEnd, which has 5

    @classmethod
    def find(cls, tokens_by_line: Sequence[Sequence[TokenInfo]]) -> Self | None:
        """Return a transformation of the first such line of a cell."""
        for line in tokens_by_line:
            tokens = [token for token in line if token.type not in (INDENT, DEDENT)]
            words = [token.string for token in tokens]
            percent = 0
            if "=" in words and words[0] != "%":
                percent = words.index("=") + 1
            if words[percent : percent + 3] in _ASKS and words[-2] == "?":
                return cls(tokens[0].start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Return the lines, with this one as the call that IPython makes of a magic."""
        found = _QUESTION.match(lines[self.start_line])
        if found is None:
            raise SyntaxError(lines[self.start_line])
        call = f"{found['before']}get_ipython().run_line_magic({found['root']!r}, {found['line']!r})\n"
        return [*lines[: self.start_line], call, *lines[self.start_line + 1 :]]


def register(shell: InteractiveShell) -> None:
    """Let questions through."""
    shell.input_transformer_manager.token_transformers.append(AskQuestion)


def unregister(shell: InteractiveShell) -> None:
    """Leave them to IPython again."""
    shell.input_transformer_manager.token_transformers.remove(AskQuestion)
