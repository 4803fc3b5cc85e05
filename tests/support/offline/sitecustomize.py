"""On PYTHONPATH: a Python without network and keys, for running notebooks as tests.

Jupyter's own channels are ZeroMQ's, which Python's audit hook does not see.
"""

import os
import socket
import sys
from typing import Any


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and args[0].family in (socket.AF_INET, socket.AF_INET6):
        raise OSError(f"a test tried to reach {args[1]}: notebooks must run offline")


for name in list(os.environ):
    if name.endswith("_API_KEY") or name == "WHISPER_MODEL":
        del os.environ[name]
sys.addaudithook(_refuse)
