"""The REST calls: which path spells which command of the one table."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from collab_server.api.schemas import (
    CommentAndSeqShape,
    CommentShape,
    CommentsShape,
    EventsShape,
    MeShape,
    RevisionsShape,
    SeqShape,
    TopicShape,
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
    Route("GET", "/me", "me", "Who the asker is", MeShape),
)
