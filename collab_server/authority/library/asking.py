"""A question as calls of Library: what is asked, by its first word, and what the answer is made of.

A question is what an answer is kept by, and what workers bring to a keeper (`keepers`), so it says all there is to ask.
Nothing is kept here, and nothing runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import Refused
from collab_server.domain.people import AuthoritySession, User

__all__ = ["FIRST_TYPE", "Question", "put"]

Question = tuple[str | int, ...]

FIRST_TYPE: Final = 55
"""As what an object is looked for first: a dashboard or document; then as a report."""

MOST_GROUPS_OF_ONE = 100
"""Of a user who is in more groups than so many, those beyond are not looked into for the groups that they are in."""
MOST_GROUPS = 100
"""A group that is mentioned or invited may be made of so many, itself counted: each is a call of its own."""
PAGE = 200


async def put(api: LibraryApi, session: AuthoritySession, user_id: str, question: Question) -> Any:
    """Library's answer to the user whose session it is; None where there is no such thing, or not for them.

    Raises `Refused` where a privilege is missing, and what every call raises.
    """
    match question:
        case ("content", str(project_id), str(object_id)):
            content = await api.content(session, project_id, object_id, FIRST_TYPE)
            return content or await api.content(session, project_id, object_id, 3)
        case ("circles", str(project_id), *circles):
            return await _is_in_one(api, session, user_id, project_id, [str(circle) for circle in circles])
        case ("user", str(id)):
            return await api.user(session, id)
        case ("members", str(group_id), int(most)):
            return await _members(api, session, group_id, most)
        case ("group", str(group_id)):
            try:
                return await api.group_name(session, group_id)
            except Refused:
                return None
        case ("recipients", str(search), int(offset), int(limit)):
            return await api.recipients(session, search, offset, limit)
    raise ValueError("no question that this version knows")


async def _is_in_one(
    api: LibraryApi, session: AuthoritySession, user_id: str, project_id: str, circles: Sequence[str]
) -> bool:
    """Whether the user is in one of the circles, each as its `str` spells it."""
    kinds = [circle.partition(":")[::2] for circle in circles]
    for kind, id in kinds:
        if kind == "privilege":
            held = await api.privilege(session, id)
            if held.everywhere or project_id in held.projects:
                return True
    groups = frozenset(id for kind, id in kinds if kind == "group")
    return bool(groups) and await _is_in_group(api, session, user_id, groups)


async def _members(
    api: LibraryApi, session: AuthoritySession, group_id: str, most: int
) -> tuple[User, ...] | str | None:
    """Those in the group; None without it; what is expected instead, where it is made of too many groups."""
    found: dict[str, User] = {}
    groups = [group_id]  # grows while it is gone through; whatever is in it already makes no circle
    for id in groups:
        for offset in range(0, most + 1, PAGE):
            page = await api.group_members(session, id, offset, PAGE)
            if page is None:
                if id == group_id:
                    return None
                break  # it has gone meanwhile
            found.update((user.id, user) for user in page.users)
            groups += [group for group in dict.fromkeys(page.groups) if group not in groups]
            if len(groups) > MOST_GROUPS:
                return f"expected a group of at most {MOST_GROUPS} groups"
            if page.number < PAGE:
                break
        if len(found) > most:
            break
    return tuple(found.values())


async def _is_in_group(
    api: LibraryApi, session: AuthoritySession, user_id: str, groups: frozenset[str]
) -> bool:
    """Whether the user is in one of the groups, or in a group that is. Upwards from the user, each group once."""
    left = [*await api.groups_of_user(session, user_id)]
    seen: set[str] = set()
    while left:
        if not groups.isdisjoint(left):
            return True
        seen.update(left)
        if len(seen) > MOST_GROUPS_OF_ONE:
            break
        above = [group for one in left for group in await api.groups_of_group(session, one)]
        left = [group for group in dict.fromkeys(above) if group not in seen]
    return False
