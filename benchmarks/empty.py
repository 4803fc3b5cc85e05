"""An extension that does nothing: what `%load_ext` costs by itself."""

from __future__ import annotations


def load_ipython_extension(_: object) -> None:
    pass
