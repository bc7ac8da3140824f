"""What each role may do, worked out from the rows: `rights` in answers says it, and every command asks for it."""

from __future__ import annotations

from typing import get_args

from collab_server.contract.catalogue import COMMANDS
from collab_server.domain.jsontext import JsonText, dumps
from collab_server.domain.people import Identity
from collab_server.domain.permissions import Role, Standing
from collab_server.errors import Forbidden

OF_ADMINISTRATORS = frozenset(row.name for row in COMMANDS.values() if row.who.is_for_administrators)
"""What even a role that has the right may do only where it is an administrator's."""

OF_ONES_OWN = frozenset(row.name for row in COMMANDS.values() if row.who.is_of_ones_own)
"""What even a role that has the right may do only to what it wrote itself."""

ADMINISTRATORS_RIGHTS: dict[Role, tuple[str, ...]] = {
    role: tuple(row.name for row in COMMANDS.values() if role in row.who.roles) for role in get_args(Role)
}
RIGHTS: dict[Role, tuple[str, ...]] = {
    role: tuple(name for name in rights if name not in OF_ADMINISTRATORS)
    for role, rights in ADMINISTRATORS_RIGHTS.items()
}

_TEXTS: dict[tuple[Role, bool], JsonText] = {
    **{(role, False): dumps(rights) for role, rights in RIGHTS.items()},
    **{(role, True): dumps(rights) for role, rights in ADMINISTRATORS_RIGHTS.items()},
}


def rights_text(standing: Standing, who: Identity) -> JsonText:
    """`rights` as answers have it: the JSON text of a list."""
    return _TEXTS[standing.effective, who.is_administrator]


def require(role: Role, command: str, who: Identity) -> None:
    """Refuse what the role may not do.

    Raises `Forbidden`.
    """
    if command in RIGHTS[role] or (who.is_administrator and command in ADMINISTRATORS_RIGHTS[role]):
        return
    if role == "viewer" and command in RIGHTS["commenter"]:
        raise Forbidden(
            f"you may look at this object, but not comment on it: {command} is not among your rights here"
        )
    raise Forbidden(f"you may see this topic, but {command} is not among your rights here")


def require_commenting(is_commenting: bool, command: str) -> None:
    """Refuse what only those may do who may comment, where nobody may.

    Raises `Forbidden`.
    """
    if not is_commenting and command not in ADMINISTRATORS_RIGHTS["viewer"]:
        raise switched_off(command)


def switched_off(command: str) -> Forbidden:
    return Forbidden(f"commenting is switched off on this object: {command} is nobody's right here")
