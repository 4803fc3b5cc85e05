"""What a person waits for in a notebook: real kernels, a fresh one for each extension."""

from __future__ import annotations

import ast
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from .measure import Figure
from .server import serving

CELLS = 20
LOAD = """
import sys, time
connected = []
sys.addaudithook(lambda event, _: connected.append(event) if event == "socket.connect" else None)
start = time.perf_counter()
%load_ext {extension}
seconds = time.perf_counter() - start
measured = dict(ms=seconds * 1000, connects=len(connected), litellm="litellm" in sys.modules)
"""


#: Cells, the same number for an empty kernel and for one that makes a call.
SEEN = """
import psutil, sys, time
tokens = []
def hear(record):
    if type(record.event).__name__ == "TextStreamed": tokens.append(time.monotonic())
"""
OBSERVED = """
%load_ext whisper_nb
%agent new bob --model openai/gpt-4o-mini --set api_base={api_base}
import whisper_nb as wnb
forget = wnb.runtime().observe(hear)
"""
ANSWERED = "await wnb.runtime()['bob'].runs[-1]"
RSS = "dict(rss=psutil.Process().memory_info().rss, litellm='litellm' in sys.modules, first=tokens[:1])"


def loading() -> list[Figure]:
    """`%load_ext`, timed in the kernel."""
    with kernel() as client:
        empty = load(client, "benchmarks.empty")
    with kernel() as client:
        ours = load(client, "whisper_nb")
    name = "`%load_ext whisper_nb`: "
    return [
        Figure(name + "over an empty extension", ours["ms"] - empty["ms"], "ms", at_most=150),
        Figure(name + "socket connects", ours["connects"], at_most=0),
        Figure(name + "litellm imported", ours["litellm"], at_most=0),
        Figure("an empty extension", empty["ms"], "ms"),
    ]


def asking() -> list[Figure]:
    """`%%agent`, from sending the cell to its reply."""
    with kernel() as client:
        load(client, "whisper_nb")
        ask(client, "%agent new bob")
        first = ask(client, "%%agent bob\nhello")
        others = [ask(client, f"%%agent bob\nhello {number}") for number in range(CELLS)]
        bare = [ask(client, "pass") for _ in range(CELLS)]
    return [
        Figure("`%%agent` returns: a kernel's first", first, "ms", at_most=50),
        Figure("`%%agent` returns: later ones", statistics.median(others), "ms", at_most=50),
        Figure("a cell with `pass` returns", statistics.median(bare), "ms"),
    ]


def wire() -> list[Figure]:
    """A cold kernel's first call of a provider that is reached over the wire, and what it leaves in memory."""
    with kernel() as client:
        for code in (SEEN, "%load_ext benchmarks.empty", "pass"):
            ask(client, code)
        empty = evaluate(client, "pass", RSS)
    with serving() as url, kernel() as client:
        ask(client, SEEN)
        ask(client, OBSERVED.format(api_base=url + "/plain"))
        start = time.monotonic()  # one clock for all processes
        ask(client, "%%agent bob\nhello")
        ours = evaluate(client, ANSWERED, RSS)
    (first,) = ours["first"]
    name = "a cold kernel's first call over the wire: "
    return [
        Figure(name + "first token", (first - start) * 1000, "ms", at_most=300),
        Figure(name + "RSS over an empty kernel", (ours["rss"] - empty["rss"]) / 1e6, "MB", at_most=40),
        Figure(name + "litellm imported", ours["litellm"], at_most=0),
    ]


@contextmanager
def kernel() -> Iterator[BlockingKernelClient]:
    """A kernel that knows no key, so that agents are offline."""
    env = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY") and name != "WHISPER_MODEL"
    } | {"NO_PROXY": "*"}
    manager, client = start_new_kernel(env=env, extra_arguments=["--log-level=ERROR"])
    try:
        ask(client, "pass")
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def load(client: BlockingKernelClient, extension: str) -> dict[str, Any]:
    """Load an extension and say what that took."""
    return evaluate(client, LOAD.format(extension=extension), "measured")


def evaluate(client: BlockingKernelClient, code: str, expression: str) -> dict[str, Any]:
    """Run a cell; the value of an expression after it."""
    reply = execute(client, code, value=expression)
    value: dict[str, Any] = ast.literal_eval(reply["user_expressions"]["value"]["data"]["text/plain"])
    return value


def ask(client: BlockingKernelClient, code: str) -> float:
    """Milliseconds until the reply to a cell."""
    start = time.perf_counter()
    execute(client, code)
    return (time.perf_counter() - start) * 1000


def execute(client: BlockingKernelClient, code: str, **expressions: str) -> dict[str, Any]:
    """Run a cell; its reply's content."""
    sent = client.execute(code, user_expressions=expressions)
    while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != sent:
        pass  # a slow kernel was asked more than once whether it is there
    content: dict[str, Any] = reply["content"]
    assert content["status"] == "ok", content
    return content
