"""Every command there is. Both doors, the rights and the documents are made of their rows.

A row's function is bound in `services/commands/table.py`. Their order is that of the documents and of `rights` in
answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from collab_server.contract.commands import discussions, inbox, people, talking
from collab_server.contract.rows import CommandType, Route, by_name, routes_of
from collab_server.domain.wire import CONDITION, camel

_ROWS = (*talking.ROWS, *discussions.ROWS, *inbox.ROWS, *people.ROWS)

FAMILIES = {
    "topic": "Topics: what there is, what is new, what was read.",
    "comment": "Comments, replies, reactions.",
    "thread": "Threads: resolved or open.",
    "discussion": "Private discussions of their members.",
    "notification": "One's inbox.",
    "share": "Sending content to people.",
    "recipients": "Whom one can mention, invite or send to.",
    "comments": "Looking for comments.",
    "me": "The asker.",
    "session": "The asker's sign-in.",
    "typing": "Who is writing.",
}
"""What the commands are about whose names begin so."""

COMMANDS: Mapping[str, CommandType] = by_name(_ROWS, FAMILIES)

CONDITIONS = sorted(
    {
        camel(field.name)
        for row in COMMANDS.values()
        for field in fields(row.payload)
        if field.metadata == CONDITION
    }
)
"""What says of what a change was made: fields that nodes of the version before refuse, so that this one names them."""

ROUTES: tuple[Route, ...] = tuple(routes_of(_ROWS))
"""The REST calls."""
