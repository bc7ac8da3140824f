"""What is told of comments that were edited since: the words that they have now, to whoever may read them.

A notification, and the event that brings it, keep the words that their comment had. Whoever reads them is shown those
of now, as they are in the comment then: nothing is written for it, however many were told. The right to read them is
looked at anew: members of a discussion have it, of a dashboard Library says so, asked as the reader. Where it says no,
or not soon, there are no words, neither of now nor of then; those come when it is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from collab_server.domain.events import Event
from collab_server.domain.inbox import Notification, in_words_of_now
from collab_server.domain.jsontext import dumps, json_object, json_string, read_rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.topics import Topic, parse_topic
from collab_server.errors import ClientError
from collab_server.ports import MOST_CALLS_PER_USER
from collab_server.services.backends import Backends
from collab_server.storage import inbox

__all__ = ["events_of_now", "notifications_of_now"]

PATIENCE_SECONDS = 0.75
"""So long a reader waits for what is being asked of Library."""
_KINDS_OF_COMMENTS = [json_object(kind=json_string(kind))[1:-1] for kind in ("mention", "reply")]


async def notifications_of_now(
    backends: Backends, who: Identity, told: Sequence[Notification]
) -> list[Notification]:
    """What somebody was told, with the words of now. Raises `Paused`."""
    about = {
        notification.comment_id: notification.topic
        for notification in told
        if notification.is_outdated and notification.comment_id is not None
    }
    return in_words_of_now(told, await _said_now(backends, who, about))


async def events_of_now(backends: Backends, who: Identity, topic: Topic, events: list[Event]) -> list[Event]:
    """Events of a topic; what those of an inbox tell of comments has the words of now. Raises `Paused`."""
    if topic.kind != "inbox":
        return events
    told = _of_comments(events)
    if not told:
        return events
    notifications: list[dict[str, Any]] = [body["data"]["notification"] for body in told.values()]
    found = await inbox.outdated(
        backends.database,
        [(UUID(one["commentId"]), read_rfc3339(one["createdAt"])) for one in notifications],
    )
    outdated = [notifications[place] for place in found]
    said = await _said_now(backends, who, {UUID(one["commentId"]): one["topic"] for one in outdated})
    for one in outdated:
        one["text"] = said.get(UUID(one["commentId"]), "")
    changed = {place for number, place in enumerate(told) if number in found}
    return [
        replace(event, body=dumps(told[place])) if place in changed else event
        for place, event in enumerate(events)
    ]


def _of_comments(events: Iterable[Event]) -> dict[int, dict[str, Any]]:
    """The bodies of those that bring what is told of a comment, by their places. Other kinds have words of their own,
    and may be long: only what may be of a comment is read, which a view state that people have made up may be as well.
    """
    bodies = {
        place: json.loads(event.body)
        for place, event in enumerate(events)
        if event.type == "notification.added" and any(kind in event.body for kind in _KINDS_OF_COMMENTS)
    }
    return {
        place: body for place, body in bodies.items() if body["data"]["notification"]["commentId"] is not None
    }


async def _said_now(backends: Backends, who: Identity, about: Mapping[UUID, str]) -> dict[UUID, str]:
    """What is told now of these comments, each with the name of its topic, as far as somebody may know it."""
    if not about:
        return {}
    content = [name for name in dict.fromkeys(about.values()) if parse_topic(name).kind == "content"]
    closed = {*content} - await _open(backends, who, content)
    return await inbox.said_now(
        backends.database, who.user.id, [id for id, name in about.items() if name not in closed]
    )


async def _open(backends: Backends, who: Identity, names: Iterable[str]) -> set[str]:
    """Those of these topics of content that somebody may open, as far as that is soon known."""
    gate, may_open = backends.gate, dict[Topic, bool]()
    at_once = asyncio.Semaphore(MOST_CALLS_PER_USER)

    def age_seconds(topic: Topic) -> float:
        age = gate.content_age_seconds(who.user.id, topic.first, topic.second)
        return math.inf if age is None else age

    async def ask(topic: Topic) -> None:
        async with at_once:
            if gate.is_silent and age_seconds(topic) == math.inf:
                return
            with contextlib.suppress(ClientError):
                may_open[topic] = await gate.may_open(who, topic.first, topic.second) is not None

    # What is known waits for nothing, and what takes long for no more than its own place.
    asked = sorted(map(parse_topic, names), key=age_seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*map(ask, asked))
    # Whom Library has not answered in that time may what it let them do before, as long as it is silent.
    return {
        topic.name for topic in asked if may_open.get(topic, gate.is_silent and age_seconds(topic) < math.inf)
    }
