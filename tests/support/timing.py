"""CPU time, which does not depend on other load of the machine and the test run."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable


def grows_evenly(work: Callable[[int], object], size: int = 1_000) -> None:
    """Assert that sixteen times the size takes about sixteen times as long, not its square."""
    work(size)
    small = min(seconds_of(lambda: work(size)) for _ in range(3))
    assert seconds_of(lambda: work(16 * size)) < 80 * small


def seconds_of(call: Callable[[], object]) -> float:
    """The CPU seconds of a call in this thread, without garbage collection and coverage."""
    gc.collect()
    gc.disable()
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        began = time.thread_time()
        call()
        return time.thread_time() - began
    finally:
        sys.settrace(trace)
        gc.enable()
