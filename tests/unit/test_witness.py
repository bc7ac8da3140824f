"""The witness: what a node knows as committed, and what makes it doubt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collab_server.domain.events import Event, actor_text, event_of, identity_of
from collab_server.domain.jsontext import JsonText
from collab_server.services.live.witness import EVENTS, Witness
from collab_server.storage.event_log import Claim

AT = datetime(2026, 11, 23, 18, 7, 0, 123_999, tzinfo=UTC)


def event(seq: int, *, topic: str = "content:1:1", at: datetime = AT, data: str = "{}") -> Event:
    return event_of(topic, seq, "comment.added", at, actor_text("A", 'Ann ","at":"', "A"), JsonText(data))


@pytest.mark.parametrize("topic", ["content:1:1", "inbox:müller", f"discussion:{'d' * 40}"])
@pytest.mark.parametrize("seq", [1, 10, 10**15])
def test_an_event_has_the_identity_of_its_row(topic: str, seq: int) -> None:
    assert event(seq, topic=topic).identity == identity_of("comment.added", AT)


def test_the_identity_stays_when_the_words_leave_the_log() -> None:
    assert event(1, data='{"comment":"words"}').identity == event(1, data='{"comment":""}').identity
    assert event(1).identity != event(1, at=AT + timedelta(milliseconds=1)).identity


@pytest.mark.parametrize(
    "body",
    ["", "{}", '{"seq":1,"topic":"content:1:1","type":"comment.added","at":"2026"}', event(1).body[:80]],
)
def test_a_body_in_another_form_has_no_identity(body: str) -> None:
    strange = Event("content:1:1", 1, "comment.added", JsonText(body))
    assert strange.identity == ""
    witness = Witness()
    witness.note(strange)
    assert witness.claims() == []


def test_what_was_noted_is_claimed_once() -> None:
    witness = Witness()
    for seq in (1, 2, 1):
        witness.note(event(seq))
    identity = identity_of("comment.added", AT)
    assert witness.claims() == [Claim("content:1:1", 1, identity), Claim("content:1:1", 2, identity)]
    assert not witness.doubts.is_set()


def test_two_events_under_one_seq_make_it_doubt_and_the_first_is_kept() -> None:
    witness = Witness()
    witness.note(event(1))
    witness.note(event(1, at=AT + timedelta(seconds=9)))
    assert witness.doubts.is_set()
    assert witness.claims() == [Claim("content:1:1", 1, identity_of("comment.added", AT))]


def test_it_keeps_the_last_events_and_no_more_than_twice_as_many() -> None:
    witness = Witness()
    for seq in range(1, 5 * EVENTS):
        witness.note(event(seq))
    claims = witness.claims()
    assert EVENTS <= len(claims) < 2 * EVENTS
    assert [claim.seq for claim in claims] == list(range(5 * EVENTS - len(claims), 5 * EVENTS))
    witness.forget()
    assert witness.claims() == []
