"""Private discussions of their members."""

from __future__ import annotations

from collab_server.contract import shapes
from collab_server.contract.rows import Call, CommandType
from collab_server.domain import discussions
from collab_server.domain.permissions import ANYBODY, MEMBERS, OWNERS

_OF_A_TOPIC = ("topic.get", "topic.comments", "comment.add")
"""Where somebody who has found a topic goes on."""

ROWS = (
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
        remark="The asker is a member and the owner. Those invited find it in their inboxes, the asker's"
        " other devices learn of it by `topic.was_read`; `seq` is the event `discussion.created`.",
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
        refusals=(
            "`invalid`: blank",
            "`too_large`: over 200 characters",
            "`conflict`: it has another name than `ofName` (that is the `field`, and `discussion` is there)",
        ),
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
        " what was said there any more, and what inboxes told of it goes.",
    ),
)
