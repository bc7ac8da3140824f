"""What events and waiting commands make of comments. Comments are never changed: another takes the place of one."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final, NotRequired, cast

from collab_client.keeping import Entry
from collab_client.mentions import mentions_of
from collab_client.wire import Comment, TopicEvent, User

_EDITED: Final = ("text", "mentions", "body", "editedAt", "revision")
_NO_WORDS: Final[Any] = {"text": "", "mentions": [], "body": None}


class Shown(Comment):
    """A comment as it is shown. `pending` is the newest change of one's own that the server has not taken yet."""

    pending: NotRequired[Entry]


def fold(comments: dict[str, Comment], event: TopicEvent) -> None:
    """Let an event of a topic take effect on the topic's comments, by their ids.

    Every event in order, from the beginning of the log (`follow(topic, after=0)`), makes of an empty dictionary what
    `topic.comments` lists; so do the events behind the `seq` of such a page of what it has. Events of other kinds
    change nothing.
    """
    if event["type"] == "comment.added":
        added = event["data"]["comment"]
        comments.setdefault(added["id"], {**added, "seq": event["seq"]})
    known = comments.get(about(event) or "")
    if known is not None:
        comments[known["id"]] = after(known, event)


def about(event: Mapping[str, Any]) -> str | None:
    """The id of the comment that an event changes: of a reply that is added, its root; None where it is about none."""
    data = event["data"]
    if event["type"] == "comment.added":
        return str(data["comment"]["threadId"])
    found = data.get("commentId") or data.get("comment", {}).get("id")
    return None if found is None else str(found)


def after(comment: Comment, event: Mapping[str, Any]) -> Comment:
    """The comment after an event that is `about` it. A command does what its event does."""
    data = event["data"]
    match event["type"]:
        case "comment.added":  # of a reply to it
            if data["comment"]["id"] == comment["id"]:
                return comment
            return {**comment, "replyCount": comment["replyCount"] + 1}
        case "comment.edited":
            # Of what else has happened to it the log tells in its place, and the words of what is deleted stay away.
            edited = data["comment"]
            changed: Any = {name: edited.get(name) for name in _EDITED}
            words: Any = {} if comment["deletedAt"] is None else _NO_WORDS
            return {**comment, **changed, **words}
        case "comment.edit":
            text = data["text"]
            return {
                **comment,
                "text": text,
                "mentions": mentions_of(text),
                "body": None,
                "editedAt": event["at"],
            }
        case "comment.deleted" | "comment.delete":
            return comment if comment["deletedAt"] else _deleted(comment, event["at"])
        case "reaction.added" | "comment.react":
            return _reacted(comment, data["emoji"], data["userId"])
        case "reaction.removed" | "comment.unreact":
            return _unreacted(comment, data["emoji"], data["userId"])
        case "thread.resolved" | "thread.resolve":
            return {**comment, "resolved": {"by": event["actor"], "at": event["at"]}}
        case "thread.reopened" | "thread.reopen":
            return {**comment, "resolved": None}
    return comment


def _deleted(comment: Comment, at: str) -> Comment:
    left = {name: part for name, part in (comment["anchor"] or {}).items() if name != "dataPoint"}
    return {**comment, **_NO_WORDS, "viewState": None, "anchor": left or None, "deletedAt": at}


def _spelled(comment: Comment, emoji: str) -> str:
    """An emoji as it is spelled in the comment, if it is there: events of former servers have some without U+FE0F."""
    bare = emoji.translate({0xFE0E: None, 0xFE0F: None})
    alike = (each for each in comment["reactions"] if each.translate({0xFE0E: None, 0xFE0F: None}) == bare)
    return next(alike, emoji)


def _reacted(comment: Comment, emoji: str, user_id: str) -> Comment:
    spelled = _spelled(comment, emoji)
    users = comment["reactions"].get(spelled, [])
    if user_id in users:
        return comment
    return {**comment, "reactions": {**comment["reactions"], spelled: [*users, user_id]}}


def _unreacted(comment: Comment, emoji: str, user_id: str) -> Comment:
    spelled = _spelled(comment, emoji)
    reactions = {
        each: [user for user in users if (each, user) != (spelled, user_id)]
        for each, users in comment["reactions"].items()
    }
    return {**comment, "reactions": {each: users for each, users in reactions.items() if users}}


def foreseen(comment: Comment, waiting: Iterable[Entry], me: User | None) -> Shown:
    """The comment as it will be once the server has taken these commands of `me`, those of them that are about it."""
    shown = cast(Shown, comment)
    for entry in waiting:
        if me is None or entry.payload.get("commentId") != comment["id"]:
            continue
        if entry.state != "refused":  # what was refused is shown at the comment, which stays as it is
            data = {"userId": me["id"], **entry.payload}
            command = {"type": entry.name, "data": data, "at": rfc3339(entry.at), "actor": me}
            if entry.name != "comment.add":
                shown = cast(Shown, after(shown, command))
        shown = {**shown, "pending": entry}
    return shown


def rfc3339(at: float) -> str:
    """A moment, in seconds since 1970, as the server writes one."""
    time = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
