"""Who is typing: told to those who follow the topic, anywhere in the cluster.

What it promises.
- Typing ends with `typing: false`, with the subscription, or `TYPING_SECONDS` after it was last said, which every node
  counts by itself; a comment of the same person ends it without a signal, and lets it begin anew. Apart from that, in
  `TYPING_AGAIN_SECONDS` it is told once that somebody types on a topic, and once that they have stopped, whatever they
  say meanwhile; what is true after that time is told then. A person's own connections are not told.

Nothing here waits or raises. What runs concurrently: nothing but callbacks of one event loop; `forget` cancels those of
a room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from collab_server.domain.jsontext import dumps
from collab_server.domain.people import User
from collab_server.services.hub import Hub
from collab_server.services.live.rolls import CallLater, Timer

TYPING_SECONDS = 6.0
TYPING_AGAIN_SECONDS = 2.0

Source = tuple[str, str]
"""Where somebody types: a node, and on this one a connection."""


class _Told:
    """What somebody was told last of one who types, and when of either."""

    __slots__ = ("at", "is_typing")

    def __init__(self) -> None:
        self.is_typing = False
        self.at: dict[bool, float] = {}

    def may_be_told_at(self, is_typing: bool) -> float:
        """When this may be told, or told again."""
        at = self.at.get(is_typing)
        return 0.0 if at is None else at + TYPING_AGAIN_SECONDS

    def note(self, is_typing: bool, now: float) -> None:
        """It is told now."""
        self.is_typing = is_typing
        self.at[is_typing] = now

    def begin_anew(self) -> None:
        """They have learned that it is over in another way."""
        self.is_typing = False
        self.at.pop(True, None)


class Typist:
    """Somebody who types, or did a moment ago: when each source of it ends, and what this node's clients and the other
    nodes were told. `later` looks at it again."""

    __slots__ = ("clients", "ends", "later", "nodes", "user")

    def __init__(self, user: User) -> None:
        self.user = user
        self.ends: dict[Source, Timer] = {}
        self.clients = _Told()
        self.nodes = _Told()
        self.later: Timer | None = None


class Room(Protocol):
    """A topic with somebody on it; `typists` is kept here alone, by user id."""

    topic: str
    typists: dict[str, Typist]

    def connections(self, *, besides: str | None = None) -> list[str]:
        """The connections of this node that follow the topic, without those of the user `besides`."""
        ...


class Typing:
    """What this node knows of it. `hub` reaches its clients, `say(name, topic, user, is typing)` the other nodes."""

    def __init__(
        self,
        node: str,
        hub: Hub,
        say: Callable[..., None],
        *,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self._node = node
        self._hub = hub
        self._say = say
        self._clock = clock
        self._call_later = call_later

    def has_commented(self, room: Room, user_id: str) -> None:
        """A comment of somebody's was delivered: with it their typing has ended, and may begin anew."""
        typist = room.typists.get(user_id)
        if typist is not None:
            for timer in typist.ends.values():
                timer.cancel()
            typist.ends.clear()
            typist.clients.begin_anew()
            typist.nodes.begin_anew()
            self._tell(room, typist)

    def begin(self, room: Room, user: User, source: Source) -> None:
        """A source of it says that somebody types, for the first time or again."""
        typist = room.typists.get(user.id)
        if typist is None:
            typist = room.typists[user.id] = Typist(user)
        before = typist.ends.pop(source, None)
        if before is not None:
            before.cancel()
        typist.ends[source] = self._call_later(TYPING_SECONDS, self.end, room, user.id, source)
        self._tell(room, typist, is_said_again=True)

    def end(self, room: Room, user_id: str, source: Source) -> None:
        """A source of it says that they have stopped; also one that never said that they type."""
        typist = room.typists.get(user_id)
        timer = typist.ends.pop(source, None) if typist is not None else None
        if typist is not None and timer is not None:
            timer.cancel()
            self._tell(room, typist)

    def _tell(self, room: Room, typist: Typist, *, is_said_again: bool = False) -> None:
        """Tell those who do not know yet what is so now, or look again when they may be told."""
        now = self._clock()
        is_ours = any(node == self._node for node, _ in typist.ends)
        look_again_at: list[float] = []
        for told, is_typing, tell in (
            (typist.clients, bool(typist.ends), self._signal),
            (typist.nodes, is_ours, self._say_to_nodes),
        ):
            may_be_told_at = told.may_be_told_at(is_typing)
            is_news = is_typing is not told.is_typing
            if now >= may_be_told_at and (is_news or (is_typing and is_said_again)):
                told.note(is_typing, now)
                tell(room, typist.user, is_typing)
            elif is_news:
                look_again_at.append(may_be_told_at)
            if not typist.ends:
                look_again_at += [told.may_be_told_at(either) for either in told.at]
        look_again_at = [at for at in look_again_at if at > now]
        if typist.later is not None:
            typist.later.cancel()
            typist.later = None
        if look_again_at:
            wait = min(look_again_at) - now
            typist.later = self._call_later(wait, self._look_again, room, typist)
        elif not typist.ends:
            room.typists.pop(typist.user.id, None)  # nothing has to be remembered of them

    def _look_again(self, room: Room, typist: Typist) -> None:
        typist.later = None
        self._tell(room, typist)

    def forget(self, room: Room) -> None:
        """Nobody is there any more."""
        for typist in room.typists.values():
            for timer in (*typist.ends.values(), *([typist.later] if typist.later else ())):
                timer.cancel()
        room.typists.clear()

    def _signal(self, room: Room, user: User, is_typing: bool) -> None:
        if connections := room.connections(besides=user.id):
            data = {"topic": room.topic, "user": user.as_wire(), "typing": is_typing}
            self._hub.tell(connections, "typing", dumps(data))

    def _say_to_nodes(self, room: Room, user: User, is_typing: bool) -> None:
        self._say("typing", room.topic, [user.id, user.name, user.initials], is_typing)
