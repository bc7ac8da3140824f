"""Where a page is from: what browsers send as `Origin`, what may be allowed, and which pages are a node's own.

An origin is a scheme, a host and a port. Hosts are compared as browsers spell them: lower case, in punycode, addresses
in their one form; the port that a scheme has by itself is left out. `null` is the origin of pages that have none, and
applications have schemes of their own (`capacitor://localhost`).
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import idna
from typing_extensions import override

from collab_server.domain.addresses import Addresses

ANY: Final = "*"
ANY_PORT: Final = ":*"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
LONGEST: Final = 400
"""So many characters an origin, or a host, has at most."""
MOST_NAMED: Final = 8
"""So many values of a header are looked at."""

_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,63})://([^/?#@\\\s]*?)(?::([0-9]{1,5}))?/?")
_AUTHORITY = re.compile(r"([^/?#@\\\s]+?)(?::([0-9]{1,5}))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_OPAQUE = re.compile(r"[!$&'()+,;=0-9A-Za-z._~-]*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NEVER_SENT: Final = {
    "ws": "http://",
    "wss": "https://",
    "data": "null",
    "blob": "null",
    "about": "null",
    "javascript": "null",
}
"""Schemes that no `Origin` has, and what browsers send instead."""

EXPECTED: Final = (
    "expected an origin (scheme, host and port only) like https://dashboards.example.com, https://*.example.com,"
    " http://localhost:*, capacitor://localhost, null, or *"
)


class NoOrigin(ValueError):
    """It is none; says what was expected, without repeating what was given."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One origin; `port` is None where it is the scheme's own. The host may begin with `*.` where many are meant."""

    scheme: str
    host: str
    port: int | None = None

    @override
    def __str__(self) -> str:
        if self == NULL:
            return "null"
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def port_number(self) -> int | None:
        """The port, also where it is the scheme's own."""
        return DEFAULT_PORTS.get(self.scheme) if self.port is None else self.port


NULL: Final = Origin("null", "")


def parse(text: str) -> Origin:
    """The origin that browsers mean by this text. Raises `NoOrigin`."""
    if text == "null":
        return NULL
    parts = _PARTS.fullmatch(text) if len(text) <= LONGEST else None
    if parts is None:
        raise NoOrigin(EXPECTED)
    scheme, host = parts[1].lower(), parts[2]
    if scheme in DEFAULT_PORTS:
        host = canonical_host(host)
    elif _OPAQUE.fullmatch(host) is None:
        raise NoOrigin(EXPECTED)
    port = _port_of(parts[3])
    return Origin(scheme, host, None if port == DEFAULT_PORTS.get(scheme) else port)


def parse_allowed(text: str) -> str:
    """One entry of what is allowed, as it is compared: an origin, one whose host is `*.` and a domain, one on this
    machine whose port is `*`, `null` or `*`.

    Raises `NoOrigin`, also for what no browser ever sends.
    """
    if text == ANY:
        return text
    scheme, _, rest = text.partition("://")
    if (sent := _NEVER_SENT.get(scheme.partition(":")[0].lower())) is not None:
        raise NoOrigin(f"is the origin of no page: browsers send {sent} instead")
    if rest.startswith("*."):
        domain = parse(f"{scheme}://{rest[2:]}")
        if domain.scheme not in DEFAULT_PORTS or _is_address(domain.host):
            raise NoOrigin(
                "has *. before what is no domain; it stands for subdomains of http and https alone"
            )
        return str(Origin(domain.scheme, f"*.{domain.host}", domain.port))
    if rest.endswith(ANY_PORT):
        machine = parse(f"{scheme}://{rest.removesuffix(ANY_PORT)}")
        if machine.scheme not in DEFAULT_PORTS or not _is_loopback(machine.host):
            raise NoOrigin(
                "has * as its port; it stands for the ports of localhost, 127.0.0.1 and [::1] alone"
            )
        return f"{machine.scheme}://{machine.host}{ANY_PORT}"
    if "*" in rest:
        raise NoOrigin("may have * as the whole first label of the host only, like https://*.example.com")
    return str(parse(text))


