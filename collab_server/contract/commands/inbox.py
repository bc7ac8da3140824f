"""What people are sent and told: shares and notifications."""

from __future__ import annotations

from collab_server.contract import shapes
from collab_server.contract.rows import Call, CommandType
from collab_server.domain import inbox, sharing
from collab_server.domain.permissions import ONESELF, VIEWERS

ROWS = (
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
        shapes.BadgeShape,
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
)
