"""The REST calls: which path spells which command of the one table."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from collab_server.contract.shapes import (
    AnchorsShape,
    CommentAndSeqShape,
    CommentShape,
    CommentsShape,
    DiscussionAndSeqShape,
    DiscussionShape,
    DiscussionsShape,
    EmptyShape,
    EventsShape,
    FoundShape,
    MeShape,
    NotificationsShape,
    RecipientsShape,
    RevisionsShape,
    SeqShape,
    SharedShape,
    SummariesShape,
    TopicShape,
    UnreadShape,
)


@dataclass(frozen=True, slots=True)
class Route:
    """One REST call.

    The path's names and the query's are fields of the command's payload; the other fields come in the body, where
    `has_body`. `answer` is the shape of the answer.
    """

    method: str
    path: str
    command: str
    summary: str
    answer: type[BaseModel]
    has_body: bool = False
    status: int = 200


ROUTES: tuple[Route, ...] = (
    Route("GET", "/topics/{topic}", "topic.get", "The state of a topic", TopicShape),
    Route("GET", "/topics/{topic}/comments", "topic.comments", "The comments of a topic", CommentsShape),
    Route(
        "POST",
        "/topics/{topic}/comments",
        "comment.add",
        "Add a comment or a reply",
        CommentAndSeqShape,
        has_body=True,
        status=201,
    ),
    Route("GET", "/topics/{topic}/events", "topic.events", "The log of a topic", EventsShape),
    Route("GET", "/comments/{commentId}", "comment.get", "One comment", CommentShape),
    Route(
        "PATCH",
        "/comments/{commentId}",
        "comment.edit",
        "Edit one's comment",
        CommentAndSeqShape,
        has_body=True,
    ),
    Route("DELETE", "/comments/{commentId}", "comment.delete", "Delete one's comment", SeqShape),
    Route(
        "GET",
        "/comments/{commentId}/revisions",
        "comment.revisions",
        "What a comment said before",
        RevisionsShape,
    ),
    Route(
        "PUT",
        "/topics/{topic}/read",
        "topic.read",
        "Move one's read mark forward",
        UnreadShape,
        has_body=True,
    ),
    Route("PUT", "/topics/{topic}/mute", "topic.mute", "Mute or unmute a topic", EmptyShape, has_body=True),
    Route(
        "POST",
        "/topics/summaries",
        "topic.summaries",
        "Many topics at a glance",
        SummariesShape,
        has_body=True,
    ),
    Route("GET", "/topics/{topic}/anchors", "topic.anchors", "What there is at each place", AnchorsShape),
    Route("PUT", "/comments/{commentId}/reactions/{emoji}", "comment.react", "React with an emoji", SeqShape),
    Route(
        "DELETE",
        "/comments/{commentId}/reactions/{emoji}",
        "comment.unreact",
        "Take a reaction back",
        SeqShape,
    ),
    Route("PUT", "/comments/{commentId}/resolution", "thread.resolve", "Resolve a thread", SeqShape),
    Route("DELETE", "/comments/{commentId}/resolution", "thread.reopen", "Reopen a thread", SeqShape),
    Route(
        "GET",
        "/discussions",
        "discussion.list",
        "One's discussions, the latest active first",
        DiscussionsShape,
    ),
    Route(
        "POST",
        "/discussions",
        "discussion.create",
        "Begin a private discussion",
        DiscussionAndSeqShape,
        has_body=True,
        status=201,
    ),
    Route("GET", "/discussions/{discussionId}", "discussion.get", "One discussion", DiscussionShape),
    Route(
        "PATCH",
        "/discussions/{discussionId}",
        "discussion.rename",
        "Rename a discussion",
        DiscussionAndSeqShape,
        has_body=True,
    ),
    Route("DELETE", "/discussions/{discussionId}", "discussion.delete", "Delete a discussion", EmptyShape),
    Route(
        "POST",
        "/discussions/{discussionId}/members",
        "discussion.invite",
        "Invite users and groups",
        DiscussionAndSeqShape,
        has_body=True,
    ),
    Route(
        "DELETE",
        "/discussions/{discussionId}/members/me",
        "discussion.leave",
        "Leave a discussion",
        EmptyShape,
    ),
    Route(
        "DELETE",
        "/discussions/{discussionId}/members/{userId}",
        "discussion.remove",
        "Remove a member",
        DiscussionAndSeqShape,
    ),
    Route(
        "PUT",
        "/discussions/{discussionId}/owner",
        "discussion.transfer",
        "Hand a discussion over",
        DiscussionAndSeqShape,
        has_body=True,
    ),
    Route("POST", "/shares", "share", "Send content to people", SharedShape, has_body=True),
    Route(
        "GET",
        "/notifications",
        "notification.list",
        "One's notifications, the latest first",
        NotificationsShape,
    ),
    Route("GET", "/notifications/count", "notification.count", "The badge", UnreadShape),
    Route(
        "PUT",
        "/notifications/read",
        "notification.read",
        "Mark notifications read",
        UnreadShape,
        has_body=True,
    ),
    Route("GET", "/recipients", "recipients.find", "Users and groups by name", RecipientsShape),
    Route("GET", "/search", "comments.search", "Search the comments one may read", FoundShape),
    Route("GET", "/me", "me", "Who the asker is", MeShape),
    Route("DELETE", "/session", "session.end", "Sign out", EmptyShape),
)
