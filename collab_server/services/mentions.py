"""Whom a text mentions: each is asked about at the authority, and said by the name that it has for them there."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from collab_server.domain.comments import NO_MENTIONS
from collab_server.domain.inbox import Reason
from collab_server.domain.jsontext import JsonText, dumps
from collab_server.domain.mentions import Mention, mentions_in
from collab_server.domain.people import Identity
from collab_server.errors import Invalid, TooLarge
from collab_server.services.backends import Backends
from collab_server.services.people import members_of_group
from collab_server.storage import comments

Quotes = Callable[[], Awaitable[Mapping[tuple[str, str], Mention]]]
"""Looks for the mentions that a text may repeat, by kind and id, when it is asked."""


def quotes_in(backends: Backends, reply_to: UUID) -> Quotes:
    """The mentions in a comment that is answered and in the root of its thread."""

    async def found() -> Mapping[tuple[str, str], Mention]:
        said = await comments.mentions_answered(backends.database, reply_to)
        return {id: mention for mentions in said for id, mention in _by_id(mentions).items()}

    return found


async def checked_mentions(
    backends: Backends, who: Identity, text: str, quotes: Quotes | None = None
) -> tuple[JsonText, dict[str, Reason]]:
    """The mentions of a text as JSON text, with the names that Library knows, and whom they reach: user id → why.

    `quotes` has the mentions that stand in what the text answers: who is gone may be named once more, and is not
    reached. Raises `Invalid` when somebody else mentioned does not exist, `TooLarge`, `Unavailable` when Library
    cannot tell.
    """
    found = mentions_in(text, backends.limits.mentionsPerComment, backends.gate.read_id)
    if not found:
        return NO_MENTIONS, {}
    checking = _Checking(backends, who, quotes)
    for mention in found:
        await checking.check(mention)
    return checking.mentions, checking.reached


async def mentions_checked_again(
    backends: Backends, who: Identity, text: str, earlier: JsonText
) -> tuple[JsonText, dict[str, Reason]]:
    """The mentions of an edited text, and whom those reach that are new in it.

    Those that stood in it before, `earlier` as JSON text, stay as they are: whoever they are of was told, and may be
    gone. Raises as `checked_mentions`.
    """
    kept = _by_id(earlier)
    checking = _Checking(backends, who, None)
    for mention in mentions_in(text, backends.limits.mentionsPerComment, backends.gate.read_id):
        if (before := kept.get((mention.kind, mention.id))) is not None:
            checking.keep(before)
        else:
            await checking.check(mention)
    return checking.mentions, newly_mentioned(checking.reached, earlier)


class _Checking:
    """Mentions of one text, asked about one after the other."""

    def __init__(self, backends: Backends, who: Identity, quotes: Quotes | None) -> None:
        self._backends = backends
        self._who = who
        self._quotes = quotes
        self._checked: list[Mention] = []
        self.reached: dict[str, Reason] = {}

    @property
    def mentions(self) -> JsonText:
        return dumps([mention.as_wire() for mention in self._checked]) if self._checked else NO_MENTIONS

    def keep(self, mention: Mention) -> None:
        """It stands; nobody is reached by it."""
        self._checked.append(mention)

    async def check(self, mention: Mention) -> None:
        """Ask whom it is of; it reaches them. Raises `Invalid`, `TooLarge` or `Unavailable`."""
        is_there = await (self._reach_user if mention.kind == "user" else self._reach_group)(mention.id)
        if not is_there:
            quoted = None if self._quotes is None else (await self._quotes()).get((mention.kind, mention.id))
            if quoted is None:
                raise Invalid(f"there is no {mention.kind} {mention.id} to mention", field="text")
            self.keep(quoted)
        most = self._backends.limits.recipientsPerCommand
        if len(self.reached) > most + (self._who.user.id in self.reached):
            raise TooLarge(
                f"expected to mention at most {most} people, those in groups counted", field="text"
            )

    async def _reach_user(self, id: str) -> bool:
        user = await self._backends.directory.user(self._who, id)
        if user is None:
            return False
        self.keep(Mention("user", user.id, user.name))
        self.reached[user.id] = Reason("mention", "mentioned you", user.id)
        return True

    async def _reach_group(self, id: str) -> bool:
        members = await members_of_group(self._backends, self._who, id, "text")
        if members is None:
            return False
        # Never by the name in the text: that is whatever its author wants to be read in other people's inboxes.
        name = await self._backends.directory.group_name(self._who, id) or "a group"
        self.keep(Mention("group", id, name))
        for member in members:
            self.reached.setdefault(member.id, Reason("mention", f"mentioned {name}", id))
        return True


def _by_id(mentions: JsonText) -> dict[tuple[str, str], Mention]:
    """Mentions that are kept as JSON text, by kind and id."""
    return {(of["kind"], of["id"]): Mention(of["kind"], of["id"], of["name"]) for of in json.loads(mentions)}


def mentions_lost(earlier: JsonText, now: JsonText) -> list[str]:
    """Of whom or which group mentions, JSON text, no longer are: ids."""
    return [id for _, id in _by_id(earlier).keys() - _by_id(now).keys()]


def newly_mentioned(mentioned: Mapping[str, Reason], earlier: JsonText) -> dict[str, Reason]:
    """Whom mentions are of, without those whom a comment with the earlier ones, JSON text, has told already."""
    before = {mention["id"] for mention in json.loads(earlier)}
    return {user: reason for user, reason in mentioned.items() if not before & {user, reason.through}}
