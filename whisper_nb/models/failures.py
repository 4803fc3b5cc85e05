"""Turn failures of calls into ModelErrors, with the cause and the next step. They never contain a key."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..config.aiconfig import AIConfig
from ..config.keys import Key, Keys
from ..core.errors import ConfigError, LengthExceeded, ModelError
from ..core.messages import Finish, replace
from .reading import REASONS, REFUSAL_LIMIT

_MESSAGE_LIMIT = 300
#: The most characters of a provider's message that are read: more than may be shown, since parts are removed.
_READ = 2_000
#: The common names of finish reasons.
_KNOWN = frozenset(REASONS.values())
#: HTTP errors besides 5xx that are worth a retry.
_PASSING = (408, 409, 425, 429)
#: How providers report, with status 400, that the prompt is too long.
_TOO_LONG = re.compile(
    r"context_length_exceeded|context length|context window|too many tokens|prompt is too long", re.I
)
#: Image data, which providers echo.
_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=]*")
#: The name and password in an address, for example of a proxy.
_USER = re.compile(r"://[^/@\s'\"]+@")
#: How providers report, with status 429, that the credit is used up.
_BROKE = re.compile(r"insufficient_quota|current quota|(?:insufficient|no|not enough|out of|more) credit", re.I)
#: The beginning of a web page.
_PAGE = re.compile(r"\s*<(?:!doctype|html)", re.I)


@dataclass(frozen=True, slots=True)
class Failures:
    """The errors of one model's calls with one key."""

    endpoint: AIConfig
    keys: Keys
    key: Key

    def refused(self, status: int, text: str, retry_after_s: float | None = None) -> ModelError:
        """Return the error for an HTTP error.

        Args:
            status: the HTTP status.
            text: the provider's message.
            retry_after_s: the seconds that the provider asks to wait.
        """
        reason = self.shown(text)
        retryable = status in _PASSING or status >= 500
        kind, remedy = ModelError, ""
        if status in (401, 403):
            what = f"the provider refused {self._access()} ({status})."
            # The provider's message may echo the key or a part of it.
            reason = ""
            remedy = "Check that the key is complete and may use this model; it is read again at each call."
        elif 300 <= status < 400:
            what = f"the server redirects calls to another address ({status})."
            reason = ""
            remedy = "Check api_base: redirects are not followed, since they would pass on the key."
        elif status == 404:
            what, remedy = "no such model or address (404).", "Check the model's name and api_base."
        elif status == 402 or (status == 429 and _BROKE.search(text[:_READ])):
            retryable = False
            what, remedy = f"no credit left ({status}).", "Add some at the provider, or choose another model."
        elif status == 429:
            what, remedy = "too many requests, or no credit left (429).", "Submit again later."
            if retry_after_s:
                what += f" It asks to wait {retry_after_s:,.0f} s."
        elif retryable:
            what, remedy = f"the provider failed ({status}).", "Submit again."
        else:
            what = f"the call was refused ({status})."
            remedy = "Check the model's name, and the fields of its config: %agent config shows them."
            if _TOO_LONG.search(text[:_READ]):
                kind = LengthExceeded
                remedy = "Shorten the prompt, or choose a model with a larger context."
        return self._error(what, remedy, reason, kind, retryable=retryable, status=status, retry_after_s=retry_after_s)

    def _access(self) -> str:
        if self.key.variable:
            return f"the key from {self.key.variable}"
        return "access"

    def unreached(self, text: str, *, sent: bool) -> ModelError:
        """Return the error for a connection that failed or broke off.

        Args:
            text: the reason.
            sent: whether the provider may have received the call, and bill it.
        """
        address = self.endpoint.api_base or "the provider"
        what = f"the connection to {address} failed or broke off."
        check = "Check the network"
        if not sent:
            what = f"nothing answers at {address}: the connection failed."
            if self.endpoint.api_base:
                check = "Check api_base, and that its server runs"
        return self._error(what, f"{check}, then submit again.", self.shown(text), retryable=True, unsent=not sent)

    def broken(self, text: str) -> ModelError:
        """Return the error for a reply that cannot be read, or may be incomplete."""
        what = f"the reply cannot be read: {self.shown(text)}."
        return self._error(what, "Submit again, or check api_base.", retryable=True)

    def unfit(self, text: str) -> ModelError:
        """Return the error for a call that cannot be made, for example because a package is missing."""
        return self._error(f"the call cannot be made: {self.shown(text)}", retryable=False, unsent=True)

    def reported(self, text: str, code: object) -> ModelError:
        """Return the error for a failure that the provider reported within a reply.

        Args:
            text: the provider's message.
            code: the provider's code, which may be an HTTP status.
        """
        refused = isinstance(code, int) and 400 <= code < 500 and code not in _PASSING
        what = f"the provider reported an error within the reply ({self.shown(str(code))})."
        remedy = "Submit again."
        if refused:
            remedy = ""
        return self._error(what, remedy, self.shown(text), retryable=not refused)

    def checked(self, finish: Finish) -> Finish:
        """Return the end of a reply, whose reason is shown if it is not a known one: it may be any text."""
        if finish.reason in _KNOWN:
            return finish
        return replace(finish, reason=self.shown(finish.reason))

    def shown(self, text: str) -> str:
        """Return a provider's message as one short line without keys."""
        if _PAGE.match(text):
            return "it answered with a web page"
        # Whole secrets first: a cut could leave a part of one. The search for parts takes too long for all of it.
        text = self.keys.redact(text[:REFUSAL_LIMIT])[:_READ]
        text = _USER.sub("://[redacted]@", self.keys.redact(text, self.key))
        text = " ".join(_IMAGE.sub("[an image]", text).split())
        if len(text) > _MESSAGE_LIMIT:
            return text[: _MESSAGE_LIMIT - 1] + "…"
        return text

    def _error(
        self,
        what: str,
        remedy: str = "",
        reason: str = "",
        kind: type[ModelError] = ModelError,
        *,
        retryable: bool,
        status: int | None = None,
        retry_after_s: float | None = None,
        unsent: bool = False,
    ) -> ModelError:
        model = self.endpoint.model or ""
        what = f"{model}: {what}"
        if reason:
            reason = f"Reason: {reason}"
        return kind(
            " ".join(filter(None, (what, remedy, reason))),
            model=model,
            retryable=retryable,
            status=status,
            retry_after_s=retry_after_s,
            unsent=unsent,
            what=" ".join(filter(None, (what, reason))),
        )


def no_key(endpoint: AIConfig, *variables: str) -> ConfigError:
    """Return the error for a call whose key is missing from these variables."""
    return ConfigError(
        f"{endpoint.model} needs a key: set {' and '.join(variables)}, in a cell by "
        f'os.environ["{variables[-1]}"] = getpass.getpass(); or write api_key: os.environ/NAME into config/main.yaml, '
        f"under {endpoint.provider}: beside its model, with the variable that holds it. Nothing was sent."
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that headers ask to wait: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after") or ""
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value)
        if value:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        pass
    return None
