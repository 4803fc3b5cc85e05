"""What something takes of the processor, whatever else the machine and the test run do."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable


def seconds_of(call: Callable[[], object]) -> float:
    """This thread's seconds, without what other tests have left to collect, and without what coverage adds."""
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
