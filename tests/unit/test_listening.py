"""Where a node listens is what it was told, or an error in words."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from typing import Any

import pytest

from collab_server.demo.embedded import free_port
from collab_server.realtime.lean import adapter, listening


def test_an_address_of_one_link_alone_is_asked_for_with_its_link() -> None:
    # Nobody has it; without its link it would not be valid at all.
    with pytest.raises(OSError, match=rf"^(?!\[Errno {errno.EINVAL}\])"):
        listening.sockets_at("fe80::1%lo", 0)


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_that_no_host_can_have_is_an_error_as_any_other(host: str) -> None:
    with pytest.raises(OSError, match="no host can have this name"):
        listening.sockets_at(host, 0)


def resolves(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name has these addresses: `240.0.0.1` is nobody's."""

    def found(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize("addresses", [("240.0.0.1", "127.0.0.1"), ("127.0.0.1", "240.0.0.1")])
def test_of_the_addresses_of_a_name_those_are_listened_at_that_are_here(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resolves(monkeypatch, *addresses)
    [bound] = listening.sockets_at("collab.example.com", 0)
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"
    [line] = caplog.messages
    assert line.startswith("not listening at 240.0.0.1, which collab.example.com has too: ")


def test_a_name_none_of_whose_addresses_is_here_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves(monkeypatch, "240.0.0.1", "240.0.0.2")
    with pytest.raises(OSError, match="Cannot assign requested address"):
        listening.sockets_at("collab.example.com", 0)


def test_where_one_address_is_taken_nothing_is_listened_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        resolves(monkeypatch, "127.0.0.2", "127.0.0.1")
        with pytest.raises(OSError, match="Address already in use"):
            listening.sockets_at("collab.example.com", taken.getsockname()[1])


def test_a_port_that_another_program_takes_while_the_node_starts_ends_it_in_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", port))
    ends: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        other.listen()
        await send({"type": "lifespan.startup.complete"})
        try:
            async with asyncio.timeout(10):
                ends.append((await receive())["type"])
        except TimeoutError:
            os.kill(os.getpid(), signal.SIGTERM)
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    settings = adapter.Settings(port, 1_000, (), has_access_log=False, ssl_context=None)
    with other:
        assert not adapter.serve(application, settings, host="127.0.0.1", port=port)
    assert ends == ["lifespan.shutdown"]
    assert f"cannot listen on port {port} of 127.0.0.1: another program has begun to" in caplog.messages
