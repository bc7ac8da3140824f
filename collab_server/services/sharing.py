"""Sharing: content sent to people, into their inboxes."""

from __future__ import annotations

from dataclasses import dataclass

from collab_server.domain.comments import view_state_text
from collab_server.domain.ids import uuid7
from collab_server.domain.inbox import (
    Notice,
    Reason,
)
from collab_server.domain.jsontext import JsonText, dumps, json_object, now_ms
from collab_server.domain.people import Identity
from collab_server.domain.sharing import Share
from collab_server.domain.topics import Topic, content_topic
from collab_server.errors import Invalid, TooLarge
from collab_server.services.access import access_content
from collab_server.services.backends import Backends
from collab_server.services.people import people_named
from collab_server.storage import inbox
from collab_server.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ShareFacts:
    """What is shared with whom: user id → why."""

    topic: Topic
    told: dict[str, Reason]
    view_state: JsonText | None


async def ask_share(backends: Backends, who: Identity, command: Share) -> ShareFacts:
    topic = content_topic(*await access_content(backends, who, command.content, "content"))
    if command.message is not None and len(command.message) > backends.limits.textCharacters:
        raise TooLarge(f"expected at most {backends.limits.textCharacters} characters", field="message")
    view_state = view_state_text(command.view_state, backends.limits.viewStateBytes)
    if not command.recipients:
        raise Invalid("expected at least one recipient", field="recipients")
    people = await people_named(backends, who, command.recipients, "recipients")
    backends.recipients.spend_whole(who.user.id, len(people))
    told = {user.id: Reason("shared", "shared this with you", user.id) for user in people}
    return ShareFacts(topic, told, view_state)


async def share(tx: Transaction, who: Identity, command: Share, facts: ShareFacts) -> JsonText:
    """`{shared}`: with how many people."""
    notice = Notice(
        cause=uuid7(),
        topic=facts.topic.name,
        topic_seq=None,
        comment_id=None,
        by=dumps(who.user.as_wire()),
        text=command.message or "",
        created_at=now_ms(),
        view_state=facts.view_state,
    )
    await inbox.store(tx, notice, facts.told, is_permitted=False)
    return json_object(shared=len(facts.told))
