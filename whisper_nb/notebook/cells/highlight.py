"""Code as pieces of one style each, by Pygments, in bounded time. What is unknown or too long is one piece."""

from __future__ import annotations

import functools
import importlib
import time
from typing import Any

#: The most characters of a highlighted block, and of all such blocks of a text; and the CPU seconds after which a
#: block is given up, between two tokens: one token of hostile code takes as much again.
BLOCK, HIGHLIGHTED, SLOW_S = 8_000, 24_000, 0.1

_PYTHON, _SHELL, _SCRIPT = "python.PythonLexer", "shell.BashLexer", "javascript.JavascriptLexer"
#: The language of a block → its lexer. Others are missing because no test shows that hostile code takes a bounded time.
_LEXERS = {
    **dict.fromkeys(("python", "py", "python3", "ipython"), _PYTHON),
    **dict.fromkeys(("bash", "sh", "shell", "zsh"), _SHELL),
    **dict.fromkeys(("javascript", "js", "jsx", "typescript", "ts"), _SCRIPT),
    "json": "data.JsonLexer",
    **dict.fromkeys(("yaml", "yml"), "data.YamlLexer"),
    "sql": "sql.SqlLexer",
    "toml": "configs.TOMLLexer",
    "diff": "diff.DiffLexer",
    "r": "r.SLexer",
    "rust": "rust.RustLexer",
    "go": "go.GoLexer",
}
#: One name of each language.
LANGUAGES = tuple({lexer: language for language, lexer in reversed(_LEXERS.items())}.values())
#: Pygments' kind of a token, or one above it → its style.
_STYLES = {
    "Token.Keyword": "keyword",
    "Token.Operator.Word": "keyword",
    "Token.Literal.String": "string",
    "Token.Literal.Number": "number",
    "Token.Comment": "comment",
    "Token.Name.Builtin": "builtin",
    "Token.Name.Function": "def",
    "Token.Name.Class": "def",
    "Token.Name.Decorator": "def",
    "Token.Name.Tag": "def",
    "Token.Generic.Inserted": "string",
    "Token.Generic.Deleted": "keyword",
}
#: A style → its color: JupyterLab's own for code, or else one that can be read on white and on black.
COLORS = {
    "keyword": "var(--jp-mirror-editor-keyword-color, #2a8f3c)",
    "string": "var(--jp-mirror-editor-string-color, #c0504d)",
    "number": "var(--jp-mirror-editor-number-color, #2e8b74)",
    "comment": "var(--jp-mirror-editor-comment-color, #6f8585)",
    "builtin": "var(--jp-mirror-editor-builtin-color, #2a8f3c)",
    "def": "var(--jp-mirror-editor-def-color, #4f7fd6)",
}

#: A style of COLORS, or empty; and the text that has it.
Piece = tuple[str, str]


class Highlighter:
    """Highlights the blocks of one text, as far as its budget goes."""

    def __init__(self) -> None:
        self._left = HIGHLIGHTED

    def pieces(self, code: str, language: str) -> list[Piece]:
        """Return a block in pieces; in one, if its language is unknown, or it is too long or takes too long."""
        words = language.split()
        name = _LEXERS.get(words[0].lower()) if words else None
        plain = [("", code)]
        if name is None or len(code) > min(BLOCK, self._left):
            return plain
        self._left -= len(code)
        lexer = _lexer(name)  # imported before the time counts
        found: list[Piece] = []
        end = time.thread_time() + SLOW_S
        for _, kind, text in lexer.get_tokens_unprocessed(code):
            style = _style(kind)
            if found and found[-1][0] == style:
                found[-1] = (style, found[-1][1] + text)
            else:
                found.append((style, text))
            if time.thread_time() > end:
                self._left = 0
                return plain
        return found


@functools.cache
def _lexer(name: str) -> Any:
    module, _, kind = name.partition(".")
    return getattr(importlib.import_module(f"pygments.lexers.{module}"), kind)()


@functools.cache
def _style(kind: Any) -> str:
    while kind is not None:
        if (style := _STYLES.get(str(kind))) is not None:
            return style
        kind = kind.parent
    return ""
