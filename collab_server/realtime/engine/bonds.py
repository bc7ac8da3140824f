"""What binds a long-polling session to its client: a cookie.

A session's id stands in access logs. So where the client has shown that it keeps cookies, the id alone is worth
nothing.
"""

from __future__ import annotations

import hmac
import re

from collab_server.domain.chance import base64url, chance
from collab_server.realtime.engine.requests import BY_NAME, header
from collab_server.realtime.engine.session import Bond, Headers, Scope, Session

_BOND_BYTES = 16
_BOND = re.compile(rb"[A-Za-z0-9_-]{22}")


class Bonds:
    """Binds by the cookie of this name; None for not at all."""

    __slots__ = ("_cookie", "_start")

    def __init__(self, cookie: str | None) -> None:
        self._cookie = cookie
        self._start = f"{cookie}=".encode()

    def bind(self, session: Session, scope: Scope) -> Headers:
        """Bind a new session to its client: by the cookie that it has, or by one that is set here."""
        if self._cookie is None:
            return []
        shown = self._shown_in(scope)
        if shown is not None and _BOND.fullmatch(shown):
            session.bond = Bond(shown, is_shown=True)
            return []
        value = base64url(chance(_BOND_BYTES))
        session.bond = Bond(value.encode(), is_shown=False)
        # Without a path it is for that of this request, as the browser knows it, whatever proxies make of it.
        cookie = f"{self._cookie}={value}; HttpOnly; SameSite=Lax"
        if "https" in (scope.get("scheme"), header(scope, b"x-forwarded-proto")):
            cookie += "; Secure"
        return [(b"set-cookie", cookie.encode())]

    def is_kept(self, session: Session, scope: Scope) -> bool:
        """False for a request without the cookie that others of its session had.

        Whether a client keeps cookies shows at its first request behind the handshake.
        """
        bond = session.bond
        if bond is None:
            return True
        shown = self._shown_in(scope)
        if shown is not None and hmac.compare_digest(shown, bond.value):
            bond.is_shown = True
        elif not bond.is_shown:
            session.bond = None
        else:
            return False
        return True

    def _shown_in(self, scope: Scope) -> bytes | None:
        """The value of our cookie in a request."""
        by_name, start = scope.get(BY_NAME), self._start
        if by_name is not None and b"cookie" not in by_name:
            return None
        for name, value in scope["headers"]:
            if name == b"cookie" and start in value:
                for part in value.split(b";"):
                    part = part.strip()
                    if part.startswith(start):
                        return bytes(part[len(start) :])
        return None
