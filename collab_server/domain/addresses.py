"""Who a connection comes from: the client's address, believed of proxies that are trusted and of nobody else."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence

IPV6_PREFIX = 64
"""Whoever has one address of IPv6 has all of its /64."""
LONGEST = 64


class Addresses:
    """Tells clients' addresses.

    Args:
        trusted: addresses and networks (`10.0.0.0/8`) of proxies, other names as they are, or `*` for everybody.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusts_all = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._names: set[str] = set()
        for name in trusted:
            self._trusts_all |= name == "*"
            try:
                self._networks.append(ipaddress.ip_network(name))
            except ValueError:
                self._names.add(name)
        self.is_proxy = functools.lru_cache(4096)(self._is_proxy)

    def _is_proxy(self, host: str) -> bool:
        """Whether this is a trusted proxy's address."""
        if self._trusts_all or host in self._names:
            return True
        address = _parsed(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address: `peer`, or what trusted proxies say in these values of `X-Forwarded-For`.

        Each proxy adds to the end whom it was asked by, so the last one that is no proxy of ours is the client;
        what stands before it, anybody may have written.
        """
        if not forwarded or not self.is_proxy(peer):
            return peer
        hosts = [_host(part.strip()) for value in forwarded for part in value.split(",")]
        if self._trusts_all:
            return hosts[0] or peer
        for host in reversed(hosts):
            if len(host) > LONGEST or not self.is_proxy(host):
                return host[:LONGEST] or peer
        return hosts[0]


@functools.lru_cache(4096)
def network_of(address: str) -> str:
    """What counts as one address: itself, of IPv6 its /64; whatever is no address counts as itself."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed) if parsed is not None else address


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _host(text: str) -> str:
    """The host of `1.2.3.4`, `1.2.3.4:80`, `::1` or `[::1]:80`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
