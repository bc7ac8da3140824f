"""Who may comment on content: the circles that the configuration names, and whether an object is switched off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from typing_extensions import override

from collab_server.domain.ids import ReadId, opaque_id
from collab_server.domain.wire import WIRE, Flag, Text
from collab_server.errors import Invalid

EXPECTED_CIRCLES = "expected everyone, nobody, or some of group:ID and privilege:ID"

_PRIVILEGE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Circle:
    """People whom an authority knows by something that they have in common: a group, or a privilege that they hold."""

    kind: Literal["group", "privilege"]
    id: str

    @override
    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


EVERYONE: None = None
"""Instead of circles: whoever may open the object."""

Circles = tuple[Circle, ...] | None
"""Whoever is in one of them; in none is nobody."""


def parse_circles(words: Sequence[str], read_id: ReadId = opaque_id) -> Circles:
    """What the configuration says of who may comment; `read_id` judges the ids of groups.

    Raises `Invalid` in words for an administrator.
    """
    if "everyone" in words or "nobody" in words or not words:
        if len(words) != 1:
            raise Invalid(EXPECTED_CIRCLES)
        return EVERYONE if words[0] == "everyone" else ()
    return tuple(dict.fromkeys(_circle(word, read_id) for word in words))


def _circle(word: str, read_id: ReadId) -> Circle:
    kind, _, id = word.partition(":")
    if kind == "group":
        return Circle("group", read_id(id, "group"))
    if kind == "privilege" and _PRIVILEGE.fullmatch(id) is not None:
        return Circle("privilege", str(int(id)))
    raise Invalid(EXPECTED_CIRCLES)


@dataclass(frozen=True, slots=True)
class CommentingRules:
    """Who may comment: `anywhere`, but where `projects` says otherwise of a project, by its id."""

    anywhere: Circles = EVERYONE
    projects: Mapping[str, Circles] = field(default_factory=dict)

    @property
    def is_for_all(self) -> bool:
        """Whether whoever may open an object may comment on it, whichever it is."""
        return self.anywhere is EVERYONE and all(circles is EVERYONE for circles in self.projects.values())

    def circles(self, project_id: str) -> Circles:
        """Who may comment in a project."""
        return self.projects.get(project_id, self.anywhere)


@dataclass(frozen=True, slots=True)
class SwitchTopic:
    """Let people comment on an object again, or nobody, whoever may otherwise. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    commenting: Flag
    request_id: Text | None = None
