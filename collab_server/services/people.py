"""People: who somebody is, and who there is, as Library tells the asker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from collab_server.domain.jsontext import JsonText, dumps
from collab_server.domain.people import AboutMe, FindRecipients, Identity, Person, User
from collab_server.domain.search import QUERY_CHARACTERS
from collab_server.errors import Invalid, TooLarge
from collab_server.services.backends import Backends
from collab_server.services.commands.pages import page_limit


async def about_me(backends: Backends, who: Identity, command: AboutMe) -> JsonText:
    """`{user, administrator}`."""
    return dumps({"user": who.user.as_wire(), "administrator": who.is_administrator})


async def find_recipients(backends: Backends, who: Identity, command: FindRecipients) -> JsonText:
    """`{items: [{kind, id, name}], next}`: users and groups whose name contains `search`, as Library tells the asker.

    With a `kind`, a page may be short, or empty, and still have a next one.
    """
    if len(command.search) > QUERY_CHARACTERS:
        raise TooLarge(f"expected at most {QUERY_CHARACTERS} characters", field="search")
    limit = page_limit(command.limit)
    [offset] = backends.cursors.read(who, "recipients.find", command.cursor) or (0,)
    found = await backends.directory.recipients(who, command.search, offset=offset, limit=limit + 1)
    items = [
        {"kind": one.kind, "id": one.id, "name": one.name}
        for one in found[:limit]
        if command.kind in (None, one.kind)
    ]
    cursor = None
    if len(found) > limit:
        cursor = backends.cursors.write(who, "recipients.find", offset + limit)
    return dumps({"items": items, "next": cursor})


async def people_named(backends: Backends, who: Identity, named: Sequence[Person], field: str) -> list[User]:
    """The users that a list of users and groups comes to, each once, in order; not the asker.

    Raises `Invalid` for somebody who does not exist, `TooLarge`, or `Unavailable`.
    """
    most = backends.limits.recipientsPerCommand
    found: dict[str, User] = {}
    for index, person in enumerate(named):
        at = f"{field}[{index}].id"
        id = backends.gate.read_id(person.id, at)
        if person.kind == "user":
            user = await backends.directory.user(who, id)
            users: Iterable[User] | None = None if user is None else (user,)
        else:
            users = await members_of_group(backends, who, id, at)
        if users is None:
            raise Invalid(f"there is no such {person.kind}", field=at)
        found.update((user.id, user) for user in users)
        if len(found) > most + (who.user.id in found):
            raise TooLarge(f"expected at most {most} people, those in groups counted", field=field)
    found.pop(who.user.id, None)
    return list(found.values())


async def members_of_group(
    backends: Backends, who: Identity, group_id: str, field: str
) -> tuple[User, ...] | None:
    """The users in a group and in the groups in it, all or more than a command may reach; None without such a group.

    Raises `TooLarge`, naming `field`, or `Unavailable`.
    """
    try:
        return await backends.directory.group_members(who, group_id, backends.limits.recipientsPerCommand)
    except TooLarge as error:
        raise TooLarge(error.message, field=field) from None
