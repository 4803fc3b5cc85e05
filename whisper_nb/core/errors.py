"""Every error of whisper_nb, in one tree.

    WhisperError
    ├── ConfigError          bad input, found before anything happened
    ├── SessionError         the session cannot do this now (full, illegal transition, a wait that would never end)
    │   └── SessionClosed    it was stopped
    ├── ModelError           a model call failed, or its reply cannot be trusted
    │   ├── LengthExceeded   the reply, or the prompt, is longer than the model allows
    │   └── ContentFiltered  the provider's content filter stopped the reply
    ├── TurnLimitExceeded    a run took more turns than its agent allows
    ├── RunFailed            raised to whoever awaits a run that failed
    └── RunCancelled         raised to whoever awaits a run that was cancelled

A message says what failed, the value, what is allowed and the next step. Constructors have no effects.
A tool that fails raises nothing here: its error goes to the model as the call's result.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from msgspec import Struct

from .messages import Finish, replace
from .text import mask_keys

P = ParamSpec("P")
T = TypeVar("T")
#: The keys that lead to a value, from the outermost.
KeyPath = tuple[str | int, ...]

#: Where frames of a run's task are from.
_OURS = ("whisper_nb.", "asyncio.timeouts", "asyncio.taskgroups")


class WhisperError(Exception):
    """The root: catch this to catch everything that whisper_nb raises on purpose."""


class Problem(Struct, frozen=True):
    """One thing that is wrong with what somebody gave: data, so that a form can put it beside its field."""

    path: KeyPath
    """The keys that lead to it, from the outermost."""
    text: str
    """What is wrong: the value, and what is allowed."""
    place: str = ""
    """`agents/bob.yaml:7`; empty for what is in no file."""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


class ConfigError(WhisperError):
    """Bad input: a config value, an agent's field, a magic's flag, an unknown name. Nothing has happened yet.

    Attributes:
        problems: everything that is wrong, found in one go; the message has a line for each.
    """

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(mask_keys(message))
        told = tuple(problems) or (Problem((), message),)
        self.problems = tuple(replace(one, text=mask_keys(one.text)) for one in told)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> ConfigError:
        """The error that tells of all these."""
        problems = tuple(problems)
        return cls("\n".join(map(str, problems)), problems)


class SessionError(WhisperError):
    """The session cannot do this now: its queue is full, the transition is illegal, the wait would never end."""


class SessionClosed(SessionError):
    """The session was stopped or removed, or its runtime closed, and takes no work."""


class ModelError(WhisperError):
    """A model call failed or its reply is incomplete.

    Attributes:
        model: the model string, as `provider/model`.
        retryable: whether the same call may succeed later (a rate limit, a dropped connection).
        status: the HTTP status by which the provider refused the call; None where it did not.
        retry_after_s: seconds that the provider asks to wait; None where it does not say.
        unsent: the provider was never reached, so that nothing can have been billed.
        what: what failed, without what a person may do: for where it is tried again by itself.
        finish: how the reply ended, with what it used, where it ended early for a reason; None elsewhere.
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
        # A gateway that gave up waiting may have had the upstream at work.
        refused = (
            self.status is not None and (300 <= self.status < 500 or self.status in (503, 529)) and self.status != 408
        )
        return self.unsent or refused


class LengthExceeded(ModelError):
    """The reply hit its limit of tokens and is not whole; or the prompt is longer than the model's context."""


class ContentFiltered(ModelError):
    """The provider's content filter stopped the reply."""


class TurnLimitExceeded(WhisperError):
    """A run asked for one more turn than its agent's `max_turns` allows."""


class RunFailed(WhisperError):
    """The run failed; the cause is `__cause__`, and on the run as `run.error`."""


class RunCancelled(WhisperError):
    """The run was cancelled. This is not asyncio's CancelledError: the task that awaits the run is alive."""


def sealed(function: Callable[P, T]) -> Callable[P, T]:
    """Have our errors leave a function without its frames: among their arguments a key may be, and `%xmode Verbose` shows them."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (WhisperError, TypeError) as error:  # a word too many in the call is a TypeError
            failure = error.with_traceback(None)
        failure.__context__ = None
        del args, kwargs
        raise failure

    return call


def let_go_of_frames(error: BaseException | None) -> None:
    """Empty our own frames of an error that will be kept: they hold tasks and contexts, and so what cells have shown.

    Only ours: one of somebody's background task may still be at work.
    """
    seen: set[BaseException] = set()
    while error is not None and error not in seen:
        seen.add(error)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__", "").startswith(_OURS):
                with suppress(RuntimeError):  # it is being executed
                    frame.clear()
        error = error.__cause__ or error.__context__
