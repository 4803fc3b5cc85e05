"""Doubles for tests of the form: one that records its messages, and a page that types and clicks."""

from __future__ import annotations

from typing import Any

from whisper_nb.notebook.form.fields import id_of
from whisper_nb.notebook.form.form import AgentForm

Said = dict[str, Any]


class WatchedForm(AgentForm):
    """A form that records its messages, and takes requests as from a page."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sent: list[Said] = []
        super().__init__(*args, **options)

    def send(self, content: Said, buffers: Any = None) -> None:
        self.sent.append(content)

    def hear(self, data: object, buffers: object = ()) -> None:
        """A message of the comm."""
        self._handle_msg({"content": {"data": data}, "buffers": buffers})

    def ask(self, do: str, view: str = "view1", **fields: Any) -> None:
        """Send a request of a view."""
        self.hear({"method": "custom", "content": {"do": do, "view": view, "id": 7, **fields}})


class FormPage:
    """The state of one view, assembled from the messages as in form/form.js."""

    def __init__(self, form: WatchedForm, view: str = "view1") -> None:
        self.form, self.view = form, view
        self.texts: dict[str, str] = {}
        self.parts: dict[str, Any] = {}
        self._read = len(form.sent)
        self.click("hello")

    def click(self, do: str, **fields: Any) -> None:
        self.form.ask(do, view=self.view, **fields)
        self.take()

    def type(self, **texts: str) -> None:
        """Type into fields. Names that are not fields of an agent are fields of its config."""
        self.click("type", texts={self.name(field): text for field, text in texts.items()})

    def name(self, field: str) -> str:
        return field if field in self.texts else f"config.{field}"

    def take(self) -> None:
        """Apply the messages that came since."""
        for message in self.form.sent[self._read :]:
            if message["kind"] == "form" or (message["kind"] == "all" and message["view"] == self.view):
                self.texts |= message["texts"]
                self.parts |= message["parts"]
        self._read = len(self.form.sent)

    def note(self, *path: str) -> str:
        """The note below a field."""
        return str(self.parts["notes"].get(id_of(path), ("", ""))[1])

    @property
    def errors(self) -> set[str]:
        """The fields whose notes are errors."""
        return {name for name, (kind, _) in self.parts["notes"].items() if kind == "error"}

    @property
    def status(self) -> str:
        return str(self.parts["status"].get("text", ""))

    @property
    def shown(self) -> set[str]:
        """The fields that are not hidden."""
        return self.texts.keys() - {*self.parts["hidden"]}
