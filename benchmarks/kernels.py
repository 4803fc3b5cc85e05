"""The times that a user waits for in a notebook: in real kernels, a new one for each extension."""

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
start, used = time.perf_counter(), time.process_time()
%load_ext {extension}
seconds, used = time.perf_counter() - start, time.process_time() - used
measured = dict(ms=seconds * 1000, cpu=used * 1000, connects=len(connected), litellm="litellm" in sys.modules)
"""
PYDANTIC = """
import time
start, used = time.perf_counter(), time.process_time()
from pydantic import BaseModel, TypeAdapter
seconds, used = time.perf_counter() - start, time.process_time() - used
measured = dict(ms=seconds * 1000, cpu=used * 1000)
"""

#: A kernel's first call, by an agent and by hand.
PREPARED = """
import psutil, sys, time
tokens = []
def observe(record):
    if type(record.event).__name__ == "TextStreamed": tokens.append(time.monotonic())
"""
HIRED = """
%load_ext whisper_nb
%agent new bob --model openai/gpt-4o-mini --set api_base={api_base}
import whisper_nb as wnb
forget = wnb.runtime().observe(observe)
"""
ANSWERED = "await wnb.runtime()['bob'].runs[-1]"
BY_HAND = """
import aiohttp, json
body = dict(model="gpt-4o-mini", messages=[dict(role="user", content="hello")], stream=True)
async with aiohttp.ClientSession() as http, http.post("{api_base}/chat/completions", json=body) as response:
    async for line in response.content:
        if line.startswith(b"data: {{") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            tokens.append(time.monotonic())
            break
"""
STATE = (
    "dict(rss=psutil.Process().memory_info().rss, cpu=time.process_time(), litellm='litellm' in sys.modules, "
    "tokens=tokens[:1])"
)


def loading() -> list[Figure]:
    """`%load_ext`, timed in the kernel, and the import of a package that notebooks import."""
    with kernel() as client:
        empty = load(client, "benchmarks.empty")
    with kernel() as client:
        ours = load(client, "whisper_nb")
    with kernel() as client:
        pydantic = evaluate(client, PYDANTIC, "measured")
    name = "`%load_ext whisper_nb`: "
    more = ours["cpu"] - empty["cpu"]
    return [
        Figure(name + "CPU, over importing pydantic", more / pydantic["cpu"], "×", at_most=1),
        Figure(name + "socket connects", ours["connects"], at_most=0),
        Figure(name + "litellm imported", ours["litellm"], at_most=0),
        Figure(name + "CPU", more, " ms"),
        Figure(name + "time", ours["ms"] - empty["ms"], " ms"),
        Figure("importing pydantic: CPU", pydantic["cpu"], " ms"),
        Figure("importing pydantic: time", pydantic["ms"], " ms"),
        Figure("`%load_ext` of an empty extension: time", empty["ms"], " ms"),
    ]


def asking() -> list[Figure]:
    """`%%agent`, from sending the cell to its reply."""
    with kernel() as client:
        load(client, "whisper_nb")
        ask(client, "%agent new bob")
        bare = [ask(client, "pass") for _ in range(CELLS)]
        first = ask(client, "%%agent bob\nhello")
        later = [ask(client, f"%%agent bob\nhello {number}") for number in range(CELLS)]
        bare += [ask(client, "pass") for _ in range(CELLS)]
    cell = statistics.median(bare)
    return [
        Figure("a `%%agent` cell, over `pass`", statistics.median(later) / cell, "×", at_most=3),
        Figure("a kernel's first `%%agent` cell, over `pass`", first / cell, "×", at_most=10),
        Figure("a `%%agent` cell", statistics.median(later), " ms"),
        Figure("a kernel's first `%%agent` cell", first, " ms"),
        Figure("a cell with `pass`", cell, " ms"),
    ]


def first_call() -> list[Figure]:
    """A cold kernel's first call over the wire: the time to its first token, and the memory that it leaves in use."""
    with serving() as url, kernel() as client:
        empty = evaluate(client, PREPARED, STATE)
        before = time.monotonic()  # one clock for all processes
        hired = evaluate(client, HIRED.format(api_base=url + "/plain"), STATE)
        start = time.monotonic()
        ask(client, "%%agent bob\nhello")
        ours = evaluate(client, ANSWERED, STATE)
    with serving() as url, kernel() as client:
        bare_empty = evaluate(client, PREPARED, STATE)
        start_by_hand = time.monotonic()
        ask(client, BY_HAND.format(api_base=url + "/plain"))
        by_hand = evaluate(client, "pass", STATE)
    from_cell, from_load = ours["tokens"][0] - start, ours["tokens"][0] - before
    bare, bare_cpu = by_hand["tokens"][0] - start_by_hand, by_hand["cpu"] - bare_empty["cpu"]
    cpu, cpu_from_load = ours["cpu"] - hired["cpu"], ours["cpu"] - empty["cpu"]
    name = "a cold kernel's first call: "
    return [
        Figure(name + "CPU, over raw aiohttp", cpu / bare_cpu, "×", at_most=1.15),
        Figure(name + "CPU from `%load_ext` on, over raw aiohttp", cpu_from_load / bare_cpu, "×", at_most=2),
        Figure(name + "memory of the kernel, over raw aiohttp", ours["rss"] / by_hand["rss"], "×", at_most=1.2),
        Figure(name + "litellm imported", ours["litellm"], at_most=0),
        Figure(name + "time to a token, over raw aiohttp", from_cell / bare, "×"),
        Figure(name + "CPU", cpu * 1000, " ms"),
        Figure(name + "CPU, raw aiohttp", bare_cpu * 1000, " ms"),
        Figure(name + "time to a token", from_cell * 1000, " ms"),
        Figure(name + "time to a token from `%load_ext`", from_load * 1000, " ms"),
        Figure(name + "time to a token, raw aiohttp", bare * 1000, " ms"),
        Figure(name + "more memory", (ours["rss"] - empty["rss"]) / 1e6, " MB"),
        Figure(name + "more memory, raw aiohttp", (by_hand["rss"] - bare_empty["rss"]) / 1e6, " MB"),
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
