"""What a server sends of its own accord: every type of event, every signal, and the shapes of their data.

Events are stored and have a `seq`, signals are not and have none. The documents for client authors are made of this
table; `tests/unit/test_protocol_document.py` holds it against the services.
"""

from __future__ import annotations

from collections.abc import Mapping

from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.rows import EventType, Incomplete, Shape, Signal

_DISCUSSION = ("discussion",)
_INBOX = ("inbox",)

_TAKE_OUT = ("comment.edit", "comment.delete", "discussion.remove", "discussion.leave", "discussion.delete")
"""What may take notifications out of inboxes."""

_ENTRIES = (
    EventType(
        "comment.added",
        {"comment": "Comment"},
        ("comment.add", "discussion.create"),
        "Somebody commented or replied (`actor`).",
    ),
    EventType(
        "comment.edited",
        {"comment": "Comment"},
        ("comment.edit",),
        "The author changed the text: the whole comment as it is now.",
    ),
    EventType(
        "comment.deleted",
        {"commentId": "id", "threadId": "id"},
        ("comment.delete",),
        "The author deleted a comment. Show a tombstone: its text, mentions and view state are gone.",
    ),
    EventType(
        "reaction.added",
        {"commentId": "id", "emoji": "string", "userId": "libraryId"},
        ("comment.react",),
        "Somebody reacted; comes after those with the same emoji that are there.",
    ),
    EventType(
        "reaction.removed",
        {"commentId": "id", "emoji": "string", "userId": "libraryId"},
        ("comment.unreact",),
        "Somebody took a reaction back; an emoji that nobody is left with goes.",
    ),
    EventType(
        "thread.resolved",
        {"commentId": "id"},
        ("thread.resolve",),
        "A thread was resolved: at its root `commentId`, `resolved` is now `{by: actor, at}` of this event.",
    ),
    EventType(
        "thread.reopened",
        {"commentId": "id"},
        ("thread.reopen",),
        "A thread is open again; `commentId` is its root.",
    ),
    EventType(
        "topic.switched",
        {"commenting": "boolean"},
        ("topic.switch",),
        "An administrator has let people comment on the object again, or nobody any more. `topic.rights` follows it.",
        on=("content",),
    ),
    EventType(
        "discussion.created",
        {"discussion": "Discussion"},
        ("discussion.create",),
        "The first event of every discussion. Its `unread` and `muted` are nobody's.",
        on=_DISCUSSION,
    ),
    EventType(
        "discussion.renamed",
        {"name": "string"},
        ("discussion.rename",),
        "It has another name.",
        on=_DISCUSSION,
    ),
    EventType(
        "member.added",
        {"members": "Member[]"},
        ("discussion.invite",),
        "These are members from now on.",
        on=_DISCUSSION,
    ),
    EventType(
        "member.removed",
        {"userId": "libraryId"},
        ("discussion.remove", "discussion.leave"),
        "Somebody left (`actor` is the same) or was removed. The last event that this person gets of it.",
        on=_DISCUSSION,
    ),
    EventType(
        "owner.changed",
        {"userId": "libraryId"},
        (
            *("discussion.transfer", "discussion.leave", "discussion.rename", "discussion.invite"),
            *("discussion.remove", "discussion.delete"),
        ),
        "This member is the owner now. Where the `actor` is the owner of before, they have left, or their account has"
        " ended and a member wanted what only an owner may, or looked at the discussion.",
        on=_DISCUSSION,
    ),
    EventType(
        "discussion.deleted",
        {},
        ("discussion.delete", "discussion.leave"),
        "It is gone, for everybody. The last event there is.",
        on=_DISCUSSION,
    ),
    EventType(
        "notification.added",
        {"notification": "Notification"},
        ("comment.add", "comment.edit", "discussion.create", "discussion.invite", "share"),
        "Somebody did something that this person is to know; the badge is one higher unless `readAt` is set.",
        on=_INBOX,
    ),
    EventType(
        "notification.read",
        {"ids": "id[]", "unread": "integer"},
        ("notification.read", "topic.read", *_TAKE_OUT),
        "These were read, perhaps on another device, or are to be removed. `unread` is the badge.",
        on=_INBOX,
    ),
    EventType(
        "notification.removed",
        {"ids": "id[]", "unread": "integer"},
        _TAKE_OUT,
        "These are in the inbox no more: the comment was deleted or names this person no longer, or the topic is closed"
        " to them, as they are no member any more or Library says so. `unread` is the badge.",
        on=_INBOX,
    ),
    EventType(
        "topic.was_read",
        {"topic": "string", "seq": "integer", "unread": "integer"},
        ("topic.read", "discussion.create"),
        "This person has read the topic up to `seq`, perhaps on another device; `unread` comments are left. It is how"
        " their devices hear of a discussion that they have begun.",
        on=_INBOX,
    ),
    EventType(
        "topic.was_unread",
        {"topic": "string", "seq": "integer", "unread": "integer"},
        ("topic.unread",),
        "This person has marked the topic unread, perhaps on another device: it is read up to `seq` only; `unread`"
        " comments are left.",
        on=_INBOX,
    ),
    EventType(
        "thread.was_marked",
        {"topic": "string", "thread": "ThreadMark"},
        ("thread.follow", "thread.mute"),
        "This person follows a thread of the topic, has muted it, or neither any more, perhaps on another device.",
        on=_INBOX,
    ),
    EventType(
        "topic.was_muted",
        {"topic": "string", "muted": "boolean", "until": "time | null"},
        ("topic.mute",),
        "This person has muted the topic, until a time or for ever (null), or unmuted it.",
        on=_INBOX,
    ),
)

