"""Who may do what: the parts that people play on a topic, and which of them a command can be for.

Each command names one of these in its row of the contract; what somebody may do is worked out from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "member", "owner", "self"]
"""Whoever may open the object in Library; whoever is in a discussion, and who of them owns it; a person at their own
inbox."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who may give a command: the roles that have the right, and the same in words.

    `is_of_ones_own`: even they only to what they wrote themselves.
    """

    roles: tuple[Role, ...]
    words: str
    is_of_ones_own: bool = False


_TALKING: tuple[Role, ...] = ("viewer", "member", "owner")

ANYBODY = Who((), "Whoever is signed in.")
READERS = Who(
    (*_TALKING, "self"),
    "Whoever may open the object, the members of a discussion, each person in their own inbox.",
)
COMMENTERS = Who(_TALKING, "Whoever may open the object, the members of a discussion.")
AUTHORS = Who(
    _TALKING,
    "Whoever may open the object, the members of a discussion, and only on what they wrote.",
    is_of_ones_own=True,
)
SEARCHERS = Who(_TALKING, "Whoever is signed in, and finds what they may read.")
VIEWERS = Who(("viewer",), "Whoever may open the object.")
MEMBERS = Who(("member", "owner"), "The members of a discussion.")
OWNERS = Who(("owner",), "The owner of a discussion.")
ONESELF = Who(("self",), "Each person in their own inbox.")
