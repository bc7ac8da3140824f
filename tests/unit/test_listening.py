"""Where a node listens is what it was told, or an error in words."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from collab_server.realtime.lean import listening


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
