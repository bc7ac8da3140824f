"""The asker and their sign-in, and whom they can write to."""

from __future__ import annotations

from collab_server.contract import shapes
from collab_server.contract.rows import Call, CommandType
from collab_server.domain import ends, people, sign_ins
from collab_server.domain.permissions import ANYBODY

ROWS = (
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
