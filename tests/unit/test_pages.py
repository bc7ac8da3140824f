"""Cursors: what comes back as it was, and what is refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from collab_server.domain.keys import KeyRing, purpose_key
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.errors import Invalid, Paused
from collab_server.services.commands.pages import Cursors

OLD, NEW = b"o" * 32, b"n" * 32
LIST = "topic.comments"


def person(letter: str) -> Identity:
    user = User(letter * 32, letter, letter)
    return Identity(user, AuthoritySession(letter, None, True), False, datetime.now(UTC))


ANN, BOB = person("A"), person("B")


def cursors(*secrets: bytes) -> Cursors:
    made = Cursors()
    made.use_keys(KeyRing(secrets[0], secrets))
    return made


@pytest.mark.parametrize("place", [(0,), (1,), (12345,), (10**15,), (7, 0), (1, 2, 3), ((1 << 128) - 1,)])
def test_cursors_come_back(place: tuple[int, ...]) -> None:
    written = cursors(NEW).write(ANN, LIST, *place)
    assert cursors(NEW).read(ANN, LIST, written, parts=len(place)) == place
    assert cursors(NEW).read(ANN, LIST, written, parts=None) == place
    assert cursors(NEW).read(ANN, LIST, None) is None


def test_a_cursor_tells_nothing() -> None:
    written = [cursors(NEW).write(ANN, LIST, number) for number in (0, 7, 10**15)]
    written += [cursors(NEW).write(BOB, LIST, 7), cursors(NEW).write(ANN, "notification.list", 7)]
    assert len(set(written)) == 5
    assert len({one[:4] for one in written}) == 5
    assert len(set(map(len, written))) == 1
    assert cursors(NEW).write(ANN, LIST, 7) == written[1], "one place is not two"


def test_the_secret_of_before_opens_while_the_new_one_seals() -> None:
    old, both, new = cursors(OLD), cursors(NEW, OLD), cursors(NEW)
    assert both.read(ANN, LIST, old.write(ANN, LIST, 5)) == (5,)
    assert new.read(ANN, LIST, both.write(ANN, LIST, 5)) == (5,)
    with pytest.raises(Invalid):
        new.read(ANN, LIST, old.write(ANN, LIST, 5))


def test_there_are_no_cursors_without_a_key() -> None:
    with pytest.raises(Paused):
        Cursors().write(ANN, LIST, 1)
    with pytest.raises(Paused):
        Cursors().read(ANN, LIST, "x")


@pytest.mark.parametrize("cursor", ["", "x", "s1", "czF4", "====", "🦊", "é", "c" * 1000, "A" * 10**6, "MTI"])
def test_what_is_no_cursor_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid) as refusal:
        cursors(NEW).read(ANN, LIST, cursor)
    assert refusal.value.field == "cursor"


def test_a_cursor_is_for_one_person_and_one_list_and_as_it_was_written() -> None:
    both = cursors(NEW)
    written = both.write(ANN, LIST, 5)
    for who, command, parts in ((BOB, LIST, 1), (ANN, "notification.list", 1), (ANN, LIST, 2)):
        with pytest.raises(Invalid):
            both.read(who, command, written, parts=parts)
    sealed = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Invalid):
            both.read(ANN, LIST, base64.urlsafe_b64encode(changed).decode().rstrip("="))


def test_keys_of_one_purpose_tell_nothing_of_the_secret() -> None:
    key = purpose_key(NEW, "cursors")
    assert key == purpose_key(NEW, "cursors")
    assert len(key) == 32
    assert key not in (NEW, purpose_key(OLD, "cursors"))
