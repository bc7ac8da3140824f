"""Where a node listens for what others hand over: `10.0.0.5:41234`, `[fd00::5]:41234`; on one machine `unix:/path`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from typing_extensions import override

from collab_server.config.values import shown

__all__ = ["MOST_PLACES", "Place", "address_towards", "connect", "parse", "parse_all"]

MOST_PLACES = 4
_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Place:
    """An address: `host` and `port`, or the path of a socket."""

    host: str
    port: int = 0
    is_path: bool = False

    @override
    def __str__(self) -> str:
        if self.is_path:
            return _UNIX + self.host
        return shown(self.host, self.port)


def parse(text: str) -> Place:
    """What was spelled by `str`. Raises `ValueError`."""
    if text.startswith(_UNIX):
        return Place(text.removeprefix(_UNIX), is_path=True)
    host, _, port = text.rpartition(":")
    number = int(port)
    if not host or not 0 < number < 65536:
        raise ValueError("no address")
    return Place(host.strip("[]"), number)


def parse_all(told: object) -> tuple[Place, ...]:
    """The places that another node tells of, those that this version understands."""
    places = []
    for text in told[:MOST_PLACES] if isinstance(told, list) else []:
        try:
            places.append(parse(str(text)))
        except ValueError:
            continue
    return tuple(places)


async def connect(place: Place, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
    """Connect to a place. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    if place.is_path:
        await loop.create_unix_connection(protocol, place.host)
    else:
        await loop.create_connection(protocol, place.host, place.port)


async def address_towards(hosts: Iterable[tuple[str, int]]) -> str:
    """The address of this machine by which it reaches the first of these that can be resolved. Sends nothing.

    Raises `OSError` where it reaches none.
    """
    loop = asyncio.get_running_loop()
    problem: OSError = OSError("there is nothing to be reached")
    for host, port in hosts:
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            for family, kind, protocol, _, address in found:
                with socket.socket(family, kind, protocol) as probe:
                    probe.connect(address)
                    return str(probe.getsockname()[0])
        except OSError as error:
            problem = error
    raise problem
