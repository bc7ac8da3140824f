"""What commands cost, in units of the limit on how often somebody may ask: one for an everyday command.

A unit is worth some 3 ms of the node's loop, so that somebody who uses all of `commandsPerSecond` and `commandsBurst`
takes a quarter of it at the most. What cannot be told before is charged afterwards: bytes that came in or went out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from collab_server.domain.comments import AddComment, EditComment, ListComments
from collab_server.domain.discussions import CreateDiscussion, InviteMembers, ListDiscussions
from collab_server.domain.ends import EndSession
from collab_server.domain.inbox import ListNotifications
from collab_server.domain.people import FindRecipients, Person
from collab_server.domain.search import SearchComments
from collab_server.domain.sharing import Share
from collab_server.domain.sign_ins import RefreshSession
from collab_server.domain.subscriptions import WatchTopics
from collab_server.domain.topics import ListSummaries

BYTES_IN = 8_192
BYTES_OUT = 65_536
"""So many bytes of a request, or of an answer, cost a unit more."""

SEARCH = 20
FIND = 3
GROUP = 10
TOKEN = 9
PEOPLE = 20
TOPICS = 5  # each may be two questions to Library
ITEMS = 50
ASCII, OTHERS, MARKDOWN = 4000, 1000, 300
"""A search, a question for people, each group, to end a sign-in or renew it; and so many people, topics, items of a
page or characters cost a unit more."""


def _people(named: Sequence[Person]) -> int:
    groups = sum(person.kind == "group" for person in named)
    return groups * GROUP + (len(named) - groups) // PEOPLE


def _text(text: str | None, format: str | None) -> int:
    """Of words, which are indexed, of markdown, and of groups mentioned."""
    if text is None:
        return 0
    to_read = len(text) // MARKDOWN if format == "markdown" else 0
    return len(text) // (ASCII if text.isascii() else OTHERS) + to_read + text.count("](group:") * GROUP


_MORE: dict[type, Callable[[Any], int]] = {
    SearchComments: lambda command: SEARCH,
    FindRecipients: lambda command: FIND,
    EndSession: lambda command: TOKEN,
    RefreshSession: lambda command: TOKEN,
    ListSummaries: lambda command: len(command.topics) // TOPICS,
    WatchTopics: lambda command: len(command.topics) // TOPICS,
    Share: lambda command: _people(command.recipients),
    CreateDiscussion: lambda command: _people(command.members) + _text(command.text, command.format),
    InviteMembers: lambda command: _people(command.members),
    AddComment: lambda command: _text(command.text, command.format),
    EditComment: lambda command: _text(command.text, command.format),
    ListComments: lambda command: command.limit // ITEMS - 1,
    ListDiscussions: lambda command: command.limit // ITEMS - 1,
    ListNotifications: lambda command: command.limit // ITEMS - 1,
}
"""What a command costs besides its unit, where that is more than none."""

MOST = 100
"""More than so many units nothing costs."""


def weight_of(command: Any) -> int:
    """How many units a command costs besides its one."""
    more = _MORE.get(command.__class__)
    return 0 if more is None else max(0, min(more(command), MOST))


def weight_of_request(size: int) -> int:
    """How many units a request of so many bytes costs besides its one."""
    return size // BYTES_IN


def weight_of_answer(size: int) -> int:
    """How many units an answer of so many bytes costs."""
    return size // BYTES_OUT
