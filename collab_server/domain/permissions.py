"""Who may do what: one table, role by role. `rights` in answers is computed from it, and every command asks it."""

from __future__ import annotations

from typing import Literal

from collab_server.errors import Forbidden

Role = Literal["viewer", "member", "owner", "self"]

READING = (
    "topic.subscribe",
    "topic.unsubscribe",
    "topic.get",
    "topic.events",
)

COMMENTING = (
    "topic.comments",
    "comments.search",
    "comment.get",
    "comment.revisions",
    "comment.add",
    "comment.edit",
    "comment.delete",
    "comment.react",
    "comment.unreact",
    "thread.resolve",
    "thread.reopen",
    "topic.read",
    "topic.mute",
    "topic.summaries",
    "topic.anchors",
    "typing",
)

BEING_MEMBER = (
    "discussion.get",
    "discussion.leave",
)

OWNING = (
    "discussion.rename",
    "discussion.invite",
    "discussion.remove",
    "discussion.transfer",
    "discussion.delete",
)

OF_ONES_OWN = frozenset({"comment.edit", "comment.delete"})
"""What even a role that has the right may do only to what it wrote itself."""

RIGHTS: dict[Role, tuple[str, ...]] = {
    # Whoever may open the object in Library.
    "viewer": (*READING, *COMMENTING, "share"),
    # Whoever is in a discussion, and who of them owns it.
    "member": READING + COMMENTING + BEING_MEMBER,
    "owner": READING + COMMENTING + BEING_MEMBER + OWNING,
    # A person at their own inbox.
    "self": (*READING, "notification.list", "notification.count", "notification.read"),
}


def require(role: Role, command: str) -> None:
    """Refuse what the role may not do.

    Raises `Forbidden`.
    """
    if command not in RIGHTS[role]:
        raise Forbidden(f"you may see this topic, but {command} is not among your rights here")
