"""Every error of whisper_nb, in one tree.

    WhisperError
    ├── ConfigError          bad input, found before anything happened
    ├── SessionError         the session cannot do this now (full, illegal transition, a wait that would never end)
    │   └── SessionClosed    it was stopped
    ├── ModelError           a model call failed, or its reply cannot be trusted
    ├── TurnLimitExceeded    a run took more turns than its agent allows
    ├── RunFailed            raised to whoever awaits a run that failed
    └── RunCancelled         raised to whoever awaits a run that was cancelled

A message says what failed, the value, what is allowed and the next step. Constructors have no effects.
A tool that fails raises nothing here: its error goes to the model as the call's result.
"""

from __future__ import annotations

import traceback
from contextlib import suppress

from .messages import whole

#: Where frames of a run's task are from.
_OURS = ("whisper_nb.", "asyncio.timeouts", "asyncio.taskgroups")


class WhisperError(Exception):
    """The root: catch this to catch everything that whisper_nb raises on purpose."""


class ConfigError(WhisperError):
    """Bad input: a config value, an agent's field, a magic's flag, an unknown name. Nothing has happened yet."""


class SessionError(WhisperError):
    """The session cannot do this now: its queue is full, the transition is illegal, the wait would never end."""


class SessionClosed(SessionError):
    """The session was stopped, or its runtime closed, and takes no work."""


class ModelError(WhisperError):
    """A model call failed or its reply is incomplete.

    Attributes:
        model: the model string, as `provider/model`.
        retryable: whether the same call may succeed later (a rate limit, a dropped connection).
    """

    def __init__(self, message: str, *, model: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.model = model
        self.retryable = retryable


class TurnLimitExceeded(WhisperError):
    """A run asked for one more turn than its agent's `max_turns` allows."""


class RunFailed(WhisperError):
    """The run failed; the cause is `__cause__`, and on the run as `run.error`."""


class RunCancelled(WhisperError):
    """The run was cancelled. This is not asyncio's CancelledError: the task that awaits the run is alive."""


def said(error: BaseException | None) -> str:
    """What an error says: its text, or its kind where it has none."""
    try:
        return whole(str(error)) or type(error).__name__
    except Exception:  # its own __str__ fails
        return type(error).__name__


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
