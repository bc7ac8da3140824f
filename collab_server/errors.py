"""Every error a client can see: its code, its HTTP status, its meaning.

A service raises one of these for whatever the client may hear; anything else that is raised is a bug of ours,
is caught once at the door and answered as `internal`. Each is logged under its ticket id (`telemetry.journal`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

__all__ = [
    "CODES",
    "ClientError",
    "Conflict",
    "Forbidden",
    "Internal",
    "Invalid",
    "NotFound",
    "Paused",
    "RateLimited",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownCommand",
]

Outcome = Literal["none", "unknown"]


_SAYS_OF_IT = re.compile(r"(?:is|are|was|has|holds|must|may|differs|goes|needs|names) ")
_WORD = re.compile(r"[a-z]+(?=[ ,;:]|$)")


def sentence(words: str, field: str | None = None) -> str:
    """What is wrong, as a sentence that names the field: `is required` of `text` is `text is required.`

    `words` are a whole clause, or say something of the field; no sentence yet, and not empty.
    """
    if _SAYS_OF_IT.match(words):
        words = f"{field or 'what was sent'} {words}"
    elif field is not None:
        words = f"{field}: {words}"
    if field is None and _WORD.match(words):  # a name, as comment.edit, stays as it is
        words = words[0].upper() + words[1:]
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


class ClientError(Exception):
    """Something the client may hear. Subclasses fix `code` and `http_status`.

    `ticket_id` finds it in the log; `is_told` says that somebody has been told of it, and the log.

    `message` is what is wrong, of which `sentence` makes one for people; `field` names the offending part of a payload
    (`members[2].id`); `retry_after` is in seconds; `outcome` says what became of a write (`none`: nothing stored,
    `unknown`: the commit was cut, repeat it under the same `requestId`); `now` holds what stands in the way of it, as
    the wire has that: `{comment}` or `{discussion}`.
    """

    code: ClassVar[str]
    http_status: ClassVar[int]
    meaning: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        outcome: Outcome | None = None,
        now: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after
        self.outcome = outcome
        self.now = now
        self.ticket_id = secrets.token_hex(8)
        self.is_told = False

    def once_more(self) -> Self:
        """The same for somebody else, who has not been told yet: under a ticket of its own."""
        another = type(self).__new__(type(self), *self.args)
        another.__dict__.update(self.__dict__, ticket_id=secrets.token_hex(8), is_told=False)
        return another

    def as_wire(self) -> dict[str, Any]:
        """The error object of the wire: `{code, message, ticketId}` and, where they apply, the other keys."""
        message = sentence(self.message, self.field)
        wire: dict[str, Any] = {"code": self.code, "message": message, "ticketId": self.ticket_id}
        if self.field is not None:
            wire["field"] = self.field
        if self.retry_after is not None:
            wire["retryAfter"] = self.retry_after
        if self.outcome is not None:
            wire["outcome"] = self.outcome
        return wire if self.now is None else {**wire, **self.now}


class Invalid(ClientError):
    code, http_status = "invalid", 400
    meaning = "The payload is wrong; `field` names where, `message` says what was expected."


class Unauthenticated(ClientError):
    code, http_status = "unauthenticated", 401
    meaning = "No token, or not one Library accepts."


class Forbidden(ClientError):
    code, http_status = "forbidden", 403
    meaning = "The asker may see it, but may not do that."


class NotFound(ClientError):
    code, http_status = "not_found", 404
    meaning = "It does not exist, or the asker may not know that it does."

    def __init__(self, what: str = "object") -> None:
        super().__init__(f"there is no such {what}, or you may not see it")


class UnknownCommand(ClientError):
    code, http_status = "unknown_command", 404
    meaning = "No command has this name."


class Conflict(ClientError):
    code, http_status = "conflict", 409
    meaning = (
        "The object is in another state, or a `requestId` was used for something else. Where the change was made of"
        " what is not so any more (`ofRevision`, `ofName`), `comment` or `discussion` is what stands now."
    )


class TooLarge(ClientError):
    code, http_status = "too_large", 413
    meaning = "A text, view state or request over its limit."


class RateLimited(ClientError):
    code, http_status = "rate_limited", 429
    meaning = "Too many commands; try again after `retryAfter` seconds."


class Unavailable(ClientError):
    code, http_status = "unavailable", 503
    meaning = "Library does not answer; try again after `retryAfter` seconds."

    def __init__(
        self, message: str = "whoever signs people in does not answer", *, retry_after: float = 5
    ) -> None:
        super().__init__(message, retry_after=retry_after)


class Paused(ClientError):
    code, http_status = "paused", 503
    meaning = "The database is away; `outcome` says what became of a write."

    def __init__(
        self,
        message: str = "the database is away",
        *,
        outcome: Outcome = "none",
        retry_after: float = 2,
    ) -> None:
        super().__init__(message, retry_after=retry_after, outcome=outcome)


class Internal(ClientError):
    code, http_status = "internal", 500
    meaning = "A bug of ours, logged under `ticketId`; nothing of it is shown."

    def __init__(self) -> None:
        super().__init__("something went wrong on our side; quote the ticketId when you report it")


CODES: dict[str, type[ClientError]] = {
    error.code: error
    for error in (
        Invalid,
        Unauthenticated,
        Forbidden,
        NotFound,
        UnknownCommand,
        Conflict,
        TooLarge,
        RateLimited,
        Unavailable,
        Paused,
        Internal,
    )
}
