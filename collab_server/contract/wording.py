"""What each field means, with an example of it: for the OpenAPI document, docs/protocol.md and docs/asyncapi.json.

A field is looked up under the name of what it is in, `comment.add.text` or `Comment.text`, then under its own name
alone. `rules` are further keywords of its JSON schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collab_server.domain.letters import CLEAR_NAME, NOT_BLANK
from collab_server.domain.topics import MOST_WAIT_SECONDS

COMMENT_ID = "019ab1c2-d3e4-7f50-8a1b-2c3d4e5f6071"
REPLY_ID = "019ab1c3-0a1b-7c2d-9e3f-405162738495"
DISCUSSION_ID = "019ab1c4-5d6e-7f80-91a2-b3c4d5e6f708"
NOTIFICATION_ID = "019ab1c5-6e7f-7081-92b3-c4d5e6f70819"
ANN = "A11A0000000000000000000000000001"
BOB = "B22B0000000000000000000000000002"
SALES = "6A000000000000000000000000000001"
PROJECT = "F0000000000000000000000000000001"
DASHBOARD = "DA000000000000000000000000000001"
TOPIC = f"content:{PROJECT}:{DASHBOARD}"
DISCUSSION = f"discussion:{DISCUSSION_ID}"
EPOCH = "5f0c7a1e9b3d4826"
CURSOR = "NDI"
TIME = "2026-11-23T18:07:00.123Z"

_UUID = {"format": "uuid"}
_TIME = {"format": "date-time"}
_LIBRARY_ID = {"pattern": "^[0-9A-Fa-f]{32}$"}
_SEQ = {"minimum": 0, "maximum": 2**53 - 1}
_WORDS = {"minLength": 1, "pattern": NOT_BLANK}
_NAME = {"minLength": 1, "maxLength": 200, "pattern": CLEAR_NAME}
_KEY = {"minLength": 1, "maxLength": 256}
# A letter, a digit or an emoji. \W means another thing in JavaScript, so this refuses what is plain ASCII and none.
_QUERY = {"minLength": 1, "maxLength": 200, "pattern": r"[^\x00-/:-@\[-`{-\x7f]"}
_CONTENT_TOPIC = {"pattern": "^content:[0-9A-Fa-f]{32}:[0-9A-Fa-f]{32}$"}
_TOPIC = {
    "pattern": "^(content:[0-9A-Fa-f]{32}:[0-9A-Fa-f]{32}"
    "|discussion:[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|inbox:[0-9A-Fa-f]{32})$"
}


@dataclass(frozen=True, slots=True)
class Wording:
    """One field: what it means, an example, more of its schema."""

    means: str
    example: Any
    rules: Mapping[str, Any] = field(default_factory=dict)


_PAGE = Wording("How many items at the most, 1 to 200.", 50, {"minimum": 1, "maximum": 200})
_STRETCH = Wording("How many events at the most, 1 to 500.", 500, {"minimum": 1, "maximum": 500})

WORDINGS: Mapping[str, Wording] = {
    # --- what commands take
    "topic": Wording(
        "The name of a topic: `content:{projectId}:{objectId}`, `discussion:{id}` or `inbox:{userId}`.",
        TOPIC,
        _TOPIC,
    ),
    "topics": Wording(
        "Up to 500 names of topics.",
        [TOPIC, DISCUSSION],
        {"maxItems": 500, "items": {"type": "string", **_TOPIC}},
    ),
    "after": Wording("The last `seq` that the client has: what follows it is wanted. 0 for all.", 41, _SEQ),
    "topic.subscribe.after": Wording(
        "The last `seq` that the client has. Left out: only what is new, from now on.", 41, _SEQ
    ),
    "wait": Wording(
        f"For how many seconds to wait, up to {MOST_WAIT_SECONDS}, while there is nothing after `after`. Left out: not"
        " at all.",
        MOST_WAIT_SECONDS,
        {"minimum": 0, "maximum": MOST_WAIT_SECONDS},
    ),
    "topic.subscribe.epoch": Wording(
        "The epoch in which `after` was learned. Left out: the present one is meant.", EPOCH
    ),
    "epoch": Wording("Only two `seq` of the same epoch can be compared.", EPOCH),
    "limit": _PAGE,
    "topic.subscribe.limit": _STRETCH,
    "topic.events.limit": _STRETCH,
    "cursor": Wording("`next` of the page before. Left out: the first page.", CURSOR),
    "requestId": Wording(
        "Chosen by the client: the same command under the same one takes effect once.",
        "7d1f2c9e",
        {"minLength": 1, "maxLength": 128},
    ),
    "text": Wording(
        "Plain text that is not blank, 1 to `textCharacters` code points. A mention is `@[Shown Name](user:ID)` or"
        " `@[Shown Name](group:ID)` in it.",
        "See @[Bob Baker](user:B22B0000000000000000000000000002) for March",
        _WORDS,
    ),
    "discussion.create.text": Wording(
        "The first comment. Left out: there is none.", "What do we tell the board?", _WORDS
    ),
    "replyTo": Wording(
        "The id of a comment of the same topic; the new one joins its thread. Left out: a new thread.",
        COMMENT_ID,
        _UUID,
    ),
    "anchor": Wording(
        "Where in the object: `pageKey`, `visualizationKey`, `dataPoint`, each of which may be missing. At most 4096"
        " bytes of JSON.",
        {"pageKey": "K53", "visualizationKey": "W63"},
    ),
    "pageKey": Wording("The page, 1 to 256 characters.", "K53", _KEY),
    "visualizationKey": Wording("The visualization, 1 to 256 characters.", "W63", _KEY),
    "dataPoint": Wording("Any JSON that says which data point.", {"month": "March"}),
    "topic.comments.pageKey": Wording("Only those at this page.", "K53"),
    "topic.comments.visualizationKey": Wording("Only those at this visualization.", "W63"),
    "viewState": Wording(
        "The filters and selections to look at: a JSON object of up to `viewStateBytes` bytes and 64 levels, kept and"
        " returned as it came.",
        {"filters": {"Region": ["East"]}},
    ),
    "commentId": Wording("The id of a comment.", COMMENT_ID, _UUID),
    "comment.add.commentId": Wording(
        "The id that the comment gets, chosen by the client: a UUIDv7 of a time within 5 minutes of the server's, never"
        " used before. Left out: the server makes one.",
        COMMENT_ID,
        _UUID,
    ),
    "format": Wording(
        "How the text is to be read, `plain` or `markdown`. Left out: plain; with `comment.edit`, as the comment is.",
        "markdown",
    ),
    "ofRevision": Wording(
        "The `revision` of the comment that the change was made of: where it has another one by now, nothing is"
        " changed. Left out: whatever it says is replaced.",
        1,
        {"minimum": 1},
    ),
    "ofName": Wording(
        "The name that the change was made of: where the discussion has another one by now, nothing is changed. Left"
        " out: whatever its name is, it is replaced.",
        "Board figures",
    ),
    "emoji": Wording("One emoji, with its joiners and tones, in any spelling.", "👍"),
    "thread": Wording("The id of a thread's root: only the root and its replies.", COMMENT_ID, _UUID),
    "topic.comments.resolved": Wording("Only those in resolved threads, or only those in open ones.", False),
    "order": Wording("By `seq`: `oldest` first or `newest` first.", "oldest"),
    "thread.follow.following": Wording("Whether to be told of every reply in the thread.", True),
    "thread.mute.muted": Wording("Whether the thread is to be mute.", True),
    "following": Wording("Whether this person is told of every reply in the thread.", True),
    "ThreadMark.muted": Wording("Whether this person is told nothing of the thread.", False),
    "thread.was_marked.thread": Wording("What is chosen for the thread now.", None),
    "fromSeq": Wording(
        "Unread from here on; 0 and 1 mean from the beginning, what is beyond the read mark changes nothing.",
        42,
        _SEQ,
    ),
    "topic.read.seq": Wording("Read up to here; beyond the head it means the head.", 42, _SEQ),
    "topic.mute.muted": Wording("Whether the topic is to be mute.", True),
    "topic.mute.until": Wording(
        "With `muted: true`: a time to come, RFC 3339. Left out: for ever.", "2027-01-31T18:00:00Z", _TIME
    ),
    "typing.typing": Wording("Whether this person is writing. Ends by itself after 6 s: say it again.", True),
    "topic.switch.commenting": Wording(
        "Whether people may comment on the object, those whom the configuration lets; false: nobody.", False
    ),
    "discussionId": Wording("The id of a discussion.", DISCUSSION_ID, _UUID),
    "name": Wording(
        "1 to 200 code points on one line, not blank, nothing in it that cannot be seen.",
        "Board figures",
        _NAME,
    ),
    "members": Wording(
        "Users and groups, `{kind, id}` each; a group stands for its users and those of groups in it."
        " At most `discussionMembers`.",
        [{"kind": "user", "id": BOB}, {"kind": "group", "id": SALES}],
    ),
    "recipients": Wording(
        "Users and groups, `{kind, id}` each, at least one; a group stands for its users and those of groups in it.",
        [{"kind": "user", "id": BOB}],
        {"minItems": 1},
    ),
    "discussion.create.about": Wording(
        "The object that it is about, `{projectId, objectId}`; the asker has to be allowed to open it.",
        {"projectId": PROJECT, "objectId": DASHBOARD},
    ),
    "discussion.list.about": Wording("Only discussions about this content topic.", TOPIC, _CONTENT_TOPIC),
    "userId": Wording("A user's id.", BOB, _LIBRARY_ID),
    "content": Wording(
        "The object to send, `{projectId, objectId}`.", {"projectId": PROJECT, "objectId": DASHBOARD}
    ),
    "projectId": Wording("32 hex digits.", PROJECT, _LIBRARY_ID),
    "objectId": Wording("32 hex digits.", DASHBOARD, _LIBRARY_ID),
    "message": Wording(
        "Plain text, up to `textCharacters` code points; may be empty.", "Look at March, please"
    ),
    "ids": Wording(
        "Up to 500 ids of notifications. Either this or `upTo`.",
        [NOTIFICATION_ID],
        {"maxItems": 500, "items": {"type": "string", **_UUID}},
    ),
    "upTo": Wording("All up to this `seq` of the inbox. Either this or `ids`.", 17, _SEQ),
    "notification.list.unread": Wording("Only unread ones, or only read ones.", True),
    "notification.list.kind": Wording("Only those of this kind.", "mention"),
    "identityToken": Wording("An identity token of Library.", "eyJhbGciOi…"),
    "authToken": Wording("An auth token of Library.", "8f14e45fceea…"),
    "q": Wording("Words to look for, up to 200 characters and 16 words.", "march figures", _QUERY),
    "comments.search.topic": Wording("Only in this topic.", TOPIC, _TOPIC),
    "author": Wording("A user's id: only what this person wrote.", BOB, _LIBRARY_ID),
    "search": Wording("What the name contains, up to 200 characters.", "ba", {"maxLength": 200}),
    "recipients.find.kind": Wording("Only users, or only groups.", "user"),
    # --- what answers hold
    "kind": Wording("`user` or `group`.", "user"),
    "id": Wording("A UUIDv7.", COMMENT_ID, _UUID),
    "threadId": Wording("The id of the thread's root; a root's own id.", COMMENT_ID, _UUID),
    "seq": Wording("The place in the topic's log.", 42, _SEQ),
    "at": Wording("When.", TIME, _TIME),
    "by": Wording("Who.", None),
    "comment": Wording("The comment as it is now.", None),
    "discussion": Wording("The discussion as it is now.", None),
    "createdAt": Wording("When it came to be.", TIME, _TIME),
    "editedAt": Wording("When the text was last changed; null if never.", None, _TIME),
    "deletedAt": Wording("When it was deleted; null unless it is a tombstone.", None, _TIME),
    "Comment.seq": Wording(
        "Its place in the topic: the `seq` of its `comment.added`. By it pages and events go together, and it is"
        " unread by whoever has read less far.",
        42,
        _SEQ,
    ),
    "revision": Wording("1, and one more with every edit.", 1),
    "replyCount": Wording("At a root: how many replies were posted, deleted ones included. At a reply 0.", 0),
    "reactions": Wording(
        "Emoji, fully qualified → ids of the users who reacted with it, in order; the emoji in the order of their"
        " first.",
        {"👍": [BOB]},
    ),
    "mentions": Wording("Whom the text mentions, each once, by the names that Library has for users.", None),
    "resolved": Wording("At a root: who resolved the thread and when; null while it is open.", None),
    "readSeq": Wording(
        "How far this person has read the topic. A comment beyond it (`Comment.seq`) that is not theirs and not deleted"
        " is unread.",
        39,
        _SEQ,
    ),
    "unread": Wording("How many comments of others this person has not read, deleted ones left out.", 3),
    "comments": Wording("How many there are, deleted ones left out.", 12),
    "muted": Wording("Whether this person has muted the topic.", False),
    "commenting": Wording(
        "Whether people comment here at all: false where an administrator has switched an object off.", True
    ),
    "rights": Wording(
        "The commands that this person may use here; some of them only on what they wrote.",
        ["topic.get", "comment.add"],
    ),
    "present": Wording("Who has the topic open, in the order of arrival, the first 200.", None),
    "next": Wording("The `cursor` of the next page; null after the last.", None),
    "more": Wording("Whether `limit` has cut it short: go on after the last one.", False),
    "events": Wording("Oldest first, without gaps.", None),
    "recovered": Wording(
        "Whether `after` was accepted: with `events`, then `topic.events` while `more`, nothing is missing.",
        True,
    ),
    "open": Wording("Threads that are not resolved.", 2),
    "total": Wording("All comments.", 7),
    "lastAt": Wording("When its last event was; null while there is none.", TIME, _TIME),
    "joinedAt": Wording("When they became a member.", TIME, _TIME),
    "lastSeq": Wording("The head of its topic: the last `seq`.", 42, _SEQ),
    "owner": Wording("The member who owns it.", None),
    "shared": Wording("With how many people, each counted once, the asker not.", 2),
    "administrator": Wording("Whether they are among the `administrators` of this server.", False),
    "why": Wording("Why this person is told, in words.", "mentioned you"),
    "readAt": Wording("When it was read; null while it is not.", None, _TIME),
    "resumeToken": Wording(
        "Signs in again, on any node, until the Library session ends. A secret.", "gAAAAAB…"
    ),
    "expiresAt": Wording("Until when the resume token holds without Library being asked.", TIME, _TIME),
    "initials": Wording("As Library has them.", "AA"),
    "user": Wording("The person.", None),
    "items": Wording("What was asked for.", None),
    "type": Wording("What has happened: the Socket.IO event has this name.", "comment.added"),
    "actor": Wording("Who did it.", None),
    "data": Wording("What it carries; see the table of events.", {}),
    "node": Wording("The name of the node, for people who look into logs.", "node1-3fa2c1"),
    "inboxSeq": Wording("The head of the inbox.", 17, _SEQ),
    "code": Wording("Which error; for programs.", "invalid"),
    "ticketId": Wording(
        "Finds it in the log of the nodes. Whoever gets many errors in a minute gets one id more than once.",
        "9f86d081884c7d65",
    ),
    "field": Wording("The offending part of the payload, such as `members[2].id`.", "text"),
    "retryAfter": Wording("After how many seconds to try again.", 2),
    "outcome": Wording(
        "What became of a write: `none`, nothing was stored; `unknown`, repeat it with the same `requestId`.",
        "none",
    ),
    "Error.comment": Wording(
        "Of a change that was made of another revision: the comment as it is now.", None
    ),
    "Error.discussion": Wording(
        "Of a change that was made of another name: the discussion as it is now.", None
    ),
    "knows": Wording(
        "Fields of commands that nodes of before 0.3 refuse, and this one knows. Where they are not told: none.",
        ["ofName", "ofRevision"],
    ),
    "User.id": Wording("32 hex digits, upper case.", ANN, _LIBRARY_ID),
    "User.name": Wording("The full name.", "Ann Archer"),
    "Member.id": Wording("32 hex digits, upper case.", BOB, _LIBRARY_ID),
    "Member.name": Wording("The full name.", "Bob Baker"),
    "Member.initials": Wording("As Library has them.", "BB"),
    "Mention.id": Wording("32 hex digits, upper case.", BOB, _LIBRARY_ID),
    "Mention.name": Wording("A user's name at Library; a group's as the text shows it.", "Bob Baker"),
    "Recipient.id": Wording("32 hex digits, upper case.", BOB, _LIBRARY_ID),
    "Recipient.name": Wording("The full name.", "Bob Baker"),
    "Person.id": Wording("32 hex digits, either case.", BOB, _LIBRARY_ID),
    "Comment.text": Wording(
        "Plain text; empty when deleted.", "See @[Bob Baker](user:B22B0000000000000000000000000002)"
    ),
    "Comment.body": Wording(
        "What it is shown as, where it came as markdown and has anything of it; else null: as it is written.",
        [
            {
                "type": "paragraph",
                "children": [{"type": "bold", "children": [{"type": "text", "text": "March"}]}],
            }
        ],
    ),
    "BodyPart.type": Wording(
        "Blocks: `paragraph`, `quote`, `list` (its children are `item`s), `item`, `codeBlock`. Within lines: `text`,"
        " `break` (a new line), `code`, `bold`, `italic`, `strike`, `link`, `mention`.",
        "bold",
    ),
    "BodyPart.children": Wording(
        "What is in it, of all but `codeBlock`, `text`, `break`, `code` and `mention`: blocks in quotes, lists and"
        " items, elsewhere what is within lines.",
        [{"type": "text", "text": "March"}],
    ),
    "BodyPart.text": Wording("Of `text`, `code` and `codeBlock`: what it says. Text, never markup.", "March"),
    "BodyPart.start": Wording("Of a `list` with numbers: the first one. Left out: it has none.", 1),
    "BodyPart.language": Wording("Of a `codeBlock`: what its author called its language.", "sql"),
    "BodyPart.url": Wording(
        "Of a `link`: where it leads, by `http:`, `https:` or `mailto:`.", "https://example.com/"
    ),
    "BodyPart.title": Wording("Of a `link`: what its author said of it.", "The figures"),
    "BodyPart.kind": Wording("Of a `mention`: `user` or `group`.", "user"),
    "BodyPart.id": Wording("Of a `mention`: as it is written in the text, in any case.", BOB),
    "BodyPart.name": Wording("Of a `mention`: as it is written in the text.", "Bob Baker"),
    "Comment.author": Wording("Who wrote it.", None),
    "Comment.viewState": Wording(
        "Kept and returned as it came; null when deleted.", {"filters": {"Region": ["East"]}}
    ),
    "Comment.anchor": Wording(
        "Where in the object it belongs, the parts that were given; null for the object as a whole.",
        {"pageKey": "K53", "visualizationKey": "W63"},
    ),
    "Revision.text": Wording("What it said from `at` on.", "See March"),
    "Discussion.id": Wording("A UUIDv7.", DISCUSSION_ID, _UUID),
    "Discussion.topic": Wording("`discussion:{id}`.", DISCUSSION, _TOPIC),
    "Discussion.about": Wording(
        "The object that it is about, or null.", {"projectId": PROJECT, "objectId": DASHBOARD}
    ),
    "Discussion.members": Wording(
        "By the time they joined, the owner among them.",
        [
            {"id": ANN, "name": "Ann Archer", "initials": "AA", "joinedAt": TIME},
            {"id": BOB, "name": "Bob Baker", "initials": "BB", "joinedAt": TIME},
        ],
    ),
    "member.added.members": Wording(
        "Who came.", [{"id": BOB, "name": "Bob Baker", "initials": "BB", "joinedAt": TIME}]
    ),
    "Notification.id": Wording("A UUIDv7.", NOTIFICATION_ID, _UUID),
    "Notification.kind": Wording("`mention`, `reply`, `invited` or `shared`.", "mention"),
    "Notification.commentId": Wording("The comment it is about, or null.", COMMENT_ID, _UUID),
    "Notification.text": Wording(
        "The first 500 code points of the comment as it is now or, where these end inside a mention or a letter, fewer;"
        " the whole message that came with a share, or the discussion's name; empty once the comment is deleted, or"
        " where it was edited and its reader is not known to have the right to it.",
        "See @[Bob Baker](user:B22B0000000000000000000000000002)",
    ),
    "Notification.viewState": Wording("What was shared with it, or null.", None),
    "Unread.unread": Wording("How much is left unread.", 3),
    "Place.unread": Wording("Comments of others that the asker has not read.", 1),
    "Place.pageKey": Wording("The page; null for comments that name none.", "K53"),
    "Place.visualizationKey": Wording("The visualization; null for comments that name none.", "W63"),
    "Error.message": Wording("For people.", "expected a text that is not blank"),
    "Anchors.threads": Wording("Every thread in which the asker has not read everything.", None),
}


def wording(owner: str, name: str) -> Wording | None:
    """The wording of a field of a command (`comment.add`) or of an object (`Comment`)."""
    return WORDINGS.get(f"{owner}.{name}") or WORDINGS.get(name)
