"""The examples of `%agent help`, which docs/magics.md shows: each runs in a notebook with two agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.client import ROOT, Kernel
from whisper_nb.notebook.magics.commands.table import reference

pytestmark = pytest.mark.kernel

EXAMPLES = [example for entry in reference() for example in entry.examples]
#: What examples use, made once.
NOTEBOOK = """
%load_ext whisper_nb
import asyncio
import pandas as pd
import whisper_nb as wnb
from support.pictures import PNG

rt = wnb.runtime()
for name in ("offline/echo", "openrouter/openai/gpt-4o-mini"):
    rt.models[name] = wnb.models.offline.EchoModel()
df = pd.DataFrame({"when": ["2024-05-01"], "amount": [12.5]})

class fig:
    def savefig(file, **options):
        file.write(PNG)

def rows(table: str) -> int:
    return len(df)
"""
#: A team with three runs each, which wait in their queues if `{paused}`. The ids of the runs are printed.
TEAM = """
%agent loop notebook
for session in rt.sessions:
    rt.remove(session.name)
team = [rt.create(wnb.Agent(name=name)) for name in ("bob", "amy")]
for session in team if {paused} else ():
    session.pause()
runs = [session.submit("Hello.") for _ in range(3) for session in team]
ans = runs[0]
if not {paused}:
    await asyncio.gather(*runs)
print(*(run.id for run in runs))
"""


async def test_every_example_of_the_help_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_NB_HOME", str(tmp_path / "home"))
    async with Kernel(tmp_path, python_path=(ROOT / "tests",)) as kernel:
        await kernel.run(NOTEBOOK)
        for example in EXAMPLES:
            queued = example.startswith(("%agent move", "%agent cancel"))
            ids = (await kernel.run(TEAM.format(paused=queued))).text.splitlines()[-1].split()
            for number in (1, 2, 3):  # of the agents that there are now
                for place, name in enumerate(("bob", "amy")):
                    example = example.replace(f"{name}#{number}", ids[2 * (number - 1) + place])
            reply = await kernel.send(example).reply()
            assert reply["status"] == "ok", f"{example}\n{reply['ename']}: {reply['evalue']}"
            await kernel.run("%agent resume --all\n%agent wait")
