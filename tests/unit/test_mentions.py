"""Mentions: one grammar, and texts that are cut inside none of them, nor inside a letter."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_client import mention
from collab_server.domain.ids import library_id, opaque_id
from collab_server.domain.inbox import Reason
from collab_server.domain.jsontext import dumps
from collab_server.domain.letters import whole_letters
from collab_server.domain.mentions import MENTION, excerpt, mentions_in
from collab_server.domain.people import Identity, User
from collab_server.errors import Invalid, TooLarge
from collab_server.services.mentions import checked_mentions, newly_mentioned
from tests.harness.vectors import vectors

MENTIONS = vectors("mentions")
ID, OTHER = "A" * 32, "B" * 32


@pytest.mark.parametrize("row", MENTIONS["texts"], ids=lambda row: ascii(row["text"])[:50])
def test_the_mentions_of_a_text_are_those_of_the_grammar(row: dict[str, Any]) -> None:
    assert [found.name for found in mentions_in(row["text"], 50, opaque_id)] == row["names"]


def test_each_is_named_once_and_its_kind_counts() -> None:
    text = f"@[Ann](user:{ID}) @[Annie](user:{ID.lower()}) @[G](group:{ID}) @[B](user:{OTHER})"
    found = [(one.kind, one.id, one.name) for one in mentions_in(text, 50, library_id)]
    assert found == [("user", ID, "Ann"), ("group", ID, "G"), ("user", OTHER, "B")]


@pytest.mark.parametrize("kind", ["user", "group"])
def test_a_mention_of_an_impossible_id_is_refused_as_one(kind: str) -> None:
    with pytest.raises(Invalid) as refused:
        mentions_in(f"@[Ann](user:{ID}) @[Ann]({kind}:ann)", 50, library_id)
    words = f"text: expected an id of 32 hex digits in a mention of a {kind}."
    assert refused.value.as_wire()["message"] == words


def test_only_so_many_different_mentions() -> None:
    text = "".join(f"@[N](user:{number % 3:032X})" for number in range(30))
    assert len(mentions_in(text, 3, library_id)) == 3
    with pytest.raises(TooLarge):
        mentions_in(text, 2, library_id)


@pytest.mark.parametrize("row", MENTIONS["excerpts"], ids=lambda row: ascii(row["text"])[-50:])
def test_an_excerpt_ends_inside_no_mention_and_no_letter(row: dict[str, Any]) -> None:
    assert excerpt(row["text"], row["most"]) == row["excerpt"]


def test_an_excerpt_of_whatever_text_is_a_beginning_with_all_its_mentions_whole() -> None:
    chance = random.Random(3)
    parts = [f"@[Ann](user:{ID})", "@[", "](", "a", "\u0301", "\u200d", "\U0001f1e9", "\u0915", "\u094d", " "]
    for _ in range(300):
        text = "".join(chance.choices(parts, k=600))
        cut = excerpt(text, 500)
        assert text.startswith(cut)
        assert 0 < len(cut) <= 500
        assert not text[len(cut) : len(cut) + 1] == "\u0301"
        begun = [found for found in MENTION.finditer(text) if found.start() < len(cut)]
        assert all(found.end() <= len(cut) for found in begun)


def test_where_a_text_may_be_cut_is_told_in_time_that_goes_with_its_length() -> None:
    for text in ("\u0915\u094d" * 5000, "e" + "\u0301" * 9999, "\U0001f1e9" * 9999, "\u1100" * 9999):
        assert 0 <= whole_letters(text, 500) <= 500


@pytest.mark.parametrize("seed", range(3))
def test_the_client_writes_mentions_of_whom_they_are_made_for_whatever_the_name(seed: int) -> None:
    chance = random.Random(seed)
    parts = ["]", "(", "[", "@", ")", "user:B", "group:C", "x", " ", "@[", "]("]
    for _ in range(500):
        name = "".join(chance.choices(parts, k=chance.randint(1, 12)))
        assert [found[3] for found in MENTION.finditer(f"@[ {mention('user', 'A', name)}")] == ["A"], name


# --- whom they reach


class Directory:
    """Two groups: `TEAM` of Ann, Bob and Carol, `OTHERS` of Bob and Dan."""

    async def user(self, _who: Identity, user_id: str) -> User:
        return User(user_id, f"User {user_id[0]}", user_id[0])

    async def group_members(self, _who: Identity, group_id: str, _most: int) -> tuple[User, ...]:
        return tuple([await self.user(_who, letter * 32) for letter in MEMBERS[group_id]])

    async def group_name(self, _who: Identity, group_id: str) -> str:
        return "the team" if group_id == TEAM else "the others"


ANN, BOB, CAROL, DAN = (letter * 32 for letter in "ABCD")
TEAM, OTHERS = "1" * 32, "2" * 32
MEMBERS = {TEAM: "ABC", OTHERS: "BD"}
OF = {BOB: f"@[Bob](user:{BOB})", TEAM: f"@[T](group:{TEAM})", OTHERS: f"@[O](group:{OTHERS})"}


async def reached(*named: str, by: str = ANN, most: int = 50) -> dict[str, Reason]:
    limits = SimpleNamespace(mentionsPerComment=50, recipientsPerCommand=most)
    backends = SimpleNamespace(directory=Directory(), gate=SimpleNamespace(read_id=library_id), limits=limits)
    who = SimpleNamespace(user=User(by, by, "A"))
    text = " ".join(OF[one] for one in named)
    _, found = await checked_mentions(cast("Any", backends), cast("Any", who), text)
    return found


@pytest.mark.parametrize("named", [(BOB, TEAM, OTHERS), (TEAM, BOB, OTHERS), (OTHERS, TEAM, BOB)])
async def test_whoever_is_named_themselves_is_told_so_whatever_groups_they_are_in(
    named: tuple[str, ...],
) -> None:
    found = await reached(*named)
    assert found[BOB] == Reason("mention", "mentioned you", BOB)
    assert found[CAROL] == Reason("mention", "mentioned the team", TEAM)
    assert found[DAN] == Reason("mention", "mentioned the others", OTHERS)


async def test_who_writes_does_not_count_among_those_whom_one_comment_may_reach() -> None:
    assert len(await reached(TEAM, by=ANN, most=2)) == 3
    with pytest.raises(TooLarge):
        await reached(TEAM, by=DAN, most=2)
    with pytest.raises(TooLarge):
        await reached(TEAM, OTHERS, by=ANN, most=2)


@pytest.mark.parametrize(
    ("before", "new"),
    [((), {BOB, CAROL, DAN}), ((TEAM,), {DAN}), ((BOB,), {CAROL, DAN}), ((TEAM, OTHERS), set())],
)
def test_an_edit_reaches_nobody_whom_the_comment_has_reached_by_name_or_group(
    before: tuple[str, ...], new: set[str]
) -> None:
    mentioned = {
        BOB: Reason("mention", "mentioned the team", TEAM),
        CAROL: Reason("mention", "mentioned the team", TEAM),
        DAN: Reason("mention", "mentioned the others", OTHERS),
    }
    earlier = dumps([{"kind": "group", "id": id, "name": ""} for id in before])
    assert newly_mentioned(mentioned, earlier).keys() == new
