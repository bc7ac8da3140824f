"""How uvicorn is given our protocol classes, and what is said of those that have no bounds of their own."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.config import HTTP_PROTOCOLS, WS_PROTOCOLS

from collab_server.realtime.lean.adapter import install


def named(place: str) -> Any:
    """A class as uvicorn would load it from there, which need not be installed."""
    module, _, name = place.partition(":")
    return type(name, (), {"__module__": module})


def installed(http: str, ws: str) -> Any:
    """uvicorn's configuration after our start, where it was told to use these."""
    config = SimpleNamespace(
        http_protocol_class=named(HTTP_PROTOCOLS[http]),
        ws_protocol_class=named(str(WS_PROTOCOLS.get(ws, ws))),
    )
    receive = SimpleNamespace(__self__=SimpleNamespace(config=config))
    install({"state": {}}, receive, {})
    return config


@pytest.mark.parametrize("transport", ["", "asgi"])
@pytest.mark.parametrize("ws", ["websockets-sansio", "websockets", "wsproto"])
def test_of_websockets_that_uvicorn_has_itself_nothing_is_said(
    transport: str, ws: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COLLAB_TRANSPORT", transport)
    config = installed("httptools", ws)
    assert config.http_protocol_class.__module__.startswith("collab_server.")
    assert config.ws_protocol_class.__module__.startswith("collab_server.")
    assert not caplog.records


@pytest.mark.parametrize("transport", ["", "asgi"])
def test_of_a_way_to_read_requests_without_a_pace_the_operator_is_told(
    transport: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COLLAB_TRANSPORT", transport)
    with caplog.at_level(logging.WARNING):
        installed("h11", "websockets-sansio")
    assert "leave out --http" in caplog.text
    assert "--ws" not in caplog.text


def test_of_websockets_without_a_pace_the_operator_is_told_where_they_are_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COLLAB_TRANSPORT", "")
    with caplog.at_level(logging.WARNING):
        installed("httptools", "another.package:WebSocketProtocol")
    assert not caplog.records
    monkeypatch.setenv("COLLAB_TRANSPORT", "asgi")
    with caplog.at_level(logging.WARNING):
        installed("httptools", "another.package:WebSocketProtocol")
    assert "leave out --ws" in caplog.text
