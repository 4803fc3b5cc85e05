"""Order: the run that a cell or `%agent ask` requests, and the prompt made from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

from msgspec import Struct

from ..core.errors import ConfigError
from ..core.events import Priority
from ..core.limits import NO_LIMITS, RunLimits
from ..core.messages import Image
from ..engine.prompts import check_marks, is_empty
from ..engine.runs import Run
from .cells.interpolate import image, interpolate, unfinished
from .cells.misspelt import misspelt

Parts = list[str | Image | Run]


class Order(Struct, frozen=True, kw_only=True):
    """A request for one run, from a cell or from `%agent ask`."""

    name: str
    """The agent's name."""
    prompt: str
    out: str | None = None
    """The variable to bind the run to."""
    block: bool = False
    """Whether the cell waits for the run."""
    priority: Priority = "normal"
    config: Mapping[str, Any] = {}
    """Values of AIConfig for this run only."""
    limits: RunLimits = NO_LIMITS
    interpolate: bool = True
    """Whether `{{ … }}` in the prompt is evaluated."""
    dry_run: bool = False
    fresh: bool = False
    """Whether the run gets no history, and leaves nothing in it."""
    images: Sequence[str] = ()
    """Expressions or paths of images."""
    schema: str | None = None
    """The name of the answer's type. None: that of the agent."""
    raw: bool = False
    """Whether a typed answer is shown as the text that the model wrote."""

    def check(self, root: str) -> None:
        """Check what can be checked without evaluating the prompt.

        Args:
            root: the magic's name.

        Raises:
            ConfigError: the prompt contains a second cell magic, or `out` is not a variable name.
        """
        if re.search(rf"^%%{root}\b", self.prompt, re.MULTILINE):
            raise ConfigError(f"a second %%{root} in this cell would be sent as text: move it to a cell of its own")
        if self.out is not None and (not self.out.isidentifier() or iskeyword(self.out)):
            raise ConfigError(f"-o {self.out!r} is not a variable name")

    def notes(self, namespace: Mapping[str, Any]) -> list[str]:
        """Return a line about each part of the prompt that probably sends another text than is meant."""
        if not self.interpolate:
            return []
        return [*misspelt(self.prompt, namespace), *unfinished(self.prompt, namespace)]

    def parts(self, namespace: Mapping[str, Any], root: str, tell: Callable[[str], object]) -> Parts:
        """Return the prompt with its expressions evaluated, and its images.

        Args:
            namespace: the user's variables.
            root: the magic's name.
            tell: called with a line about each table of which a part is left out.

        Raises:
            ConfigError: an expression or an image cannot be evaluated, or the prompt is empty or has the mark of a run.
        """
        parts: Parts = interpolate(self.prompt, namespace, tell) if self.interpolate else [self.prompt]
        parts += [image(word, namespace) for word in self.images]
        if is_empty(parts):
            raise ConfigError(
                f"empty prompt: write it in the lines below %%{root} {self.name}, or in one line: "
                f"%{root} ask {self.name} PROMPT"
            )
        check_marks(parts)
        return parts
