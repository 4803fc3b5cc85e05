"""Code that keeps agents at work while a kernel ends, and the messages that must not appear."""

from __future__ import annotations

OURS = ("Task was destroyed", "Unclosed", "never retrieved", "never awaited", "Exception ignored", "whisper")


NOISE = (*OURS, "Traceback", "Error")


def noise(stderr: str, markers: tuple[str, ...] = NOISE) -> list[str]:
    """The lines that must not appear."""
    return [line for line in stderr.splitlines() if any(marker in line for marker in markers)]


WORK = (
    "%agent new amy --model offline/held\n%agent new eve --tools nap\n"
    "%agent ask bob -o one long\n%agent ask amy -o two hi\n%agent ask eve -o three tool nap\n"
    "%agent ask bob {{ two }}\nawait held.arrived()"
)


NAP = "async def nap() -> str:\n    'Sleep.'\n    await asyncio.sleep(60)\n    return 'ok'"
