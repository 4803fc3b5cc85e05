"""Answers: whether the text of a run's last turn fits the run's output type, and what the model is told if not."""

from __future__ import annotations

from ..config.aiconfig import AIConfig
from ..core.errors import OutputInvalid, RunFailed
from ..core.text import error_text
from ..core.threads import in_thread
from ..tools.outputs import OutputType
from .runs import Run

#: The most further turns for an answer that does not fit, where the config does not say.
RETRIES = 2
#: Answers of more characters are checked in a thread: that takes milliseconds.
LONG = 250_000


class Answers:
    """The answers of one run, in the order in which the model gives them.

    Args:
        run: claimed, and not done.
        output: the type that they must fit.
        config: that the run started with.
    """

    __slots__ = ("_left", "_most", "_output", "_run")

    def __init__(self, run: Run, output: OutputType, config: AIConfig) -> None:
        self._run = run
        self._output = output
        self._left = self._most = RETRIES if config.output_retries is None else config.output_retries

    async def check(self, text: str) -> str:
        """Check an answer, and keep its instance on the run if it fits.

        Returns:
            The message that asks the model for another answer; empty if this one fits.

        Raises:
            OutputInvalid: it does not fit, and no turn is left to correct it.
            RunFailed: a validator of the type raised another error than ValueError and AssertionError: its cause.
        """
        output = self._output
        try:
            if len(text) > LONG:
                checked = await in_thread(output.check, text, work="answer")
            else:
                checked = output.check(text)
        except Exception as error:  # of a validator, where pydantic takes no other than ValueError and AssertionError
            raise RunFailed(
                f"a validator of {output.label} raised {type(error).__name__}: {error_text(error)}. The answer is in "
                "run.text; raise ValueError for an answer that does not fit"
            ) from error
        if not checked.problems:
            self._run._answer = checked.value
            return ""
        problems = "; ".join(checked.problems)
        if not self._left:
            raise OutputInvalid(
                f"its answer does not fit {output.label}{self._attempts()}: {problems}. The answer is in run.text; "
                "ask in other words, raise output_retries, or choose another output_mode or model",
                text=text,
                problems=checked.problems,
            )
        self._left -= 1
        return (
            f"Your answer does not fit {output.name}: {problems}. Give the whole answer again, corrected, as JSON that "
            "fits the schema, without other text."
        )

    def _attempts(self) -> str:
        if not self._most:
            return ""
        return f", also after {self._most} more turn{'s' if self._most > 1 else ''}"
