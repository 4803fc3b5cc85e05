"""The one endpoint where what goes wrong in a call becomes an error of ours: what failed, and what helps. No key is ever in it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..config.aiconfig import AIConfig
from ..config.keys import Key, Keys
from ..core.errors import ConfigError, LengthExceeded, ModelError

_MESSAGE_LIMIT = 300
#: How much of what a provider says is looked at: all that may be shown, and what is cut away from before it.
_READ = 2_000
#: HTTP errors that may pass by themselves, besides the provider's own.
_PASSING = (408, 409, 425, 429)
#: How providers say, in a 400, that the prompt is too long.
_TOO_LONG = re.compile(
    r"context_length_exceeded|context length|context window|too many tokens|prompt is too long", re.I
)
#: What was sent, and is of no use in a message.
_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=]*")
#: Name and password in an address, a proxy's say.
_USER = re.compile(r"://[^/@\s'\"]+@")
#: How they say, in a 429, that it is not the rate but the money.
_BROKE = re.compile(r"insufficient_quota|current quota|(?:insufficient|no|not enough|out of|more) credit", re.I)
#: What a body says that is a page for people, and not a reply to a program.
_PAGE = re.compile(r"\s*<(?:!doctype|html)", re.I)


@dataclass(frozen=True, slots=True)
class Failures:
    """The errors of the calls of one model, with one key."""

    endpoint: AIConfig
    keys: Keys
    key: Key

    def refused(self, status: int, text: str, retry_after_s: float | None = None) -> ModelError:
        """The provider answered with an HTTP error.

        Args:
            status: the HTTP status.
            text: what it said with it.
            retry_after_s: how long it asks to wait.
        """
        said = self.shown(text)
        retryable = status in _PASSING or status >= 500
        kind, remedy = ModelError, ""
        if status in (401, 403):
            # What the provider says may echo the key, whole or in part.
            what = f"the provider refused {f'the key from {self.key.variable}' if self.key.variable else 'access'} ({status})."
            remedy, said = "Check that the key is complete and may use this model; it is read anew at each call.", ""
        elif 300 <= status < 400:
            what = f"the server sends calls elsewhere ({status})."
            remedy, said = "Check api_base: a key is not sent after a redirect.", ""
        elif status == 404:
            what, remedy = "no such model or address (404).", "Check the model's name and api_base."
        elif status == 402 or (status == 429 and _BROKE.search(text[:_READ])):
            retryable = False
            what, remedy = f"no credit left ({status}).", "Add some at the provider, or choose another model."
        elif status == 429:
            wait = f" It asks to wait {retry_after_s:,.0f} s." if retry_after_s else ""
            what, remedy = f"too many requests, or no credit left (429).{wait}", "Submit again later."
        elif retryable:
            what, remedy = f"the provider failed ({status}).", "Submit again."
        else:
            what = f"the call was refused ({status})."
            remedy = "Check the model's name, and the fields of its config: %agent config shows them."
            if _TOO_LONG.search(text[:_READ]):
                kind, remedy = LengthExceeded, "Shorten the prompt, or choose a model with a larger context."
        return self._error(what, remedy, said, kind, retryable=retryable, status=status, retry_after_s=retry_after_s)

    def unreached(self, text: str, *, sent: bool) -> ModelError:
        """There was no connection, or it broke off.

        Args:
            text: what is known of it.
            sent: whether the provider may have the call, and bill it.
        """
        where = self.endpoint.api_base or "the provider"
        what, check = f"the connection to {where} failed or broke off.", "Check the network"
        if not sent:
            what = f"nothing answers at {where}: the connection failed."
            check = "Check api_base, and that its server runs" if self.endpoint.api_base else check
        return self._error(what, f"{check}, then submit again.", self.shown(text), retryable=True, unsent=not sent)

    def broken(self, text: str) -> ModelError:
        """The reply is none that can be read, or trusted."""
        what = f"the reply cannot be read: {self.shown(text)}."
        return self._error(what, "Submit again, or check api_base.", retryable=True)

    def unfit(self, text: str) -> ModelError:
        """The call cannot be made at all, for want of a package say."""
        return self._error(f"the call cannot be made: {self.shown(text)}", retryable=False, unsent=True)

    def told(self, text: str, code: object) -> ModelError:
        """The provider said in the middle of a reply that it failed.

        Args:
            text: its words.
            code: the HTTP status that it names, if it is one.
        """
        refused = isinstance(code, int) and 400 <= code < 500 and code not in _PASSING
        what = f"the provider broke the reply off ({self.shown(str(code))})."
        return self._error(what, "" if refused else "Submit again.", self.shown(text), retryable=not refused)

    def shown(self, text: str) -> str:
        """What a provider said, in one line and short, without the key."""
        if _PAGE.match(text):
            return "it answered with a web page"
        text = _USER.sub("://[redacted]@", self.keys.redact(text[:_READ], self.key))
        text = " ".join(_IMAGE.sub("[an image]", text).split())
        return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "…"

    def _error(
        self,
        what: str,
        remedy: str = "",
        said: str = "",
        kind: type[ModelError] = ModelError,
        *,
        retryable: bool,
        status: int | None = None,
        retry_after_s: float | None = None,
        unsent: bool = False,
    ) -> ModelError:
        model = self.endpoint.model or ""
        reason = said and f"Reason: {said}"
        return kind(
            " ".join(filter(None, (f"{model}: {what}", remedy, reason))),
            model=model,
            retryable=retryable,
            status=status,
            retry_after_s=retry_after_s,
            unsent=unsent,
            what=" ".join(filter(None, (f"{model}: {what}", reason))),
        )


def no_key(endpoint: AIConfig, *variables: str) -> ConfigError:
    """A call cannot be made without these variables."""
    return ConfigError(
        f"{endpoint.model} needs a key: set {' and '.join(variables)}, in a cell by "
        f'os.environ["{variables[-1]}"] = getpass.getpass(); or write api_key: os.environ/NAME into config/main.yaml, '
        f"under {endpoint.provider}: beside its model, with the variable that holds it. Nothing was sent."
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply's headers ask to wait: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        said = headers.get("retry-after") or ""
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", said):
            return float(said)
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time()) if said else None
    except (ValueError, OverflowError):
        return None
