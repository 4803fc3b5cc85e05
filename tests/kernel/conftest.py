from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.client import Kernel

TESTS = Path(__file__).parents[1]


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    """A new kernel with whisper_nb loaded, the names of `support.inside`, and an agent, bob."""
    async with Kernel(tmp_path, python_path=(TESTS,)) as kernel:
        await kernel.run(
            "%load_ext whisper_nb\nimport asyncio, time\nimport whisper_nb as wnb\nfrom support.inside import *"
        )
        await kernel.run("%agent new bob")
        yield kernel
