"""Reads what the database holds at the end of a run, straight from its tables."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import asyncpg

from tests.faults.history import StoredComment, StoredEvent, StoredTopic, event_key, first_word, make_key
from tests.harness.world import TestDatabase


async def read_stored(database: TestDatabase, topics: Iterable[str]) -> list[StoredTopic]:
    """These topics, with their logs and comments."""
    names = list(topics)
    connection = await asyncpg.connect(**database.connect_arguments(), timeout=10)
    try:
        rows = await connection.fetch(
            "SELECT id, name, last_seq, comments FROM collab.topics WHERE name = ANY($1)", names
        )
        answered = await _read_answered(connection)
        return [await _read_topic(connection, row, answered) for row in rows]
    finally:
        await connection.close()


async def _read_answered(connection: Any) -> dict[str, list[str]]:
    """By comment the requestIds of what was answered with it, oldest first."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in await connection.fetch(
        "SELECT request_id, answer FROM collab.requests WHERE starts_with(answer, '{\"comment\":')"
    ):
        answer = json.loads(row["answer"])
        found[answer["comment"]["id"]].append((answer["seq"], row["request_id"]))
    return defaultdict(list, {id: [request for _, request in sorted(own)] for id, own in found.items()})


async def _read_topic(connection: Any, topic: Any, answered: dict[str, list[str]]) -> StoredTopic:
    texts: dict[str, list[str]] = defaultdict(list)
    for row in await connection.fetch(
        """
        SELECT revision.comment_id, revision.text
          FROM collab.comment_revisions AS revision
          JOIN collab.comments AS comment ON comment.id = revision.comment_id
         WHERE comment.topic_id = $1
         ORDER BY revision.comment_id, revision.revision
        """,
        topic["id"],
    ):
        texts[str(row["comment_id"])].append(row["text"])
    comments: dict[str, StoredComment] = {}
    for row in await connection.fetch(
        "SELECT id, seq, thread_id, author_id, text, deleted_at, reply_count "
        "FROM collab.comments WHERE topic_id = $1 ORDER BY seq",
        topic["id"],
    ):
        id = str(row["id"])
        is_deleted = row["deleted_at"] is not None
        if is_deleted:  # its words are gone, and with them the requestIds in them
            texts[id] = answered[id]
        else:
            texts[id].append(row["text"])
        comments[id] = StoredComment(
            id,
            row["seq"],
            str(row["thread_id"]),
            row["author_id"],
            [first_word(text) for text in texts[id]],
            is_deleted,
            row["reply_count"],
        )
    events = [
        _event(row, comments)
        for row in await connection.fetch(
            "SELECT seq, type, data, comment_id FROM collab.events WHERE topic_id = $1 ORDER BY seq",
            topic["id"],
        )
    ]
    read = {
        row["user_id"]: row["seq"]
        for row in await connection.fetch(
            "SELECT user_id, seq FROM collab.read_marks WHERE topic_id = $1", topic["id"]
        )
    }
    return StoredTopic(
        topic["name"], topic["last_seq"], topic["comments"], events, list(comments.values()), read
    )


def _event(row: Any, comments: dict[str, StoredComment]) -> StoredEvent:
    data = json.loads(row["data"])
    id = None if row["comment_id"] is None else str(row["comment_id"])
    comment = comments.get(id) if id is not None else None
    keys = {event_key({"type": row["type"], "data": data})}
    request_id = None
    if "comment" in data and comment is not None:
        revision = data["comment"]["revision"]
        if revision <= len(comment.request_ids):
            request_id = comment.request_ids[revision - 1]
        if comment.is_deleted:
            keys.add(make_key(row["type"], id, request_id))
    return StoredEvent(
        row["seq"],
        row["type"],
        frozenset(keys),
        id,
        request_id,
        added=frozenset(member["id"] for member in (data.get("discussion") or data).get("members", ())),
        removed=frozenset({data["userId"]} if row["type"] == "member.removed" else ()),
    )
