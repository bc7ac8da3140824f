"""What a run leaves behind, as plain values: what was asked and answered, delivered, and stored.

Times are seconds of one monotonic clock. `key` identifies an event beyond its `seq`: its type, its comment and
the `requestId` that it carries in its text (see `event_key`). Writers put their `requestId` in front of every
text, so that each row and each event can be traced to the intent it comes from.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Delivery(NamedTuple):
    """An event as a reader got it."""

    seq: int
    key: str
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful acknowledgement: the event's `seq`, and the comment it is about."""

    seq: int
    comment_id: str


@dataclass(slots=True)
class Write:
    """One intent of a writer, tried under one `requestId` until it is answered.

    `answers` are all the acknowledgements it got; `refused` is the code of a refusal that no repetition changes.
    """

    request_id: str
    kind: str
    user_id: str
    topic: str
    began_at: float
    comment_id: str | None = None
    attempts: int = 0
    answers: list[Answer] = field(default_factory=list)
    acknowledged_at: float | None = None
    refused: str | None = None


@dataclass(slots=True)
class Session:
    """One subscription of a reader to a topic, from its acknowledgement until the connection or the right ended.

    `caught_up` are the events of the acknowledgement and of `topic.events` after it, `has_caught_up` whether all
    of them up to `seq` were fetched; `live` is everything pushed, exactly as it came. `is_again`: the reader was
    subscribed already, and may have got more than its `after` before the acknowledgement came.
    """

    reader: str
    user_id: str
    topic: str
    node: str
    after: int
    seq: int
    is_recovered: bool
    began_at: float
    caught_up: list[Delivery] = field(default_factory=list)
    has_caught_up: bool = False
    live: list[Delivery] = field(default_factory=list)
    is_again: bool = False
    epoch: str = ""
    _looked_at: int = field(default=0, compare=False)
    _highest: int = field(default=0, compare=False)

    @property
    def position(self) -> int:
        """Up to where the reader has the log: what it gives as `after` when it comes back."""
        if not self.has_caught_up:
            return self.caught_up[-1].seq if self.caught_up else self.after
        if not self.live:
            return self.seq
        for number in range(self._looked_at, len(self.live)):  # asked often, of many deliveries
            self._highest = max(self._highest, self.live[number].seq)
        self._looked_at = len(self.live)
        return self._highest


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the log. `keys` are all the keys a reader may have seen: a deleted comment's words leave the log.

    `added` and `removed` are the users that it made members, or put out.
    """

    seq: int
    type: str
    keys: frozenset[str]
    comment_id: str | None = None
    request_id: str | None = None
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredComment:
    """A row of the comments; `request_ids` are those of its texts, oldest first."""

    id: str
    seq: int
    thread_id: str
    author_id: str
    request_ids: Sequence[str]
    is_deleted: bool
    reply_count: int


@dataclass(frozen=True, slots=True)
class StoredTopic:
    """A topic as the database has it at the end. `read` is how far each user has read it."""

    name: str
    last_seq: int
    comment_count: int
    events: Sequence[StoredEvent]
    comments: Sequence[StoredComment]
    read: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnreadTold:
    """What a node said that a user has not read, after everything had come to rest."""

    node: str
    user_id: str
    topic: str
    unread: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """From `at` on the user may not have the topic; the server may take `grace_seconds` to notice."""

    user_id: str
    topic: str
    at: float
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Rewind:
    """The database was put back, at `back_at`, to what it had held at `copied_at`; `epoch` is that of before."""

    epoch: str
    copied_at: float
    back_at: float


@dataclass(slots=True)
class History:
    """Everything the checker looks at.

    `must_have` are the (reader, topic) that have to be complete at the end; `never` are the (user, topic) that
    nothing of may reach; `early` are events of a topic that reached a reader before its subscription was
    acknowledged, or after it had ended; `epoch` is that of the end.
    """

    writes: list[Write] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    stored: list[StoredTopic] = field(default_factory=list)
    unread: list[UnreadTold] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    rewinds: list[Rewind] = field(default_factory=list)
    epoch: str = ""
    must_have: set[tuple[str, str]] = field(default_factory=set)
    never: set[tuple[str, str]] = field(default_factory=set)
    early: list[tuple[str, str, Delivery]] = field(default_factory=list)


def first_word(text: str) -> str:
    """The `requestId` in front of a text; empty for the text of a tombstone."""
    return text.partition(" ")[0]


def make_key(type: str, comment_id: str | None, request_id: str | None) -> str:
    """The key of an event. Interned: every reader gets the same ones."""
    return sys.intern(f"{type} {comment_id or ''} {request_id or ''}")


def event_key(event: Mapping[str, Any]) -> str:
    """The key of an event of the wire."""
    data = event["data"]
    comment = data.get("comment")
    if comment is not None:
        return make_key(event["type"], comment["id"], first_word(comment["text"]))
    return make_key(event["type"], data.get("commentId"), None)
