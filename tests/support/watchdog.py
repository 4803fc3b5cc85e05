"""A pytest plugin that ends a test process that hangs and names the test.

The watch is kept by a process of its own, because the hung one may hold any lock, the interpreter's included. It sends
SIGABRT, for which pytest's faulthandler prints the stacks of all threads. Under xdist the run goes on with a new
worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

#: For one test with its fixtures. Far above what any needs on a loaded machine: this ends what hangs, and judges
#: nothing.
LIMIT_S = float(os.environ.get("TEST_LIMIT_S", "600"))

PROGRAM = """
import os, select, signal, sys

pid, limit = int(sys.argv[1]), float(sys.argv[2])
test = b""
while True:
    if select.select([0], [], [], limit if test else None)[0]:
        lines = os.read(0, 65536)
        if not lines:
            sys.exit()
        test = lines.splitlines()[-1]
    else:
        os.write(2, b"\\n%s did not end within %d s\\n" % (test, limit))
        os.kill(pid, signal.SIGABRT)
        sys.exit()
"""


class Watchdog:
    """Names the test that runs to the watching process."""

    def __init__(self) -> None:
        command = [sys.executable, "-SEc", PROGRAM, str(os.getpid()), str(LIMIT_S)]
        # In a session of its own, so that Ctrl-C reaches the tests alone.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def watch(self, test: str) -> None:
        """Start the time of this test; of none if it is empty."""
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), f"{test}\n".encode())

    def close(self) -> None:
        """End the watching process."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.watch(item.nodeid)
        try:
            return (yield)
        finally:
            self.watch("")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the process that runs the tests: this one, or each worker of xdist."""
    if not config.getoption("collectonly") and (
        hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    ):
        watchdog = Watchdog()
        config.pluginmanager.register(watchdog)
        config.add_cleanup(watchdog.close)
