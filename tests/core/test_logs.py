from __future__ import annotations

import logging

import pytest

from whisper_nb.core.logs import quiet
from whisper_nb.notebook.cells.markdown import safe_markdown


def test_a_library_logs_warnings_only_unless_the_user_has_set_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("wanted").setLevel(logging.DEBUG)
    quiet("wanted", "unwanted")
    for name in ("wanted", "unwanted", "unwanted.part"):
        logging.getLogger(name).debug("entering")
        logging.getLogger(name).warning("trouble")
    assert [(one.name, one.message) for one in caplog.records] == [
        ("wanted", "entering"),
        ("wanted", "trouble"),
        ("unwanted", "trouble"),
        ("unwanted.part", "trouble"),
    ]


def test_showing_an_answer_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert "<h1>" in safe_markdown("# An answer\n\n- with\n- items")
    assert caplog.records == []
