"""The generated sequences that the clients of both languages go through, the same of each seed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from tests.faults.proxy import Proxy

Kind = Literal["add", "mention", "reply", "edit", "delete", "react", "resolve", "read", "inbox"]

LOGINS: Final = ("ann", "bob", "bob")
"""Who they are: somebody behind a network that comes and goes, and two devices of another."""

_STEPS: Final = 60
_PEOPLE: Final = 3
_KINDS: Final[tuple[Kind, ...]] = (
    *("add", "mention", "mention", "reply", "reply"),
    *("edit", "delete", "react", "resolve", "read", "inbox"),
)


class Step(NamedTuple):
    """What somebody does: `who` of the three, to the comment at `which` (from 0 up to 1) of those that they see.

    What is done one way or the other (react or take it back, resolve or reopen, read or mark as unread, read the whole
    inbox or one) is done the first way where `which` is below 0.6. A mention is of everybody.
    """

    number: int
    who: int
    kind: Kind
    which: float


async def steps(seed: int, proxy: Proxy) -> AsyncIterator[Step]:
    """What three people do, one of them behind `proxy`, a network that comes and goes. Nobody waits for anybody."""
    chance = random.Random(seed)
    for number in range(_STEPS):
        yield Step(number, chance.randrange(_PEOPLE), chance.choice(_KINDS), chance.random())
        if chance.random() < 0.08:
            proxy.cut()
        if chance.random() < 0.05:
            proxy.refuse()
        if chance.random() < 0.2:
            proxy.heal()
    proxy.heal()


def held_in_words_of_now(
    held: Sequence[Mapping[str, Any]],
    listed: Sequence[Mapping[str, Any]],
    comments: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """The notifications that a client holds, as they are listed if it holds the right ones.

    Those of comments that were edited since have the words of then: an edit is no event of an inbox, and what is
    listed has the words of now.
    """
    edited = {comment["id"]: comment["text"] for comment in comments if comment["editedAt"] is not None}
    now = {one["id"]: one["text"] for one in listed if one["text"] == edited.get(one["commentId"])}
    return [{**one, "text": now.get(one["id"], one["text"])} for one in held]
