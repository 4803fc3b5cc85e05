"""Turn failures of calls into ModelErrors, with the cause and the next step. They never contain a key."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..config.aiconfig import AIConfig, own_address
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS, Provider, public
from ..core.errors import ConfigError, LengthExceeded, ModelError
from ..core.messages import Finish, OutputMode, replace
from .reading import REASONS, REFUSAL_LIMIT
from .words import Said, said

_MESSAGE_LIMIT = 300
#: The most characters of a provider's message that are read: more than may be shown, since parts are removed.
_READ = 2_000
#: The common names of finish reasons.
_KNOWN = frozenset(REASONS.values())
#: HTTP errors besides 5xx that are worth a retry; 498 is Groq's word for a lack of capacity.
_PASSING = (408, 409, 425, 429, 498)
#: HTTP errors that are sent where the request itself is at fault; and where a server puts such faults under a 500.
_OF_THE_REQUEST = (400, 413, 422, 500)
#: How servers report that the prompt is too long.
_TOO_LONG = re.compile(
    r"context length|context_length(?!['\"`])|context window|ContextWindow|context[_ ]size|context limit"
    r"|too many (?:input )?tokens"
    r"|(?:prompt|input|messages?) (?:is|are) too long|string too long|reduce the length of the"
    r"|maximum (?:number of )?input tokens|maximum (?:prompt|model|input) length|input tokens exceed"
    r"|input token count|exceeds the maximum number of tokens|max_new_tokens`? must be"
    r"|tokens? limit(?: exceeded|:)|tokens_limit_reached|total tokens limit|token count of \d+ exceeds"
    r"|number of tokens (?:\(\d+\) )?exceeds|prompt length \d+ is greater|must have less than \d+ tokens"
    r"|max size: \d+ tokens|range of input length|max_tokens must be at least 1, got -|\bprompt \u8d85\u957f",
    re.I,
)
#: The codes, as text, of errors within replies that the request itself is at fault for.
_OF_THE_CALLER = (
    "invalid_request_error",
    "invalid_request",
    "not_found_error",
    "authentication_error",
    "permission_error",
)
#: How servers report what they will never do, though with a 500.
_UNFIT = re.compile(r"\bnot support|\bunsupported\b|\bnot implemented\b|\brequires? --", re.I)
#: How providers report that they do not take a schema for the answer, or a tool for it.
_OF_THE_FORM = re.compile(
    r"response_?format|(?:json|response|invalid|output)[_ ]schema|structured.?output|grammar|requested parameters"
    r"|tool[_ ](?:choice|use|calling)|function[_ ]?call(?:ing|s)?\b|\btools?\b.{0,40}support|support.{0,40}\btools?\b",
    re.I,
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
    mode: OutputMode | None = None
    """How the form of the answer was asked for; None where it was not."""

    def refused(self, status: int, answer: Said, retry_after_s: float | None = None) -> ModelError:
        """Return the error for an HTTP error.

        Args:
            status: the HTTP status.
            answer: what the provider said.
            retry_after_s: the seconds that the provider asks to wait.
        """
        text = answer.text[:_READ]
        reason = self.shown(text)
        if status in _OF_THE_REQUEST and is_too_long(answer):
            return self.too_long(f"the call was refused ({status})", answer, status)
        unfit = status in (500, 501) and _UNFIT.search(text)
        retryable = status in _PASSING or (status >= 500 and not unfit)
        remedy = ""
        if status in (401, 403):
            what = f"the provider refused {self._access()} ({status})."
            # The provider's message may echo the key or a part of it.
            reason = ""
            remedy = "Check that the key is complete and may use this model; it is read again at each call."
        elif 300 <= status < 400:
            what = f"the server redirects calls elsewhere, to another address ({status})."
            reason = ""
            remedy = f"Check {self._setting}: redirects are not followed, since they would pass on the key."
        elif status == 404:
            what, remedy = "no such model or address (404).", f"Check the model's name and {self._setting}."
            remedy = self._other_mode(text) or remedy
        elif status == 402 or (status == 429 and _BROKE.search(text)):
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
            if unfit:
                remedy = "The server cannot do what this call asks for: choose another model, or ask without it."
            remedy = self._other_mode(text) or remedy
        return self._error(what, remedy, reason, retryable=retryable, status=status, retry_after_s=retry_after_s)

    def _other_mode(self, text: str) -> str:
        """Return the remedy for a call whose way to ask for an answer is refused; empty for other refusals."""
        if self.mode in (None, "prompt") or not _OF_THE_FORM.search(text):
            return ""
        others = "tool or prompt" if self.mode == "native" else "prompt"
        return (
            f"The answer's form was asked for by output_mode {self.mode}, which this model may not have: set "
            f"output_mode: {others}, for example by %agent config NAME output_mode=prompt."
        )

    def too_long(self, what: str, answer: Said, status: int | None = None) -> LengthExceeded:
        """Return the error for a prompt that is longer than the model's context, as the provider reported it."""
        remedy = "Shorten the prompt, or choose a model with a larger context."
        what = f"{what}: the prompt is too long."
        error = self._error(what, remedy, self.shown(answer.text), LengthExceeded, retryable=False, status=status)
        assert isinstance(error, LengthExceeded)
        error.context_tokens, error.prompt_tokens = answer.context_tokens, answer.prompt_tokens
        return error

    @property
    def _setting(self) -> str:
        """The name of the setting that has the address."""
        return own_address(self.endpoint, self.keys)[1] or "api_base"

    @property
    def _address(self) -> str:
        """The address that is called; empty if only LiteLLM knows it."""
        return own_address(self.endpoint, self.keys)[0] or PROVIDERS.get(self.endpoint.provider, Provider()).wire or ""

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
        own, variable = own_address(self.endpoint, self.keys)
        address = public(self._address) or "the provider"
        if variable:
            address += f" (from {variable})"
        what = f"the connection to {address} failed or broke off."
        check = "Check the network"
        if not sent:
            what = f"nothing answers at {address}: the connection failed."
            if own:
                check = f"Check {self._setting}, and that its server runs"
            elif PROVIDERS.get(self.endpoint.provider, Provider()).address:  # a server on this machine
                check = f"Start its server, or set {self._setting} to its address"
        return self._error(
            what, f"{check}, then submit again.", self.shown(text), retryable=True, unsent=not sent, named=True
        )

    def broken(self, text: str) -> ModelError:
        """Return the error for a reply that cannot be read, or may be incomplete."""
        what = f"the reply cannot be read: {self.shown(text)}."
        return self._error(what, f"Submit again, or check {self._setting}.", retryable=True)

    def unreadable(self, text: str) -> ModelError:
        """Return the error for a reply that LiteLLM fails to read, and would fail to read again."""
        what = f"LiteLLM failed to read the reply: {self.shown(text)}."
        return self._error(what, "Choose another model, or transport: wire where it is possible.", retryable=False)

    def unfit(self, text: str) -> ModelError:
        """Return the error for a call that cannot be made, for example because a package is missing."""
        return self._error(f"the call cannot be made: {self.shown(text)}", retryable=False, unsent=True)

    def reported(self, text: str, code: object) -> ModelError:
        """Return the error for a failure that the provider reported within a reply.

        Args:
            text: the provider's message.
            code: the provider's code, which may be an HTTP status.
        """
        what = f"the provider reported an error within the reply ({self.shown(str(code))})"
        answer = replace(said(text), codes=str(code))
        if is_too_long(answer):
            return self.too_long(what, answer)
        word = str(code)
        number = int(word) if re.fullmatch(r"[0-9]{3}", word) else 0
        refused = (400 <= number < 500 and number not in _PASSING) or word in _OF_THE_CALLER
        refused = refused or bool(_UNFIT.search(text[:_READ]))
        remedy = "Submit again."
        if refused:
            remedy = self._other_mode(text)
        return self._error(f"{what}.", remedy, self.shown(text), retryable=not refused)

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
        named: bool = False,
    ) -> ModelError:
        """Return an error. Its message has the address that was called, unless `what` does (`named`)."""
        model = self.endpoint.model or ""
        what = f"{model}: {what}"
        server = ""
        own, variable = own_address(self.endpoint, self.keys)
        if reason:
            reason = f"Reason: {reason}"
        if own and not named:
            server = f"Server: {public(own)}{variable and f' (from {variable})'}."
        return kind(
            " ".join(filter(None, (what, remedy, server, reason))),
            model=model,
            retryable=retryable,
            status=status,
            retry_after_s=retry_after_s,
            unsent=unsent,
            what=" ".join(filter(None, (what, reason))),
        )


def is_too_long(answer: Said) -> bool:
    """Whether a provider says that the prompt is longer than the model's context."""
    return bool(_TOO_LONG.search(f"{answer.text[:_READ]} {answer.codes[:_READ]}"))


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
