"""Every error that whisper_nb raises on purpose, in one tree.

    WhisperError
    ├── ConfigError          invalid input, found before anything happened
    ├── SessionError         the session cannot do this now: full queue, illegal transition, a wait without end
    │   └── SessionClosed    the session was stopped
    ├── ModelError           a model call failed, or its reply is incomplete
    │   ├── LengthExceeded   the reply, or the prompt, is longer than the model allows
    │   ├── ContentFiltered  the provider's content filter stopped the reply
    │   └── EmptyReply       the reply is complete, and there is nothing in it
    ├── RunFailed            the run that was awaited failed
    │   ├── LimitExceeded        a limit ended it: of turns, tokens, cost or time; or the budget
    │   │   ├── TurnLimitExceeded    it wanted more turns than it may take
    │   │   ├── PromptLimitExceeded  a call would have sent more tokens than its agent allows
    │   │   └── BudgetExceeded       the budget has too little left for a call
    │   └── OutputInvalid        its answer does not fit the output type
    └── RunCancelled         the run that was awaited was cancelled

A message names what failed, the value, what is allowed and the next step. Constructors have no side effects.
The error of a tool is not in this tree: it goes to the model as the result of the call.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import Literal, ParamSpec, TypeVar

from msgspec import Struct

from .messages import Finish, replace
from .text import error_text, mask_keys, suggestion

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)
#: The keys that lead to a value, from the outermost.
KeyPath = tuple[str | int, ...]

#: The modules whose frames a run's task has.
_OWN_MODULES = ("whisper_nb.", "asyncio.timeouts", "asyncio.taskgroups")


class WhisperError(Exception):
    """The root of the tree: catch it to catch every error that whisper_nb raises on purpose."""


class Problem(Struct, frozen=True):
    """One thing that is wrong with an input. It is data, so that a form can show it beside its field."""

    path: KeyPath
    """The keys that lead to the wrong value."""
    text: str
    """The wrong value and what is allowed."""
    location: str = ""
    """The file and line, such as `agents/bob.yaml:7`; empty for input that is not from a file."""

    def __str__(self) -> str:
        if self.location:
            return f"{self.location}: {self.text}"
        return self.text


class ConfigError(WhisperError):
    """Invalid input: a config value, a field of an agent, a flag of a magic, an unknown name. Nothing has happened yet.

    Attributes:
        problems: everything that is wrong with the input; the message has a line for each.
    """

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(mask_keys(message))
        found = tuple(problems) or (Problem((), message),)
        self.problems = tuple(replace(problem, text=mask_keys(problem.text)) for problem in found)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> ConfigError:
        """Return one error for all the problems."""
        problems = tuple(problems)
        return cls("\n".join(map(str, problems)), problems)


class SessionError(WhisperError):
    """The session cannot do this now: its queue is full, the transition is illegal or the wait would never end."""


class SessionClosed(SessionError):
    """The session takes no work: it was stopped or removed, or its runtime was closed."""


class ModelError(WhisperError):
    """A model call failed or its reply is incomplete.

    Attributes:
        model: the model string, as `provider/model`.
        retryable: whether the same call may succeed later (a rate limit, a dropped connection).
        status: the HTTP status with which the provider refused the call; None if it did not refuse it.
        retry_after_s: seconds that the provider asks to wait; None if it does not say.
        unsent: whether the call never reached the provider, so that it cannot have been billed.
        what: the cause without the next step for a person; it is shown while the call is retried.
        finish: the reason and the usage of a reply that ended early; None for other errors.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str,
        retryable: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
        unsent: bool = False,
        finish: Finish | None = None,
        what: str | None = None,
    ) -> None:
        super().__init__(message)
        self.what = what or message
        self.model = model
        self.finish = finish
        self.retryable = retryable
        self.status = status
        self.retry_after_s = retry_after_s
        self.unsent = unsent

    @property
    def free(self) -> bool:
        """Whether the call cost nothing: it did not reach the provider, or was refused before a reply began."""
        if self.unsent or self.status is None:
            return self.unsent
        # Not 408 and most of 5xx: a gateway has timed out, and the provider behind it may have worked on the call.
        return (300 <= self.status < 500 and self.status != 408) or self.status in (503, 529)


class LengthExceeded(ModelError):
    """The reply reached its limit of tokens and is incomplete; or the prompt is longer than the model's context.

    Attributes:
        context_tokens: the size of the context; None if the provider does not tell it.
        prompt_tokens: the size of the prompt that was too long; None if the provider does not tell it.
    """

    context_tokens: int | None = None
    prompt_tokens: int | None = None


class ContentFiltered(ModelError):
    """The provider's content filter stopped the reply."""


class EmptyReply(ModelError):
    """The reply ended well and is empty: it has no text, no tool call and no reasoning. `allow_empty` accepts it."""


class RunFailed(WhisperError):
    """The run failed. The cause is in `__cause__`, and in `run.error`."""

    @classmethod
    def of(cls, error: BaseException | None, run: str) -> RunFailed:
        """Return the error for those who wait for a run: of the class of its cause, if that is a RunFailed.

        Args:
            error: the cause, as `run.error` keeps it. It is not changed, and becomes the `__cause__`.
            run: the run's id, which comes first in the message.
        """
        kind = type(error) if isinstance(error, RunFailed) else cls
        failure = kind.__new__(kind, f"{run} failed: {error_text(error)}")
        if isinstance(error, RunFailed):
            failure.__dict__.update(error.__dict__)
        failure.__cause__ = error
        return failure


