"""A node under a web server that never starts it says so to whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from collab_server.app import NOT_STARTED, create_app
from collab_server.config import Config
from tests.unit.test_stable_names import MINIMAL


async def test_without_a_lifespan_nobody_is_served_and_the_log_says_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, sent = create_app(Config.model_validate(MINIMAL)), []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/status", "/socket.io/"):
        await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    await app({"type": "websocket", "path": "/socket.io/", "headers": []}, receive, send)
    assert [message["status"] for message in sent if "status" in message] == [503, 503]
    assert [message["body"].decode() for message in sent if "body" in message] == [f"{NOT_STARTED}\n"] * 2
    assert sent[-1] == {"type": "websocket.close"}
    assert [message.partition(":")[0] for message in caplog.messages] == ["this node was never started"]
