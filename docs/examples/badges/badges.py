"""An authority for trying and for tests: people are known by badges, which stand in the configuration."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import override

from collab_server.domain.contents import ContentInfo
from collab_server.domain.people import AuthoritySession, Identity, Recipient, User
from collab_server.errors import Unauthenticated
from collab_server.ports import NOBODY, Authority, AuthoritySetup, Directory, Gate, Origin, SignedIn, SignsIn


class Badges(SignsIn, Gate, Directory):
    """Of each badge: `{"id": "ann", "name": "Ann Archer", "opens": ["sales"]}`; `opens` are ids of projects."""

    def __init__(self, badges: Mapping[str, Mapping[str, Any]]) -> None:
        self._holders = {
            badge: User(row["id"], row["name"], row["name"][:1]) for badge, row in badges.items()
        }
        self._people = {user.id: user for user in self._holders.values()}
        self._opens = {row["id"]: frozenset(row["opens"]) for row in badges.values()}

    @override
    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        if token not in self._holders:
            raise Unauthenticated("this badge is not valid")
        return SignedIn(self._holders[token], AuthoritySession(token), timeout_seconds=3600)

    @override
    async def confirm(self, session: AuthoritySession) -> SignedIn:
        return await self.sign_in_with_identity_token(session.auth_token)

    @override
    async def may_open(
        self, who: Identity, project_id: str, object_id: str, *, at_most_seconds_old: float = math.inf
    ) -> ContentInfo | None:
        may = project_id in self._opens.get(who.user.id, ())
        return ContentInfo(object_id, f"{project_id}/{object_id}", 55) if may else None

    @override
    async def user(self, who: Identity, user_id: str) -> User | None:
        return self._people.get(user_id)

    @override
    async def recipients(
        self,
        who: Identity,
        search: str,
        *,
        kind: Literal["user", "group"] | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> tuple[Recipient, ...]:
        found = [user for user in self._people.values() if search.lower() in user.name.lower()]
        return tuple(Recipient("user", user.id, user.name) for user in found[offset : offset + limit])


def open_badges(setup: AuthoritySetup) -> Authority:
    if "badges" not in setup.options:
        raise ValueError("badges is missing: who holds which badge")
    badges = Badges(setup.options["badges"])
    return Authority("Badges", badges, badges, badges)
