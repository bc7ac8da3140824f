"""What the events of a topic make of its comments."""

from __future__ import annotations

from typing import Any

from collab_client.wire import Comment, TopicEvent


def fold(comments: dict[str, Comment], event: TopicEvent) -> None:
    """Let an event of a topic take effect on the topic's comments, by their ids.

    Every event in order, from the beginning of the log (`follow(topic, after=0)`), makes of an empty dictionary what
    `topic.comments` lists. Events of other kinds change nothing. Comments are never changed: another takes the place.
    """
    if event["type"] == "comment.added":
        comment = event["data"]["comment"]
        comments.setdefault(comment["id"], {**comment, "seq": event["seq"]})
        root = comments.get(comment["threadId"])
        if root is not None and root["id"] != comment["id"]:
            comments[root["id"]] = {**root, "replyCount": root["replyCount"] + 1}
        return
    data: Any = event["data"]
    known = comments.get(data["comment"]["id"] if "comment" in data else data.get("commentId", ""))
    if known is not None:
        comments[known["id"]] = _after(known, event)


def _after(comment: Comment, event: TopicEvent) -> Comment:
    match event["type"]:
        case "comment.edited":
            edited = event["data"]["comment"]
            is_newer = edited["revision"] >= comment["revision"] and comment["deletedAt"] is None
            if not is_newer:
                return comment
            # Of what else has happened to it the log tells in its place.
            return {
                **comment,
                "text": edited["text"],
                "mentions": edited["mentions"],
                "editedAt": edited["editedAt"],
                "revision": edited["revision"],
            }
        case "comment.deleted":
            return comment if comment["deletedAt"] else _deleted(comment, event["at"])
        case "reaction.added":
            return _reacted(comment, event["data"]["emoji"], event["data"]["userId"])
        case "reaction.removed":
            return _unreacted(comment, event["data"]["emoji"], event["data"]["userId"])
        case "thread.resolved":
            return {**comment, "resolved": {"by": event["actor"], "at": event["at"]}}
        case "thread.reopened":
            return {**comment, "resolved": None}
    return comment


def _deleted(comment: Comment, at: str) -> Comment:
    left = {name: part for name, part in (comment["anchor"] or {}).items() if name != "dataPoint"}
    return {
        **comment,
        "text": "",
        "mentions": [],
        "viewState": None,
        "body": None,
        "anchor": left or None,
        "deletedAt": at,
    }


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
