from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from client import Kernel

HERE = Path(__file__).parent


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    """A fresh kernel with whisper_nb loaded, what `inside` has, and an agent, bob."""
    async with Kernel(tmp_path, python_path=(HERE, HERE.parent)) as kernel:
        await kernel.run("%load_ext whisper_nb\nimport asyncio, time\nimport whisper_nb as wnb\nfrom inside import *")
        await kernel.run("%agent new bob")
        yield kernel
