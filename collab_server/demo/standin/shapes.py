"""People and groups as Library writes them."""

from __future__ import annotations

from typing import Any

from collab_server.demo.standin.data import Group, Person

__all__ = ["listed", "listed_group", "listed_recipient", "shown"]

USER, GROUP = 8704, 8705  # Library's subtypes of its object type 34


def shown(person: Person) -> dict[str, Any]:
    """What everybody is told of a person."""
    return {"id": person.id, "fullName": person.fullName, "initials": person.initials}


def listed_group(group: Group) -> dict[str, Any]:
    """In a list of groups, of members or of recipients."""
    return {"id": group.id, "name": group.name, "type": 34, "subtype": GROUP, "isGroup": True}


def listed(person: Person) -> dict[str, Any]:
    """In a list of users or of members."""
    return shown(person) | {
        "name": person.fullName,
        "username": person.login,
        "abbreviation": person.login,
        "enabled": True,
        "type": 34,
        "subtype": USER,
    }


def listed_recipient(person: Person) -> dict[str, Any]:
    """Among those whom a comment may mention."""
    return {"id": person.id, "name": person.fullName, "type": 34, "subtype": USER, "isGroup": False}
