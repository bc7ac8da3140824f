"""Which requests make sense here: their transport, where their page is from, their protocol, their session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from collab_server.realtime.engine.bonds import Bonds
from collab_server.realtime.engine.deadlines import Deadlines
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.requests import (
    FORBIDDEN,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_VERSION,
    has_origin,
    header,
    query_of,
)
from collab_server.realtime.engine.session import Exchange, Scope, Session


class Admission:
    """Says so.

    Args:
        sessions: by their ids.
        transports: those that are offered.
        origins_for: the origins whose pages may ask, for a request, or None for all; None not to look at origins.
        bonds: what a request has to bring besides a session's id.
        deadlines: is asked whether a session's time is up.
    """

    __slots__ = ("_bonds", "_deadlines", "_origins_for", "_sessions", "_transports")

    def __init__(
        self,
        sessions: Mapping[str, Session],
        transports: Collection[str],
        origins_for: Callable[[Scope], Collection[str] | None] | None,
        bonds: Bonds,
        deadlines: Deadlines,
    ) -> None:
        self._sessions = sessions
        self._transports = transports
        self._origins_for = origins_for
        self._bonds = bonds
        self._deadlines = deadlines

    def verify(self, scope: Scope) -> tuple[str, Session | None]:
        """The transport of a request, and its session if it names one.

        Raises:
            Refusal: the request makes no sense here.
        """
        query = query_of(scope)
        transport = query.get("transport", "")
        if transport not in self._transports:
            raise UNKNOWN_TRANSPORT
        if self._origins_for is not None and has_origin(scope):
            allowed = self._origins_for(scope)
            if allowed is not None and header(scope, b"origin") not in allowed:
                raise FORBIDDEN
        sid = query.get("sid")
        if sid is None:
            if query.get("EIO") != "4":
                raise UNSUPPORTED_VERSION
            return transport, None
        session = self._sessions.get(sid)
        if session is not None:
            self._deadlines.judge(session)
        if session is None or session.closing or not self._bonds.is_kept(session, scope):
            raise UNKNOWN_SID
        return transport, session

    def let_in_again(self, exchange: Exchange, sid: str) -> Polling | None:
        """Who takes a poll that brings what another of this session brought, which was let in; None where it is to be
        judged anew, as an origin is: others may be let in by now."""
        session = self._sessions.get(sid)
        if session is None or session.closing or session.is_unsettled or self._deadlines.is_overdue(session):
            return None
        if self._origins_for is not None and has_origin(exchange.scope):
            return None
        exchange.is_trusted = session.is_trusted
        return session.carrier if isinstance(session.carrier, Polling) else None
