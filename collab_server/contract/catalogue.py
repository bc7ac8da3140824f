"""Every command there is, a row each. Both doors, the rights and the documents are made of these rows.

A row's function is bound in `services/commands/table.py`. Their order is that of the documents and of `rights` in
answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from collab_server.contract import shapes
from collab_server.contract.rows import Call, CommandType, Route, by_name, routes_of
from collab_server.domain import (
    comments,
    discussions,
    ends,
    inbox,
    people,
    presence,
    reading,
    search,
    sharing,
    sign_ins,
    subscriptions,
    threads,
    topics,
)
from collab_server.domain.permissions import (
    ANYBODY,
    AUTHORS,
    COMMENTERS,
    MEMBERS,
    ONESELF,
    OWNERS,
    READERS,
    SEARCHERS,
    VIEWERS,
)

FAMILIES = {
    "topic": "Topics: what there is, what is new, what was read.",
    "comment": "Comments, replies, reactions.",
    "thread": "Threads: resolved or open.",
    "discussion": "Private discussions of their members.",
    "notification": "One's inbox.",
    "share": "Sending content to people.",
    "recipients": "Whom one can mention, invite or send to.",
    "comments": "Looking for comments.",
    "me": "The asker.",
    "session": "The asker's sign-in.",
    "typing": "Who is writing.",
}
"""What the commands are about whose names begin so."""

_OF_A_TOPIC = ("topic.get", "topic.comments", "comment.add")
"""Where somebody who has found a topic goes on."""

_ROWS = (
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
            "unread": "integer",
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
        Call("GET /topics/{topic}/events", "The log of a topic"),
        shown=("after",),
    ),
    CommandType(
        "topic.comments",
        comments.ListComments,
        COMMENTERS,
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
        " anywhere), whatever its case and accents; deleted comments are not. `highlights` are `[first, how many]`"
        " in code points of the text. What is looked for does not decide where: a page searches some of the topics"
        " that the asker may open, back in time, and `next` leads to older comments there, then to further topics:"
        " first the asker's discussions, content that they were told of, wrote on or read, and the newest; in the"
        " end all. A page may be short, or empty, and still have a `next`.",
        refusals=("`invalid`: nothing to look for", "`too_large`: over 200 characters or 16 words"),
    ),
    CommandType(
        "comment.get",
        comments.GetComment,
        COMMENTERS,
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
        COMMENTERS,
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
            "`conflict`: the comment to reply to was deleted",
            "`invalid`: blank, or a mention of somebody who does not exist (`field` is `text`)",
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
        " again.",
        refusals=(
            "`forbidden`: somebody else wrote it",
            "`conflict`: it was deleted",
            "`invalid`, `too_large`: as with `comment.add`",
        ),
    ),
    CommandType(
        "comment.delete",
        comments.DeleteComment,
        AUTHORS,
        shapes.SeqShape,
        Call("DELETE /comments/{commentId}", "Delete one's comment"),
        refusals=("`forbidden`: somebody else wrote it", "`conflict`: it was deleted before"),
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
        "topic.read",
        reading.ReadTopic,
        COMMENTERS,
        shapes.UnreadShape,
        Call("PUT /topics/{topic}/read", "Move one's read mark forward"),
        remark="Own comments are never unread. The other devices learn of it by `topic.was_read`.",
    ),
    CommandType(
        "topic.mute",
        reading.MuteTopic,
        COMMENTERS,
        shapes.EmptyShape,
        Call("PUT /topics/{topic}/mute", "Mute or unmute a topic"),
        shown=("until",),
        refusals=("`invalid`: `until` is no time to come, or comes with `muted: false`",),
    ),
    CommandType(
        "topic.summaries",
        topics.ListSummaries,
        COMMENTERS,
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
        COMMENTERS,
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
    CommandType(
        "discussion.create",
        discussions.CreateDiscussion,
        ANYBODY,
        shapes.DiscussionAndSeqShape,
        Call(
            "POST /discussions",
            "Begin a private discussion",
            status=201,
            links={
                "discussionId=/discussion/id": (
                    "discussion.get",
                    "discussion.rename",
                    "discussion.invite",
                    "discussion.leave",
                    "discussion.delete",
                ),
                "topic=/discussion/topic": _OF_A_TOPIC,
            },
        ),
        shown=("about", "text", "requestId"),
        remark="The asker is a member and the owner. Those invited find it in their inboxes; `seq` is the event"
        " `discussion.created`.",
        refusals=(
            "`not_found`: `about` may not be opened",
            "`invalid`: no such user or group (`field` is `members[0].id`), a blank name or text",
            "`too_large`: more than `discussionMembers`, the name, the text",
        ),
    ),
    CommandType(
        "discussion.list",
        discussions.ListDiscussions,
        ANYBODY,
        shapes.DiscussionsShape,
        Call("GET /discussions", "One's discussions, the latest active first"),
    ),
    CommandType(
        "discussion.get",
        discussions.GetDiscussion,
        MEMBERS,
        shapes.DiscussionShape,
        Call("GET /discussions/{discussionId}", "One discussion", links={"topic=/topic": _OF_A_TOPIC}),
    ),
    CommandType(
        "discussion.leave",
        discussions.LeaveDiscussion,
        MEMBERS,
        shapes.EmptyShape,
        Call("DELETE /discussions/{discussionId}/members/me", "Leave a discussion"),
        remark="When the owner leaves, the longest-standing member owns it. The last who leaves deletes it: then the"
        " only event is `discussion.deleted`.",
    ),
    CommandType(
        "discussion.rename",
        discussions.RenameDiscussion,
        OWNERS,
        shapes.DiscussionAndSeqShape,
        Call("PATCH /discussions/{discussionId}", "Rename a discussion"),
        refusals=("`invalid`: blank", "`too_large`: over 200 characters"),
    ),
    CommandType(
        "discussion.invite",
        discussions.InviteMembers,
        OWNERS,
        shapes.DiscussionAndSeqShape,
        Call("POST /discussions/{discussionId}/members", "Invite users and groups"),
        remark="New members see all that was said before. When all of them are members already, nothing happens, and"
        " `seq` is the head.",
        refusals=(
            "`invalid`: no such user or group (`field` is `members[0].id`)",
            "`too_large`: more than `discussionMembers`",
        ),
    ),
    CommandType(
        "discussion.remove",
        discussions.RemoveMember,
        OWNERS,
        shapes.DiscussionAndSeqShape,
        Call("DELETE /discussions/{discussionId}/members/{userId}", "Remove a member"),
        remark="The removed person gets `member.removed` as the last event, then `topic.closed`.",
        refusals=("`not_found`: not a member", "`conflict`: oneself; use `discussion.leave`"),
    ),
    CommandType(
        "discussion.transfer",
        discussions.TransferDiscussion,
        OWNERS,
        shapes.DiscussionAndSeqShape,
        Call("PUT /discussions/{discussionId}/owner", "Hand a discussion over"),
        refusals=("`not_found`: not a member",),
    ),
    CommandType(
        "discussion.delete",
        discussions.DeleteDiscussion,
        OWNERS,
        shapes.EmptyShape,
        Call("DELETE /discussions/{discussionId}", "Delete a discussion"),
        remark="The members get `discussion.deleted`, then `topic.closed`. There is no way back. Nobody can read"
        " what was said there any more; what inboxes tell of it stays as it was told.",
    ),
    CommandType(
        "share",
        sharing.Share,
        VIEWERS,
        shapes.SharedShape,
        Call("POST /shares", "Send content to people"),
        shown=("message", "viewState", "requestId"),
        remark="The kind of the notification is `shared`. Whoever may not open the object is told nothing, unless"
        " they may one day. The answer does not say who that is.",
        refusals=(
            "`not_found`: the asker may not open the object",
            "`invalid`: no recipients, or no such user or group",
            "`too_large`: message, view state, recipients",
        ),
    ),
    CommandType(
        "notification.list",
        inbox.ListNotifications,
        ONESELF,
        shapes.NotificationsShape,
        Call("GET /notifications", "One's notifications, the latest first"),
        shown=("unread",),
    ),
    CommandType(
        "notification.count",
        inbox.CountNotifications,
        ONESELF,
        shapes.UnreadShape,
        Call("GET /notifications/count", "The badge"),
    ),
    CommandType(
        "notification.read",
        inbox.ReadNotifications,
        ONESELF,
        shapes.UnreadShape,
        Call("PUT /notifications/read", "Mark notifications read"),
        shown=("upTo",),
        either=("ids", "upTo"),
        refusals=(
            "`invalid`: both of `ids` and `upTo`, or neither",
            "`too_large`: more than 500 ids",
        ),
    ),
    CommandType(
        "recipients.find",
        people.FindRecipients,
        ANYBODY,
        shapes.RecipientsShape,
        Call("GET /recipients", "Users and groups by name"),
        remark="Whom one can mention, invite and share with. With `kind`, a page may be short, or empty, and still"
        " have a `next`.",
        refusals=("`too_large`: over 200 characters",),
    ),
    CommandType(
        "me",
        people.AboutMe,
        ANYBODY,
        shapes.MeShape,
        Call("GET /me", "Who the asker is"),
    ),
    CommandType(
        "session.refresh",
        sign_ins.RefreshSession,
        ANYBODY,
        {"user": "User", "resumeToken": "string", "expiresAt": "time"},
        shown=("identityToken",),
        either=("identityToken", "authToken"),
        remark="The new token begins another sign-in: it counts for everything from here on.",
        refusals=(
            "`unauthenticated`: not exactly one token, or not one Library accepts",
            "`forbidden`: the token is another user's",
        ),
    ),
    CommandType(
        "session.end",
        ends.EndSession,
        ANYBODY,
        shapes.EmptyShape,
        Call("DELETE /session", "Sign out"),
        remark="All connections and resume tokens of the sign-in, on all nodes, end at once; [Signing"
        " out](#signing-out).",
    ),
)

COMMANDS: Mapping[str, CommandType] = by_name(_ROWS, FAMILIES)

ROUTES: tuple[Route, ...] = tuple(routes_of(_ROWS))
"""The REST calls."""
