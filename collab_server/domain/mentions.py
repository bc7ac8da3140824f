"""Mentions in a text: the one grammar of them, and where a text may be cut.

    mention = "@[" name "](" kind ":" id ")"
    name    = 1 to 256 code points, none a line feed, without "](" and "@[" in it
    kind    = "user" / "group"
    id      = 1 to 64 letters, digits and ._~@+- of ASCII

They are found from left to right and do not overlap; so a mention begins with the last "@[" before its "](". Clients
read texts by the same grammar: tests/vectors/mentions.json has examples for every implementation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from collab_server.domain.ids import OPAQUE_ID, ReadId
from collab_server.domain.letters import whole_letters
from collab_server.errors import Invalid, TooLarge

MENTION: Final = re.compile(rf"@\[((?:(?!\]\(|@\[)[^\n]){{1,256}})\]\((user|group):({OPAQUE_ID})\)")
"""What a mention is; its groups are name, kind and id. It takes time in proportion to the text."""


@dataclass(frozen=True, slots=True)
class Mention:
    """Somebody named in a text. `id` is Library's."""

    kind: Literal["user", "group"]
    id: str
    name: str

    def as_wire(self) -> dict[str, str]:
        return {"kind": self.kind, "id": self.id, "name": self.name}


def mentions_in(text: str, max_mentions: int, read_id: ReadId) -> list[Mention]:
    """The people and groups that a text names as `@[Shown Name](user:ID)`, each once, in order.

    The names are those shown in the text; who exists is for the directory to say, and what an id is for `read_id`.
    Raises `Invalid` for an id that cannot be one and `TooLarge` for more than `max_mentions`.
    """
    found: dict[tuple[str, str], Mention] = {}
    for written in MENTION.finditer(text):
        kind: Literal["user", "group"] = "user" if written[2] == "user" else "group"
        try:
            id = read_id(written[3], "text")
        except Invalid as error:
            raise Invalid(f"{error.message} in a mention of a {kind}", field="text") from None
        found.setdefault((kind, id), Mention(kind, id, written[1]))
    if len(found) > max_mentions:
        raise TooLarge(f"expected at most {max_mentions} mentions, got {len(found)}", field="text")
    return list(found.values())


def excerpt(text: str, most: int) -> str:
    """The beginning of a text, of at most so many code points (more than a mention may have), cut inside no mention and
    inside nothing that people see as one letter, unless that is longer than `most` itself."""
    if len(text) <= most:
        return text
    mentions = [found.span() for found in MENTION.finditer(text[: most + _LONGEST_MENTION])]
    end, was = most, 0
    while end != was:
        was = end
        end = next((start for start, stop in mentions if start < end < stop), end)
        end = whole_letters(text, end)
    return text[: end or most]


_LONGEST_MENTION = len("@[](group:)") + 256 + 64
