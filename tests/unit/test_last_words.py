"""What is left for a client that polls when its session ends: little, for its own client, and not for long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.realtime.engine import frames, last_words
from collab_server.realtime.engine.answers import Answers
from collab_server.realtime.engine.bonds import Bonds
from collab_server.realtime.engine.last_words import LastWords
from collab_server.realtime.engine.session import Bond, Session
from tests.harness.waiting import until

WORDS = [frames.message_of(b"31[{}]")]


def session(sid: str = "a", *, is_trusted: bool = True) -> Session:
    nobody = cast("Any", SimpleNamespace(burst=1))
    return Session(nobody, sid, most_bytes=1, pace=nobody, is_trusted=is_trusted)


def words() -> LastWords:
    return LastWords(Bonds("bond"), Answers(None, None))


def poll(kept: LastWords, sid: str = "a", method: str = "GET", cookie: str = "") -> str | None:
    told: list[bytes] = []
    scope = {
        "method": method,
        "query_string": f"EIO=4&transport=polling&sid={sid}".encode(),
        "headers": [(b"cookie", cookie.encode())] if cookie else [],
    }
    exchange: Any = SimpleNamespace(scope=scope, respond=lambda status, headers, body: told.append(body))
    return told[0].decode() if kept.tell(exchange) else None


async def test_it_is_told_once_by_polls_of_as_many_packets_as_any() -> None:
    kept = words()
    kept.keep(session(), WORDS * 20)
    assert [poll(kept, method="POST"), poll(kept, "b")] == [None, None]
    assert [(text or "").count("431[{}]") for text in (poll(kept), poll(kept), poll(kept))] == [16, 4, 0]


async def test_it_is_told_nobody_else() -> None:
    kept, bound = words(), session()
    bound.bond = Bond(b"x" * 22, is_shown=True)
    kept.keep(bound, WORDS)
    assert [poll(kept), poll(kept, cookie=f"bond={'y' * 22}")] == [None, None]
    assert poll(kept, cookie=f"bond={'x' * 22}") == "431[{}]"


async def test_nothing_is_kept_for_strangers_nor_much_for_anybody() -> None:
    kept = words()
    kept.keep(session(is_trusted=False), WORDS)
    kept.keep(session(), [frames.message_of(b"x" * last_words.MOST_BYTES)])
    kept.keep(session(), [])
    assert not len(kept)
    for number in range(last_words.MOST_SESSIONS + 1):
        kept.keep(session(f"s{number}"), WORDS)
    assert len(kept) == last_words.MOST_SESSIONS
    assert [poll(kept, "s0"), poll(kept, "s1")] == [None, "431[{}]"]
    kept.close()


async def test_it_is_forgotten_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "KEPT_SECONDS", 0.0)
    kept = words()
    kept.keep(session(), WORDS)
    await until(lambda: not len(kept))
