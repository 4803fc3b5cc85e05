"""Code that says when a wait has begun."""

from __future__ import annotations

#: Prints when the loop runs, that is, once the cell waits.
SAY_WAITING = (
    "from functools import partial\nasyncio.get_running_loop().call_soon(partial(print, 'begun', flush=True))\n"
)
