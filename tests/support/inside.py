"""Models and tools for tests inside a kernel: they wait for the test, or are slow. Import all with `*`."""

from __future__ import annotations

import asyncio
import time

from support.doubles import HeldModel
from whisper_nb import Rule, ScriptedModel, runtime

rt = runtime()
#: Answers "partial", and " and done" when the test says `held.calls[n].release()`.
held = HeldModel()
rt.models["offline/held"] = held
#: Selected by the first word of the prompt.
slow = ScriptedModel(
    [
        Rule("^long", "word " * 150, tokens_per_second=50),
        Rule("^slow", "a slow answer", delay_s=0.5),
        Rule("^forever", "never", delay_s=3600),
        Rule("^fail", error="no more"),
        Rule("^tool (?P<name>\\w+)", role="user", calls=[{"name": "\\g<name>"}]),
        Rule("(?s)(?P<result>.*)", "it said: \\g<result>", role="tool"),
        Rule("(?s)(?P<prompt>.*)", "heard: \\g<prompt>"),
    ]
)
rt.models["offline/slow"] = slow
# A held model waits for the test, however slow the machine is.
rt.configure(offline="offline/slow", token_timeout_s=3600)


let_go = asyncio.Event()


async def busy() -> str:
    """Use the CPU until `let_go` is set, so that an interrupt would hit this tool if agents were not protected."""
    while not let_go.is_set():
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)
    return "busy to the end"
