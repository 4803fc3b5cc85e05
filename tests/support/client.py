"""A real kernel that takes many cells at once, as Run All does; nbclient and nbval send one at a time."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import zmq
from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).parents[2]
OFFLINE = ROOT / "tests" / "support" / "offline"
#: For one answer of a kernel. It only ends a test that hangs: even a loaded machine needs far less.
TIMEOUT_S = 200.0


@dataclass(frozen=True)
class Message:
    """A message that the kernel published."""

    time: float
    type: str
    content: dict[str, Any]
    parent: str
    """The id of the cell that it belongs to."""


@dataclass(eq=False)
class Cell:
    """One execution of a cell."""

    id: str
    messages: list[Message] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def reply(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The kernel's answer, once the cell's output is complete too."""
        async with asyncio.timeout(timeout_s):
            reply = await asyncio.shield(self.answered)
        await self.until(lambda: self.count("status", "execution_state", "idle") > 0, timeout_s)
        return reply

    async def ok(self, timeout_s: float = TIMEOUT_S) -> Self:
        """This cell, once it has ended without an error."""
        reply = await self.reply(timeout_s)
        assert reply["status"] == "ok", "\n".join(reply.get("traceback", [str(reply)]))
        return self

    async def error(self, timeout_s: float = TIMEOUT_S) -> str:
        """The error of the cell, as `Name: message`."""
        reply = await self.reply(timeout_s)
        assert reply["status"] == "error", f"no error, but {self.text!r}"
        return f"{reply['ename']}: {reply['evalue']}"

    async def until(self, holds: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Wait for messages until `holds()` is true."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def says(self, text: str) -> None:
        """Wait until the text was printed."""
        await self.until(lambda: text in self.text)

    def count(self, type: str, key: str, value: object) -> int:
        """The number of messages of a type with this content."""
        return sum(message.type == type and message.content.get(key) == value for message in self.messages)

    def contents(self, *types: str) -> list[dict[str, Any]]:
        """The contents of its messages of these types."""
        return [message.content for message in self.messages if message.type in types]

    @property
    def text(self) -> str:
        """The printed text of the cell."""
        return "".join(content["text"] for content in self.contents("stream"))

    @property
    def result(self) -> str | None:
        """Its value as text."""
        found = self.contents("execute_result")
        return found[-1]["data"]["text/plain"] if found else None

    @property
    def displays(self) -> list[str]:
        """The ids of the displays that it created."""
        return [content["transient"]["display_id"] for content in self.contents("display_data")]


class Kernel:
    """`async with Kernel(folder) as kernel`: starts one in `folder`, and ends it."""

    def __init__(self, folder: Path, python_path: tuple[Path, ...] = (), arguments: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._arguments = list(arguments)
        self._path = os.pathsep.join(str(path) for path in (OFFLINE, ROOT, *python_path))
        self.stderr = folder / "stderr"
        self.messages: list[Message] = []
        self._cells: dict[str, Cell] = {}
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Self:
        # Short, because the name of a Unix socket has 107 characters at most.
        self._sockets = tempfile.TemporaryDirectory(prefix="k")
        self.runtime_dir = self._sockets.name
        self.manager = AsyncKernelManager(
            kernel_name="python3",
            shutdown_wait_time=TIMEOUT_S,
            transport="ipc",
            ip=f"{self._sockets.name}/s",
            connection_file=f"{self._sockets.name}/connection.json",
        )
        env = {
            **os.environ,
            "PYTHONPATH": self._path,
            "IPYTHONDIR": str(self._folder / "ipython"),
            "XDG_RUNTIME_DIR": self.runtime_dir,
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        self._log = self.stderr.open("wb")
        await self.manager.start_kernel(
            extra_arguments=self._arguments, env=env, cwd=str(self._folder), stdout=self._log, stderr=self._log
        )
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()
        if await self.manager.is_alive():
            await self.manager.shutdown_kernel(now=True)
        self._log.close()
        self._sockets.cleanup()

    async def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=TIMEOUT_S)
        pumps = self._pump_output(), self._pump_answers(self.client.shell_channel)
        self._pumps = [asyncio.create_task(pump) for pump in pumps]

    async def _disconnect(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.wait(self._pumps)
        self.client.stop_channels()

    # Cells

    def send(self, code: str, cell_id: str | None = None) -> Cell:
        """Queue a cell. `cell_id` is its id in the notebook, as front ends send it."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self._message("execute_request", {**content, "stop_on_error": False})
        if cell_id is not None:
            message["metadata"] = {"cellId": cell_id}
        cell = Cell(message["header"]["msg_id"])
        self._cells[cell.id] = cell
        self._answers[cell.id] = cell.answered
        self.post(message)
        return cell

    async def run(self, code: str, cell_id: str | None = None) -> Cell:
        """Run a cell to its end, which must be without an error."""
        return await self.send(code, cell_id).ok()

    async def value(self, expression: str) -> Any:
        """The value of an expression, which must be JSON."""
        cell = await self.run(f"print(__import__('json').dumps({expression}))")
        return json.loads(cell.text)

    async def request(self, type: str, **content: Any) -> dict[str, Any]:
        """Any other request on the shell channel, and its answer."""
        message = self._message(type, content)
        answer = self._answers[message["header"]["msg_id"]] = asyncio.get_running_loop().create_future()
        self.post(message)
        async with asyncio.timeout(TIMEOUT_S):
            return await answer

    def tell(self, comm: str, content: dict[str, Any]) -> None:
        """Send a message of a widget's page to the kernel."""
        data = {"method": "custom", "content": content}
        self.post(self._message("comm_msg", {"comm_id": comm, "data": data}))

    def post(self, message: dict[str, Any]) -> None:
        """Send a message on the shell channel."""
        channel = self.client.shell_channel
        channel.send(message)
        # jupyter_client sends past asyncio's socket, which can consume the signal that an answer has arrived: the
        # answer would then stay unread until the next one. To ask for the events restores the signal.
        channel.socket.get(zmq.EVENTS)

    async def interrupt(self) -> None:
        """Interrupt the kernel, as the stop button does."""
        await self.manager.interrupt_kernel()

    async def shutdown(self) -> str:
        """End it as a front end does, without force. Return what it wrote to its standard error."""
        process = self.manager.provisioner.process
        await self.manager.shutdown_kernel(now=False)
        assert process.returncode == 0, "it did not end by itself"
        return self.stderr.read_text()

    async def restart(self) -> None:
        """Restart it as a front end does, without force."""
        await self._disconnect()
        await self.manager.restart_kernel(now=False)
        await self._connect()

    # Displays

    def shown(self, display_id: str) -> list[Message]:
        """All messages of a display in order, with updates from other cells."""
        return [
            message
            for message in self.messages
            if message.type in ("display_data", "update_display_data")
            and message.content["transient"].get("display_id") == display_id
        ]

    def _message(self, type: str, content: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = self.client.session.msg(type, content)
        return message

    async def _pump_output(self) -> None:
        while True:
            raw = await self.client.iopub_channel.get_msg(timeout=None)
            parent = raw["parent_header"].get("msg_id", "")
            message = Message(time.monotonic(), raw["msg_type"], raw["content"], parent)
            self.messages.append(message)
            if cell := self._cells.get(parent):
                cell.messages.append(message)
            for cell in self._cells.values():
                cell.changed.set()

    async def _pump_answers(self, channel: Any) -> None:
        while True:
            raw = await channel.get_msg(timeout=None)
            answer = self._answers.get(raw["parent_header"].get("msg_id", ""))
            if answer is not None and not answer.done():
                with suppress(asyncio.InvalidStateError):
                    answer.set_result(raw["content"])
