"""Whoever stays gets a younger resume token when half of the time of the last one is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.domain.people import User
from collab_server.realtime import sign_ins
from collab_server.realtime.sign_ins import SignIns

HOUR = timedelta(hours=1)


class Staying:
    """A client of a node, greeted or not, that was given a token for an hour."""

    def __init__(self, renew_at: datetime, *, is_greeted: bool = True) -> None:
        user = User("ann", "Ann", "A")
        self.who = SimpleNamespace(user=user, expires_at=datetime.now(UTC) + HOUR)
        self.renew_at = renew_at
        self.ends_at = float("inf")
        self.is_closed = False
        self.is_greeted = is_greeted
        self.told: list[tuple[str, Any]] = []
        self.looked_at = 0

    def tell(self, name: str, data: str) -> None:
        self.told.append((name, json.loads(data)["resumeToken"]))


async def test_who_stays_is_given_a_younger_token_at_half_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "RENEWAL_ROUND_SECONDS", 0.01)
    now = datetime.now(UTC)
    due, later = Staying(now - timedelta(seconds=1)), Staying(now + HOUR / 2)
    comes = Staying(now - timedelta(seconds=1), is_greeted=False)

    def renew(who: Any) -> Any:
        return SimpleNamespace(
            identity=SimpleNamespace(user=who.user, expires_at=now + 3 * HOUR),
            expires_at=now + 3 * HOUR,
            resume_token="a younger one",
        )

    def inbox_seq(client: Staying) -> int | None:
        client.looked_at += 1
        return 7 if client.is_greeted else None

    parts: Any = {
        "hub": SimpleNamespace(listeners={"1": due, "2": later, "3": comes}),
        "authenticator": SimpleNamespace(renew=renew),
        "subscriptions": SimpleNamespace(inbox_seq=inbox_seq),
        "deliveries": None,
        "epoch": SimpleNamespace(name="e1"),
        "journal": None,
    }
    running = asyncio.create_task(cast(Any, SignIns)("node", **parts).run())
    async with asyncio.timeout(20):
        while comes.looked_at < 5:
            await asyncio.sleep(0.001)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert due.told == [("server.hello", "a younger one")], "once"
    # Of three hours, counted from when it was given.
    assert 1.5 * HOUR <= due.renew_at - now < 2 * HOUR
    assert (later.told, comes.told) == ([], [])
