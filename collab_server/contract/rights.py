"""What each role may do, worked out from the rows: `rights` in answers says it, and every command asks for it."""

from __future__ import annotations

from typing import get_args

from collab_server.contract.catalogue import COMMANDS
from collab_server.domain.permissions import Role
from collab_server.errors import Forbidden

RIGHTS: dict[Role, tuple[str, ...]] = {
    role: tuple(row.name for row in COMMANDS.values() if role in row.who.roles) for role in get_args(Role)
}

OF_ONES_OWN = frozenset(row.name for row in COMMANDS.values() if row.who.is_of_ones_own)
"""What even a role that has the right may do only to what it wrote itself."""


def require(role: Role, command: str) -> None:
    """Refuse what the role may not do.

    Raises `Forbidden`.
    """
    if command not in RIGHTS[role]:
        raise Forbidden(f"you may see this topic, but {command} is not among your rights here")
