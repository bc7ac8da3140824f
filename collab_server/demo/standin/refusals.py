"""What the stand-in answers when it does not answer, in the words of Library."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

__all__ = ["Refusal", "answer_refusal", "not_found", "session_gone"]


class Refusal(Exception):
    """A status, and Library's code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def session_gone() -> Refusal:
    """There is no such session, or not any more."""
    return Refusal(401, "ERR009", "The user's session has expired, please reauthenticate.")


def not_found() -> Refusal:
    """There is none, or it is not for whoever asks."""
    return Refusal(404, "ERR004", "The object was not found, or you do not have access to it.")


async def answer_refusal(request: Request, refusal: Exception) -> Response:
    """As Library does: code, message and ticket."""
    assert isinstance(refusal, Refusal)
    ticket_id = secrets.token_hex(16)
    return JSONResponse(
        {"code": refusal.code, "message": refusal.message, "ticketId": ticket_id}, status_code=refusal.status
    )
