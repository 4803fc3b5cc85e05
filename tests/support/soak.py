"""The growth of a process over rounds of all faults: `python -m support.soak wire openai/x true 3`."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys

from support.doubles import settled
from support.faults import FAMILIES, KEY
from support.provider import Provider, Request, says
from whisper_nb import Agent, AIConfig, Runtime


def megabytes() -> float:
    """The peak memory of the process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


async def rounds(transport: str, model: str, streams: bool, number: int, big: bool) -> None:
    """Print the growth in MB after a first round of small faults, and the number of false successes."""
    faults = [
        fault
        for name, family in FAMILIES.items()
        for fault in family
        if name != "Anthropic's" and fault.shape(streams) is not None and fault.place == "the provider"
    ]
    by_name = {fault.name: fault for fault in faults}
    false = 0

    def answer(request: Request):
        return by_name[request.prompt].shape(request.streams) if request.prompt in by_name else says("fine")

    async with Provider(answer) as provider, Runtime() as runtime:

        async def meet(number: int) -> int:
            fault = faults[number]
            limits = {"timeout_s": 0.9, "token_timeout_s": 0.5} if fault.hangs else {"timeout_s": 20.0}
            config = AIConfig(
                model=model,
                api_base=f"{provider.url}/{number}",
                transport=transport,
                stream=streams,
                retries=0,
                **limits,
            )
            run = sessions.setdefault(number, runtime.create(Agent(name=f"bob{number}", config=config))).submit(
                fault.name
            )
            await settled(run)
            return run.status == "succeeded" and run.text != fault.may_say

        sessions: dict = {}
        small = [n for n, fault in enumerate(faults) if not fault.big]
        await meet(small[0])
        await asyncio.gather(*map(meet, small))
        gc.collect()
        before = megabytes()
        for _ in range(number):
            false += sum(await asyncio.gather(*map(meet, small)))
            if big:
                for n in set(range(len(faults))) - {*small}:
                    false += await meet(n)
        sys.stdout.write(f"{megabytes() - before:.0f} {false} {len(faults)}\n")


if __name__ == "__main__":
    for provider in ("OPENAI", "HOSTED_VLLM"):
        os.environ[f"{provider}_API_KEY"] = KEY
    transport, model, streams, number, *more = sys.argv[1:]
    asyncio.run(rounds(transport, model, streams == "true", int(number), bool(more)))