LimitReason = Literal["turns", "tokens", "cost", "time", "prompt", "budget"]


class LimitExceeded(RunFailed):
    """A limit ended the run. Its partial text is in `run.text`.

    Attributes:
        reason: the limit: `turns`, `tokens`, `cost` and `time` of the run, the `prompt` of one call, or the `budget` of
            the notebook.
        limit: the value of the limit, in its unit: turns, tokens, US dollars (`cost`, `budget`) or seconds.
        used: what the run has used, in the same unit, with what the refused call would have added to it; for `budget`,
            what all runs have. None: unknown.
    """

    def __init__(self, message: str, *, reason: LimitReason, limit: float, used: float | None) -> None:
        super().__init__(message)
        self.reason: LimitReason = reason
        self.limit = limit
        self.used = used


class PromptLimitExceeded(LimitExceeded):
    """A model call would have sent more tokens than its agent's `max_prompt_tokens` allows. Nothing was sent."""


class TurnLimitExceeded(LimitExceeded):
    """The run needed more turns than its `max_turns` allows."""


class BudgetExceeded(LimitExceeded):
    """A model call may cost more than the budget has left, and no call in flight can give so much back.

    Attributes:
        needed: what the call may cost, in US dollars; or how much more, if its reply is longer than was expected.
        spent_by_agent: US dollars that each agent has spent, the most first.
    """

    def __init__(
        self, message: str, *, limit: float, used: float, needed: float, spent_by_agent: Mapping[str, float]
    ) -> None:
        super().__init__(message, reason="budget", limit=limit, used=used)
        self.needed = needed
        self.spent_by_agent = spent_by_agent


class OutputInvalid(RunFailed):
    """The answer does not fit the output type, also after further turns.

    Attributes:
        text: the last answer.
        problems: a line for each problem with it.
    """

    def __init__(self, message: str, *, text: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.text = text
        self.problems = problems


class RunCancelled(WhisperError):
    """The run was cancelled. This is not asyncio's CancelledError: the task that awaits the run goes on."""


def sealed(function: Callable[P, T], hints: Mapping[str, str] = MappingProxyType({})) -> Callable[P, T]:
    """Raise the function's errors without its frames, in a decorator.

    An argument in those frames may be an API key, and `%xmode Verbose` shows the arguments of every frame. That holds
    for errors of every class: also a warning may be one, and an object's `__repr__` may raise anything.

    Arguments that the function does not have are a ConfigError, with the nearest one that it has.

    Args:
        function: the function.
        hints: argument that it does not have → what to write instead.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # raised again below, where its frames are gone
            failure = without_frames(error)
            if isinstance(error, TypeError):
                failure = _misuse(function, args, kwargs, hints) or failure
        failure.__context__ = None
        args, kwargs = (), {}  # type: ignore[assignment]
        raise failure

    return call


def sealed_with(hints: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate as `sealed`, with hints."""
    return lambda function: sealed(function, hints)


def _misuse(
    function: Callable[..., object], args: tuple[object, ...], given: Mapping[str, object], hints: Mapping[str, str]
) -> ConfigError | None:
    """Return the error of a call with arguments that the function does not take; None if it takes them."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **given)
    except TypeError as error:
        name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
        known = [one for one in signature.parameters if one != "self"]
        for word in given:
            if word not in known:
                hint = f"write {hints[word]}" if word in hints else suggestion(word, known)
                return ConfigError(f"{name}() has no argument {word!r}; {hint}")
        return ConfigError(f"{name}(): {error}")
    return None


def without_frames(error: BaseException) -> BaseException:
    """Return the error without the frames that it and its causes have passed.

    An error that is none of whisper_nb's gets a note that tells where it was raised.
    """
    if isinstance(error, Exception) and not isinstance(error, (WhisperError, TypeError, Warning)):
        for frame in traceback.extract_tb(error.__traceback__)[-1:]:
            error.add_note(f"It was raised in {frame.name}, line {frame.lineno} of {frame.filename}")
    seen: set[BaseException] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        one = rest.pop()
        if one is not None and one not in seen:
            seen.add(one)
            one.__traceback__ = None
            rest += [one.__cause__, one.__context__]
    return error


def as_ours(error: E) -> E:
    """Return an error of Python's own, which a notebook now shows as those of whisper_nb: without its frames."""
    hook = getattr(WhisperError, "_render_traceback_", None)
    if hook is not None:
        error.__dict__["_render_traceback_"] = functools.partial(hook, error)
    return error


def clear_frames(error: BaseException | None) -> None:
    """Clear whisper_nb's own frames of an error that is kept: they refer to tasks, contexts and a cell's output.

    Other frames stay: a background task of a user or a library may still run in one.
    """
    seen: set[BaseException] = set()
    while error is not None and error not in seen:
        seen.add(error)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__", "").startswith(_OWN_MODULES):
                with suppress(RuntimeError):  # the frame is being executed
                    frame.clear()
        error.__traceback__ = _outside(error)
        error = error.__cause__ or error.__context__


def _outside(error: BaseException) -> TracebackType | None:
    """Return an error's traceback from behind whisper_nb's own frames on: they say nothing to its user.

    An error that whisper_nb did not raise on purpose keeps them if there are no others: they are where the fault is.
    """
    one = error.__traceback__
    rest = one
    while one is not None:
        if one.tb_frame.f_globals.get("__name__", "").startswith(_OWN_MODULES):
            rest = one.tb_next
        one = one.tb_next
    if rest is None and not isinstance(error, WhisperError):
        return error.__traceback__
    return rest
