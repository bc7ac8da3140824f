"""Who may do what: the parts that people play on a topic, and which of them a command can be for.

Each command names one of these in its row of the contract; what somebody may do is worked out from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "commenter", "member", "owner", "self"]
"""Whoever may open the object in Library, and those of them who may also comment there; whoever is in a discussion, and
who of them owns it; a person at their own inbox."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who may give a command: the roles that have the right, and the same in words.

    `is_of_ones_own`: even they only to what they wrote themselves. `is_for_administrators`: of them only those who
    administer this server.
    """

    roles: tuple[Role, ...]
    words: str
    is_of_ones_own: bool = False
    is_for_administrators: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The part that somebody plays on a topic, and whether people may comment there at all now."""

    role: Role
    is_commenting: bool = True

    @property
    def effective(self) -> Role:
        """The part that counts."""
        return "viewer" if self.role == "commenter" and not self.is_commenting else self.role


_TALKING: tuple[Role, ...] = ("commenter", "member", "owner")
_HEARING: tuple[Role, ...] = ("viewer", *_TALKING)

ANYBODY = Who((), "Whoever is signed in.")
READERS = Who(
    (*_HEARING, "self"),
    "Whoever may open the object, the members of a discussion, each person in their own inbox.",
)
AUDIENCE = Who(_HEARING, "Whoever may open the object, the members of a discussion.")
COMMENTERS = Who(_TALKING, "Whoever may comment on the object, the members of a discussion.")
AUTHORS = Who(
    _TALKING,
    "Whoever may comment on the object, the members of a discussion, and only on what they wrote.",
    is_of_ones_own=True,
)
SEARCHERS = Who(_HEARING, "Whoever is signed in, and finds what they may read.")
VIEWERS = Who(("viewer", "commenter"), "Whoever may open the object.")
ADMINISTRATORS = Who(
    ("viewer", "commenter"),
    "Those of `administrators` in the configuration who may open the object.",
    is_for_administrators=True,
)
MEMBERS = Who(("member", "owner"), "The members of a discussion.")
OWNERS = Who(("owner",), "The owner of a discussion.")
ONESELF = Who(("self",), "Each person in their own inbox.")
