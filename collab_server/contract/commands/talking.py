"""What is said on topics: subscribing, reading, commenting, resolving."""

from __future__ import annotations

from collab_server.contract import shapes
from collab_server.contract.rows import Call, CommandType
from collab_server.domain import (
    commenting,
    comments,
    presence,
    reading,
    search,
    subscriptions,
    threads,
    topics,
)
from collab_server.domain.permissions import ADMINISTRATORS, AUDIENCE, AUTHORS, COMMENTERS, READERS, SEARCHERS

ROWS = (
    CommandType(
        "topic.subscribe",
        subscriptions.Subscribe,
        READERS,
        {
            "topic": "string",
            "epoch": "string",
            "seq": "integer",
            "events": "Event[]",
            "more": "boolean",
            "recovered": "boolean",
            "readSeq": "integer",
            "unread": "integer",
            "commenting": "boolean",
            "rights": "string[]",
            "present": "User[]",
        },
        shown=("after", "epoch"),
        remark="[Subscribing, catching up](#subscribing-catching-up) says what `after` does.",
        refusals=(
            "`too_large`: `topicsPerConnection` are subscribed to",
            "`invalid`: `limit` out of range",
        ),
    ),
    CommandType(
        "topic.unsubscribe",
        subscriptions.Unsubscribe,
        READERS,
        {},
        remark="Who leaves their own inbox hears of it again after subscribing to it, or with the next connection.",
        refusals=("`not_found`: this connection is not subscribed to it",),
    ),
    CommandType(
        "topic.watch",
        subscriptions.WatchTopics,
        AUDIENCE,
        {"items": "Summary[]"},
        remark="Each topic once, in the order asked; those that the asker may not open are left out, not refused, and"
        " not watched. The next `topic.watch` takes the place of this one; with none, nothing is watched. Subscriptions"
        " are not touched. [Counts of topics that are not open](#counts-of-topics-that-are-not-open).",
        refusals=("`too_large`: more than 500 topics",),
    ),
    CommandType(
        "topic.get",
        topics.GetTopic,
        READERS,
        shapes.TopicShape,
        Call(
            "GET /topics/{topic}",
            "The state of a topic",
            links={"topic=/topic": ("topic.comments", "topic.events")},
        ),
    ),
    CommandType(
        "topic.events",
        topics.ListEvents,
        READERS,
        shapes.EventsShape,
        Call("GET /topics/{topic}/events", "The log of a topic", may_wait=True),
        shown=("after",),
        remark="Over REST, `wait` lets the call wait for up to so many seconds while there is nothing after `after`.",
    ),
    CommandType(
        "topic.comments",
        comments.ListComments,
        AUDIENCE,
        shapes.CommentsShape,
        Call("GET /topics/{topic}/comments", "The comments of a topic"),
        shown=("order", "limit"),
    ),
    CommandType(
        "comments.search",
        search.SearchComments,
        SEARCHERS,
        shapes.FoundShape,
        Call("GET /search", "Search the comments one may read"),
        remark="Every word of `q` has to be found, where a word begins with it (in scripts without spaces:"
        " anywhere), whatever its case and accents and in whatever spelling that reads the same (see *Letters*);"
        " deleted comments are not. `highlights` are `[first, how many]` in code points of the text."
        " What is looked for does not decide where: a page searches some of the topics"
        " that the asker may open, back in time, and `next` leads to older comments there, then to further topics:"
        " first the asker's discussions, content that they were told of, wrote on or read, and the newest; in the"
        " end all. A page may be short, or empty, and still have a `next`.",
        refusals=("`invalid`: nothing to look for", "`too_large`: over 200 characters or 16 words"),
    ),
    CommandType(
        "comment.get",
        comments.GetComment,
        AUDIENCE,
        shapes.CommentShape,
        Call(
            "GET /comments/{commentId}",
            "One comment",
            links={"topic=/topic": ("topic.get",), "thread=/threadId;topic=/topic": ("topic.comments",)},
        ),
    ),
    CommandType(
        "comment.revisions",
        comments.ListRevisions,
        AUDIENCE,
        shapes.RevisionsShape,
        Call("GET /comments/{commentId}/revisions", "What a comment said before"),
    ),
    CommandType(
        "comment.add",
        comments.AddComment,
        COMMENTERS,
        shapes.CommentAndSeqShape,
        Call(
            "POST /topics/{topic}/comments",
            "Add a comment or a reply",
            status=201,
            links={
                "commentId=/comment/id": (
                    "comment.get",
                    "comment.edit",
                    "comment.delete",
                    "comment.revisions",
                    "comment.react",
                    "thread.resolve",
                )
            },
        ),
        shown=("anchor", "viewState", "requestId"),
        remark="Whoever is mentioned, and whoever takes part in the thread, is told in their inbox, if they may open"
        " the topic and have not muted it.",
        refusals=(
            "`not_found`: `replyTo` is no comment of this topic",
            "`conflict`: the comment to reply to was deleted; or there is a comment with this `commentId` (that is"
            " the `field`), whoever may see it",
            "`invalid`: blank, or a mention of somebody who does not exist (`field` is `text`); no UUIDv7 of about now"
            " (`field` is `commentId`)",
            "`too_large`: text, mentions, anchor or view state",
        ),
    ),
    CommandType(
        "comment.edit",
        comments.EditComment,
        AUTHORS,
        shapes.CommentAndSeqShape,
        Call(
            "PATCH /comments/{commentId}",
            "Edit one's comment",
            links={"commentId=/comment/id": ("comment.revisions",)},
        ),
        remark="Only those are told that the edit newly mentions, and who was told of the comment before is not told"
        " again. [What a change was made of](#commands) keeps it from taking away what came meanwhile.",
        refusals=(
            "`forbidden`: somebody else wrote it",
            "`conflict`: it was deleted, or has another revision than `ofRevision` (that is the `field`, and `comment`"
            " is there)",
            "`invalid`, `too_large`: as with `comment.add`",
        ),
    ),
    CommandType(
        "comment.delete",
        comments.DeleteComment,
        AUTHORS,
        shapes.SeqShape,
        Call("DELETE /comments/{commentId}", "Delete one's comment"),
        refusals=(
            "`forbidden`: somebody else wrote it",
            "`conflict`: it was deleted before, or has another revision than `ofRevision` (that is the `field`, and"
            " `comment` is there)",
        ),
    ),
    CommandType(
        "comment.react",
        threads.React,
        COMMENTERS,
        shapes.SeqShape,
        Call("PUT /comments/{commentId}/reactions/{emoji}", "React with an emoji"),
        refusals=(
            "`invalid`: not one emoji",
            "`conflict`: the comment was deleted",
            "`too_large`: 100 different emoji are on it",
        ),
    ),
    CommandType(
        "comment.unreact",
        threads.Unreact,
        COMMENTERS,
        shapes.SeqShape,
        Call("DELETE /comments/{commentId}/reactions/{emoji}", "Take a reaction back"),
        refusals=("`invalid`: not one emoji", "`conflict`: the comment was deleted"),
    ),
    CommandType(
        "thread.resolve",
        threads.ResolveThread,
        COMMENTERS,
        shapes.SeqShape,
        Call("PUT /comments/{commentId}/resolution", "Resolve a thread"),
    ),
    CommandType(
        "thread.reopen",
        threads.ReopenThread,
        COMMENTERS,
        shapes.SeqShape,
        Call("DELETE /comments/{commentId}/resolution", "Reopen a thread"),
    ),
    CommandType(
        "thread.follow",
        threads.FollowThread,
        AUDIENCE,
        shapes.ThreadMarkShape,
        Call("PUT /comments/{commentId}/follow", "Follow a thread, or follow it no more"),
        remark="Whoever writes in a thread is told of replies without that. To follow a muted thread unmutes it. What"
        " is chosen for a thread goes before `topic.mute`. The other devices learn of it by `thread.was_marked`.",
    ),
    CommandType(
        "thread.mute",
        threads.MuteThread,
        AUDIENCE,
        shapes.ThreadMarkShape,
        Call("PUT /comments/{commentId}/mute", "Mute or unmute a thread"),
        remark="Not even mentions in its replies make any. To mute a thread ends following it. The other devices learn"
        " of it by `thread.was_marked`.",
    ),
    CommandType(
        "thread.marks",
        threads.ListThreadMarks,
        AUDIENCE,
        shapes.ThreadMarksShape,
        Call("GET /topics/{topic}/threads", "The threads one follows or has muted"),
    ),
    CommandType(
        "topic.read",
        reading.ReadTopic,
        AUDIENCE,
        shapes.UnreadShape,
        Call("PUT /topics/{topic}/read", "Move one's read mark forward"),
        remark="Own comments are never unread. The other devices learn of it by `topic.was_read`.",
    ),
    CommandType(
        "topic.unread",
        reading.UnreadTopic,
        AUDIENCE,
        shapes.UnreadShape,
        Call("PUT /topics/{topic}/unread", "Move one's read mark back"),
        remark="What was read before `fromSeq` stays read. The other devices learn of it by `topic.was_unread`.",
    ),
    CommandType(
        "topic.mute",
        reading.MuteTopic,
        AUDIENCE,
        shapes.EmptyShape,
        Call("PUT /topics/{topic}/mute", "Mute or unmute a topic"),
        shown=("until",),
        refusals=("`invalid`: `until` is no time to come, or comes with `muted: false`",),
    ),
    CommandType(
        "topic.switch",
        commenting.SwitchTopic,
        ADMINISTRATORS,
        shapes.SeqShape,
        Call("PUT /topics/{topic}/commenting", "Let people comment on an object, or nobody"),
        remark="Who else may comment is said by `commenting` in the configuration; [Who may"
        " comment](#who-may-comment).",
        refusals=("`forbidden`: the asker is no administrator, or the topic is none of an object",),
    ),
    CommandType(
        "topic.summaries",
        topics.ListSummaries,
        AUDIENCE,
        shapes.SummariesShape,
        Call("POST /topics/summaries", "Many topics at a glance"),
        remark="Each topic once, in the order asked; the asker's own inbox may be among them.",
        refusals=(
            "`too_large`: more than 500 topics. Those that the asker may not open are left out, not refused",
        ),
    ),
    CommandType(
        "topic.anchors",
        topics.ListAnchors,
        AUDIENCE,
        shapes.AnchorsShape,
        Call("GET /topics/{topic}/anchors", "What there is at each place"),
        remark="`items` has a place for every `pageKey` and `visualizationKey` that comments name, and one with both"
        " null for the others; deleted comments do not count. A reply that names neither counts at its root's place,"
        " here and in the filters of `topic.comments`.",
    ),
    CommandType(
        "typing",
        presence.SetTyping,
        COMMENTERS,
        {},
        remark="See [signals](#signals).",
        refusals=("`forbidden`: this connection is not subscribed to the topic",),
    ),
)
