"""The base of the panel and the form: widgets whose views send requests and get messages, over the widget's comm."""

from __future__ import annotations

from typing import Any

import anywidget


class RequestWidget(anywidget.AnyWidget):
    """A widget without synced traits of its own: no message of a front end sets one.

    Whoever derives from it overrides `_take_request`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.comm.on_close(lambda _: self.close())  # a front end closed it
        # Receive on the subshell that the front end names, which no cell blocks, not on that of the last reply.
        self.comm._reply_subshell_for = lambda _, subshell: subshell
        # Bypass ipywidgets' handler: it runs `post_execute` callbacks, as if a cell had ended.
        self.comm.handle_msg = self._handle_msg

    def _handle_msg(self, msg: Any) -> None:
        """Receive a message of the comm, in the thread in which the kernel does."""
        match msg:
            case {"content": {"data": {"method": "request_state"}}}:
                self.send_state()
            case {"content": {"data": {"method": "custom", "content": content}}} if not msg.get("buffers"):
                self._take_request(content)
            case _:
                self._take_request(None)

    def _take_request(self, content: object) -> None:
        """Check and execute a request of a view, whose content may be anything. None stands for an invalid message."""
        raise NotImplementedError