def canonical_host(text: str) -> str:
    """A host of http or https as browsers spell it; IPv6 in brackets. Raises `NoOrigin`."""
    if text.startswith("["):
        try:
            if not text.endswith("]") or "%" in text:
                raise NoOrigin(EXPECTED)
            return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
        except ipaddress.AddressValueError:
            raise NoOrigin("has a wrong IPv6 address as host") from None
    if not text.isascii():
        text = _punycode(text)
    text = text.lower()
    if len(text) > 254 or _NAME.fullmatch(text) is None:
        raise NoOrigin(EXPECTED)
    if _NUMBER.fullmatch(text.rstrip(".").rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ipaddress.AddressValueError:
            raise NoOrigin("has a wrong IPv4 address as host: write its four numbers") from None
    return text


def _punycode(host: str) -> str:
    """A name of any script in ASCII, as browsers put it (UTS 46, not transitional)."""
    try:
        labels = idna.uts46_remap(host, std3_rules=False, transitional=False).split(".")
        return ".".join(
            label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels
        )
    except UnicodeError:
        raise NoOrigin("has a host that is no name") from None


def _port_of(text: str | None) -> int | None:
    if text is None:
        return None
    if int(text) > 65535:
        raise NoOrigin("has a wrong port; expected at most 65535")
    return int(text)


def _is_address(host: str) -> bool:
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback


class AllowedOrigins:
    """Those that are allowed by name.

    Args:
        entries: as `parse_allowed` gives them.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = frozenset(entries)
        self.allows_any = ANY in self._entries

    def __contains__(self, origin: Origin) -> bool:
        if self.allows_any or str(origin) in self._entries:
            return True
        host = origin.host
        if f"{origin.scheme}://{host}{ANY_PORT}" in self._entries:
            return True
        while dot := host.find(".") + 1:  # a host has at most 127 labels
            host = host[dot:]
            if str(Origin(origin.scheme, f"*.{host}", origin.port)) in self._entries:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Reached:
    """How browsers reach a node, as far as a request tells: each host with its port, if it names one, the ports that
    proxies listen on, and whether by https alone."""

    hosts: tuple[tuple[str, int | None], ...]
    ports: frozenset[int]
    is_https: bool

    def is_at(self, origin: Origin) -> bool:
        """Whether pages of this origin are the node's own.

        Who ends TLS, or listens on another port, does not always say so: a host without a port, or with 80, is taken
        to be at the own port of either scheme.
        """
        number = origin.port_number
        if origin.scheme not in DEFAULT_PORTS or (self.is_https and origin.scheme == "http"):
            return False
        for host, port in self.hosts:
            if host == origin.host and (
                number in self.ports or number == port or (port in (None, 80) and origin.port is None)
            ):
                return True
        return False

    def is_beside(self, origin: Origin, neighbour: Origin) -> bool:
        """Whether this is what `neighbour` has for an origin at the hosts by which the node is reached."""
        is_like = (origin.scheme, origin.port) == (neighbour.scheme, neighbour.port)
        return is_like and any(host == origin.host for host, _ in self.hosts)


def reached_by(
    headers: Iterable[tuple[bytes, bytes]], scheme: str, client: tuple[str, int] | None, proxies: Addresses
) -> Reached:
    """What a request says of how the node is reached: `Host`, and of trusted proxies `X-Forwarded-Host`, `-Proto` and
    `-Port`.

    Args:
        headers: names in lower case, and values.
        scheme: by which it came: http, https, ws or wss.
        client: address and port; whoever has been put there by `X-Forwarded-For` of a trusted proxy has port 0.
        proxies: tells who is trusted.
    """
    said: dict[bytes, list[str]] = {
        b"host": [],
        b"x-forwarded-host": [],
        b"x-forwarded-proto": [],
        b"x-forwarded-port": [],
    }
    for name, value in headers:
        if name in said and len(said[name]) < MOST_NAMED:
            said[name] += [
                part.strip() for part in value.decode("latin-1").split(",", MOST_NAMED)[:MOST_NAMED]
            ]
    address, port = client or ("", 1)
    is_by_proxy = port == 0 or proxies.is_proxy(address)
    names, protocols, ports = said[b"host"], [scheme], frozenset[int]()
    if is_by_proxy:
        names = names + said[b"x-forwarded-host"]
        protocols = said[b"x-forwarded-proto"] or protocols
        ports = frozenset(
            int(text)
            for text in said[b"x-forwarded-port"]
            if text.isascii() and text.isdigit() and len(text) < 6
        )
    hosts = tuple(host for name in names if (host := _host_and_port(name)) is not None)
    return Reached(hosts, ports, all(protocol.lower() in ("https", "wss") for protocol in protocols))


@functools.lru_cache(1024)
def _host_and_port(text: str) -> tuple[str, int | None] | None:
    parts = _AUTHORITY.fullmatch(text) if len(text) <= LONGEST else None
    try:
        return None if parts is None else (canonical_host(parts[1]), _port_of(parts[2]))
    except NoOrigin:
        return None
