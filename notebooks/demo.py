"""`make demo`: run the quickstart headless, go on working in the notebook meanwhile, and say who did what, and when.

Everything printed is measured: the agents' times come from their records, the notebook's from cells that were run
while the agents were at work.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("01_quickstart.ipynb")
IDLE = "import whisper_nb; print(all(run.done for s in whisper_nb.runtime().sessions for run in s.runs))"
REPORT = """
import json, whisper_nb
print(json.dumps([
    {"run": run.id, "prompt": run.prompt.split("\\n")[-1], "status": run.status, "model": run.model,
     "start": run.started_at, "end": run.finished_at, "text": run.text}
    for s in whisper_nb.runtime().sessions for run in s.runs
]))
"""


async def main() -> int:
    """Run the cells up to the wait, work in between until the agents are done, then run the rest."""
    os.environ["WHISPER_MODEL"] = "offline/script:quickstart.yaml"  # whatever keys are set: the demo spends nothing
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.extra_arguments = ["--log-level=ERROR"]
    held, answered = 0.0, []
    async with client.async_setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.source.startswith("%agent wait"):
                answered = await use_meanwhile(client)
            start = time.perf_counter()
            await client.async_execute_cell(cell, index)
            if cell.source.startswith("%%agent"):
                held += time.perf_counter() - start
        runs = json.loads(await run_code(client, REPORT))
    report(runs, held, answered)
    return 0 if all(run["status"] == "succeeded" for run in runs) else 1


async def use_meanwhile(client: NotebookClient) -> list[float]:
    """Run small cells, as a person would, until the agents are done. Seconds that each took to answer."""
    answered = []
    while True:
        start = time.perf_counter()
        done = await run_code(client, IDLE)
        answered.append(time.perf_counter() - start)
        if done.strip() == "True":
            return answered
        await asyncio.sleep(0.05)


async def run_code(client: NotebookClient, code: str) -> str:
    """Return the output of a cell with this code; the cell is not part of the notebook."""
    cell = nbformat.v4.new_code_cell(code)
    client.nb.cells.append(cell)
    try:
        await client.async_execute_cell(cell, len(client.nb.cells) - 1)
    finally:
        client.nb.cells.remove(cell)
    return "".join(output["text"] for output in cell.outputs if output["output_type"] == "stream")


def report(runs: list[dict[str, Any]], held: float, answered: list[float]) -> None:
    """Print who did what, when, and how long the notebook was free meanwhile."""
    zero = min(run["start"] for run in runs)
    end = max(run["end"] for run in runs)
    width = 40
    print(f"\n{NOTEBOOK.name} on {runs[0]['model']}\n")
    for run in sorted(runs, key=lambda run: run["start"]):
        start, stop = run["start"] - zero, run["end"] - zero
        left = round(start / (end - zero) * width)
        bar = max(1, round((stop - start) / (end - zero) * width))
        line = f"{' ' * left}{'█' * bar}".ljust(width)
        print(f"  {run['run']:12} {line}  {start:5.2f} s – {stop:5.2f} s  {run['status']}")
        print(f"  {'':12} {run['prompt']}")
    print("\nWhat they said:\n")
    for run in runs:
        print(f"── {run['run']}\n{run['text']}\n")
    team = [run for run in runs if run["run"].endswith("#1")]
    work = max(run["end"] for run in team) - zero
    both = overlap(
        next(run for run in team if run["run"] == "assistant#1"), next(run for run in team if run["run"] == "tester#1")
    )
    print(f"The team worked for {work:.2f} s; assistant and tester side by side for {both:.2f} s of it.")
    print(f"Giving them work held the notebook for {held:.2f} s; the rest, {max(0.0, work - held):.2f} s, it was free:")
    print(
        f"{len(answered)} other cells, run meanwhile, were answered in {statistics.median(answered) * 1000:.0f} ms "
        f"(median; the slowest in {max(answered) * 1000:.0f} ms)."
    )


def overlap(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Seconds during which both ran."""
    return max(0.0, min(one["end"], other["end"]) - max(one["start"], other["start"]))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
