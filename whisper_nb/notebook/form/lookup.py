"""The fields that a model takes, looked up in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from ...core.errors import SessionError
from ...engine.home import Home

#: Returns the fields of AIConfig that a model takes, or None where that is not known.
Takes = Callable[[str], frozenset[str] | None]


class Lookup:
    """Looks up in a thread which fields a model takes: one model at a time, and only the newest answer is used."""

    def __init__(self, home: Home, takes: Takes, use: Callable[[frozenset[str] | None], None]) -> None:
        self._home = home
        self._takes = takes
        self._use = use
        self._wanted = ""
        self._busy = False

    def ask(self, model: str) -> None:
        """Look up a model, instead of any earlier one; an empty name stops the look-up."""
        if model != self._wanted:
            self._wanted = model
            self._begin()

    def _begin(self) -> None:
        if self._wanted and not self._busy:
            self._busy = True
            threading.Thread(target=self._answer, args=(self._wanted,), name="whisper_nb look", daemon=True).start()

    def _answer(self, model: str) -> None:
        try:
            taken = self._takes(model)
        except Exception:  # LiteLLM raises anything for an unknown model: every field is then offered
            taken = None
        with suppress(SessionError):  # the loop is closed
            self._home.call_main(self._use_answer, model, taken)

    def _use_answer(self, model: str, taken: frozenset[str] | None) -> None:
        self._busy = False
        if model == self._wanted:
            self._use(taken)
        else:
            self._begin()
