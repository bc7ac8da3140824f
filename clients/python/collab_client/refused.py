"""Why something was not done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast, get_args

from collab_client.wire import Comment, Discussion, ServerCode

Code = ServerCode | Literal["no_answer", "outbox_full", "expired", "closed", "other"]
"""What the server said; or, of the client itself: `no_answer` (nobody answered in time), `outbox_full`, `expired` (not
sent for seven days), `closed` (the client was), `other` (an error of a newer server)."""

_KNOWN: Final = {code for part in get_args(Code) for code in get_args(part)}


class Refused(Exception):
    """A refusal. `code` is for programs, `message` a sentence for people.

    `field` says where in the payload, such as `members[0].id`; `retry_after` after how many seconds to try again;
    `outcome` of a write whether nothing was stored (`none`) or that is not known (`unknown`); `ticket_id` what to tell
    the administrator. Of a change that was made of what is not so any more, `comment` or `discussion` is what stands.
    """

    def __init__(self, code: str, message: str, **more: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = cast(Code, code if code in _KNOWN else "other")
        self.message = message
        self.field: str | None = more.get("field")
        self.retry_after: float | None = more.get("retryAfter")
        self.outcome: str | None = more.get("outcome")
        self.ticket_id: str | None = more.get("ticketId")
        self.comment: Comment | None = more.get("comment")
        self.discussion: Discussion | None = more.get("discussion")

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> Refused:
        """Of the error object of the wire."""
        return cls(**error)

    @property
    def is_passing(self) -> bool:
        """Whether the very same command may be sent again, and may be answered otherwise then."""
        return self.code == "no_answer" or self.retry_after is not None or self.outcome == "unknown"