EVENTS: Mapping[str, EventType] = {entry.name: entry for entry in _ENTRIES}

if _unknown := [
    f"{event.name} is caused by {name}, which is no command that changes something"
    for event in _ENTRIES
    for name in event.by
    if name not in COMMANDS or not COMMANDS[name].is_write
]:
    raise Incomplete(f"contract/events.py: {'; '.join(_unknown)}")

_SIGNALS = (
    Signal(
        "server.hello",
        {
            "user": "User",
            "node": "string",
            "epoch": "string",
            "inboxSeq": "integer",
            "resumeToken": "string",
            "expiresAt": "time",
            "knows": "string[]",
        },
        "The first thing after the CONNECT answer, and again, with a younger `resumeToken`, on a connection that"
        " lasts. `inboxSeq` is where the inbox stood: its events after that follow by themselves."
        " `knows` names fields of commands that the nodes of the version before refuse: send one only where this"
        " connection's node has named it.",
    ),
    Signal(
        "server.state",
        {
            "state": "'running' | 'paused' | 'draining'",
            "reason": "string | null",
            "serving": "Serving",
        },
        "The node's state has changed, or is not `running` when somebody comes, who hears it after `server.hello`."
        " `serving` says what works in spite of it.",
    ),
    Signal(
        "server.signed_out",
        {"reason": "'session_ended' | 'session_expired'"},
        "The sign-in of this connection is over; a DISCONNECT follows. `session_ended`: at Library, by `session.end`,"
        " or by the operator. `session_expired`: its time is over. Sign in again.",
    ),
    Signal(
        "topic.closed",
        {"topic": "string", "reason": "'rights lost' | 'removed' | 'deleted'"},
        "The subscription, or the watch, has ended: the right was lost, this person left or was removed, the discussion"
        " was deleted. Nothing of the topic comes after it.",
    ),
    Signal(
        "topic.rights",
        {"topic": "string", "rights": "string[]"},
        "What this person may do on a topic has changed, against `rights` of the subscription and the signals since: an"
        " object was switched, they may comment now, or no more, or a discussion has another owner.",
    ),
    Signal(
        "topic.summary",
        {
            "topic": "string",
            "seq": "integer",
            "comments": "integer",
            "readSeq": "integer",
            "unread": "integer",
            "lastAt": "time | null",
        },
        "What a topic that this connection watches has now, after something was said there or this person has read; at"
        " most every 2 s a topic. The newest counts.",
    ),
    Signal(
        "presence",
        {"topic": "string", "joined": "User[]", "left": "User[]"},
        "Who has the topic open has changed, against `present` of the subscription and the signals since.",
    ),
    Signal(
        "typing",
        {"topic": "string", "user": "User", "typing": "boolean"},
        "Somebody else is writing, or has stopped. A comment of theirs ends it too, without a signal.",
    ),
)

SIGNALS: Mapping[str, Signal] = {signal.name: signal for signal in _SIGNALS}

OBJECTS: Mapping[str, Shape] = {
    "Serving": {"reads": "boolean", "writes": "boolean", "live": "boolean"},
}
"""Objects that only signals carry; the others are those of answers."""
