"""Destinations: where prompts and keys of a config really go, and how an address is shown to a person."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from ..core.text import visible
from .aiconfig import AIConfig, own_address
from .keys import Keys, is_literal, variable_of
from .providers import PROVIDERS, Provider, public

_WARNING = "⚠"


class Destination(Struct, frozen=True):
    """Where the calls of one config go."""

    model: str
    address: str
    """The address of the server, as it is shown; without one, the name of the provider."""
    source: str
    """The variable that the address comes from: `env OPENAI_API_BASE`; empty for others."""
    key: str
    """The key that is sent: `OPENAI_API_KEY (env OPENAI_API_KEY)`."""

    @property
    def is_offline(self) -> bool:
        """Whether nothing is sent anywhere."""
        return self.model.startswith("offline/")

    def __str__(self) -> str:
        if self.is_offline:
            return f"{visible(self.model)}: prompts stay in this process"
        source = self.source and f" (from {self.source})"
        return f"{visible(self.model)}: prompts and {self.key} go to {self.address}{source}"


def destination(config: AIConfig, keys: Keys) -> Destination:
    """Return where the calls of a config go.

    Args:
        config: the config of a run, with all its layers.
        keys: where keys and addresses are looked up.
    """
    address, source = address_of(config, keys)
    if address:
        address = shown_address(address, config.provider)
    return Destination(config.model or "", address or visible(config.provider), source, _key(config, keys))


def address_of(config: AIConfig, keys: Keys) -> tuple[str, str]:
    """Return the address of a config's server, and its source if that is the environment; empty if only LiteLLM knows.

    No file of a project sets a variable that is used here.
    """
    address, variable = own_address(config, keys)
    if address:
        return address, variable and f"env {variable}"
    return PROVIDERS.get(config.provider, Provider()).wire or "", ""


def shown_address(address: str, provider: str = "") -> str:
    """Return an address as a person can judge it: its host as it is looked up, and a mark if it may deceive.

    Args:
        address: the address of a server.
        provider: the provider of the model; an address that is not its own, nor of this machine, is marked.
    """
    address = public(address)
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        server = _server(parts)
    except ValueError:
        return f"{visible(address)} ({_WARNING} not an address)"
    looked_up, mark = _ascii(host)
    if mark:
        port = parts.netloc.rpartition(":")[2] if parts.netloc.rpartition(":")[2].isdecimal() else ""
        address = f"{parts.scheme}://{looked_up}{port and f':{port}'}{parts.path}"
        return f"{visible(address)} ({_WARNING} {mark})"
    own = urlsplit(PROVIDERS.get(provider, Provider()).wire or "")
    if own.hostname and server != _server(own) and not is_here(host):
        return f"{visible(address)} ({_WARNING} not {provider}'s own server)"
    return visible(address)


def _server(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return what decides which server is called, and whether a key goes there encrypted."""
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _ascii(host: str) -> tuple[str, str]:
    """Return a host as it is looked up, and what a person must know of it; empty for an ordinary one."""
    import idna  # slow to import, and rarely needed

    if host.isascii() and "xn--" not in host:
        return host, ""
    try:
        if host.isascii():
            return host, f"it may be displayed as {visible(idna.decode(host))}"
        return idna.encode(host, uts46=True).decode("ascii"), f"written {visible(host)}, with characters beyond ASCII"
    except UnicodeError:  # idna's errors are of this class
        return host.encode("ascii", "backslashreplace").decode(), "not a valid name of a host"


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _key(config: AIConfig, keys: Keys) -> str:
    if is_literal(config.api_key):
        return "a literal key in the file"
    variables = PROVIDERS.get(config.provider, Provider()).variables
    if variable := variable_of(config.api_key):
        variables = (variable,)
    elif config.provider not in PROVIDERS and config.api_base:
        return f"no key, but perhaps a sign-in of this machine for {visible(config.provider)},"
    elif config.provider not in PROVIDERS:
        return f"the key or sign-in that LiteLLM finds for {visible(config.provider)}"
    if not variables:
        return "no key"
    variable = next((name for name in variables if keys.get(name)), variables[0])
    if not keys.get(variable):
        return f"{variable} (not set)"
    source = keys.source(variable)
    if source == f"env {variable}":
        source = "set"
    return f"{variable} ({visible(source)})"
