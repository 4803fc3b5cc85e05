"""Logs of the libraries beneath: they stay out of a notebook whose root logger shows everything."""

from __future__ import annotations

import logging


def quiet(*libraries: str) -> None:
    """Let libraries log warnings only, while the user has not set a level for them.

    At DEBUG some write dozens of lines for one answer.
    """
    for name in libraries:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
