"""The hub: who is connected to this node, and how to reach them.

What it promises: what is told goes to each of those it is for, in the order of the calls, and is made ready to send
once for all of them; whoever has gone meanwhile is passed over. Nothing here waits or raises, and nothing runs.

A connection is in here from the moment its sign-in is accepted until it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from collab_server.domain.jsontext import JsonText, dumps
from collab_server.domain.people import Identity
from collab_server.domain.permissions import Standing
from collab_server.domain.tallies import OwnTally, Tally
from collab_server.telemetry.metrics import Metrics

NOBODY: frozenset[Listener] = frozenset()


class Listener(Protocol):
    """A connection of somebody signed in, as services see it."""

    who: Identity
    is_closed: bool
    """It is gone. Its name may be another's already."""
    topics: dict[str, Standing]
    """Those that it is subscribed to, besides the inbox, by name: how it stands there, as it has been told."""

    @property
    def connection(self) -> str:
        """Its name, which no other connection to this node has while it lasts."""
        ...

    def renew_token_soon(self) -> None:
        """What it could come back with will not open for much longer."""

    def look_at_sign_in(self) -> None:
        """Something of this person's was ended: if it is the sign-in that this connection came with, leave."""


class Roster(Collection[str], Protocol):
    """Connections that are told the same again and again, kept by the way out for that to cost little.

    What is told to it reaches those who are on it at that moment.
    """

    def add(self, connection: str, /) -> None:
        """Put one on it."""

    def discard(self, connection: str, /) -> None:
        """Take one off it, if it is on it."""


class Outlet(Protocol):
    """The way out to the connections: the Socket.IO server. Never waits, never raises."""

    def tell(self, connections: Iterable[str], name: str, data: JsonText) -> None:
        """Send an event or a signal to these, or to those on a `Roster` of its own."""

    def close_all(self, reason: str) -> None:
        """Close every connection, whoever's it is; official clients come back by themselves."""


class Hub:
    """The register of the listeners here, by their connections. `outlet` sends, `metrics` tell how many. `tally` counts
    each person's, at all workers of the node where it has some.
    """

    def __init__(self, outlet: Outlet, metrics: Metrics, tally: Tally | None = None) -> None:
        self.tally = tally or OwnTally()
        self.listeners: dict[str, Listener] = {}
        self.greeting: Callable[[], JsonText | None] = lambda: None
        """What those who come are told of the node: the data of `server.state`, or nothing."""
        self._of_user: dict[str, set[Listener]] = {}
        self.tell = outlet.tell  # as it is: it is on the way of every event
        self.close_all = outlet.close_all
        metrics.gauge("users_current", self._of_user.__len__)
        metrics.gauge("subscriptions_current", self._subscriptions)

    def _subscriptions(self) -> int:
        return sum(len(listener.topics) for listener in self.listeners.values())

    def enter(self, listener: Listener) -> None:
        """Somebody has come."""
        self.listeners[listener.connection] = listener
        self._of_user.setdefault(listener.who.user.id, set()).add(listener)
        self.tally.more(listener.who.user.id)

    def leave(self, listener: Listener) -> None:
        """A listener that has entered is gone."""
        del self.listeners[listener.connection]
        user_id = listener.who.user.id
        others = self._of_user[user_id]
        others.discard(listener)
        self.tally.less(user_id)
        if not others:
            del self._of_user[user_id]

    def tell_all(self, name: str, data: Any) -> None:
        """Send a signal to everybody."""
        self.tell(tuple(self.listeners), name, dumps(data))

    def of(self, user_id: str) -> Collection[Listener]:
        """Somebody's connections to this node."""
        return tuple(self._of_user.get(user_id, NOBODY))

    def identity_of(self, user_id: str) -> Identity | None:
        """The identity of somebody who is connected."""
        listeners = self._of_user.get(user_id)
        return next(iter(listeners)).who if listeners else None

    def users(self) -> tuple[str, ...]:
        """The ids of everybody who is connected."""
        return tuple(self._of_user)

    def look_at_sign_ins(self, user_ids: Iterable[str]) -> None:
        """Something of these people's was ended: whoever it concerns leaves."""
        for user_id in user_ids:
            for listener in self.of(user_id):
                listener.look_at_sign_in()
