"""Who is here, anywhere in the cluster: in memory, told to subscribers as signals. Who types there is told by `typing`.

What it promises.
- Somebody is present once, however many connections and nodes they use, in the order of arrival. The first
  `PRESENT_AT_MOST` are shown: those, and only those, are in `present`, and `joined` and `left` tell every change among
  them. So what a client holds never grows beyond that, and to join a crowd costs no broadcast. An asker who is present
  sees themselves in any case.
- Whoever loses the connection stays present for `GRACE_SECONDS`, and neither leaves nor joins by coming back in time,
  through whatever node. Who unsubscribes or loses the right leaves at once.
- A topic has at most one `presence` signal in `PRESENCE_SECONDS`; what happened meanwhile is merged.
- Signals go to connections between `arrive` and `depart`, and nowhere else: `subscriptions` calls `arrive` only after
  the right was checked.

What is known of the other nodes comes from `services.live.rolls`. What runs concurrently: nothing but callbacks of one
event loop; nothing here waits or raises. `stop` cancels its timers.
"""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from collab_server.domain.events import Event
from collab_server.domain.hints import Kind
from collab_server.domain.jsontext import JsonText, dumps, json_list, json_object, json_string
from collab_server.domain.people import User
from collab_server.domain.presence import GRACE_SECONDS, Present
from collab_server.ports import Bus
from collab_server.services.hub import Hub
from collab_server.services.live.rolls import CallLater, Rolls, Timer
from collab_server.services.live.typing import Typing, Typist

PRESENT_AT_MOST = 200
PRESENCE_SECONDS = 0.25


def _call_later(seconds: float, function: Callable[..., object], *arguments: object) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, function, *arguments)


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


class _Person:
    """Somebody on a topic: what each node says of them."""

    __slots__ = ("at", "since", "text")

    def __init__(self, present: Present) -> None:
        self.at: dict[str, Present] = {}
        self.since = present.since
        self.text = dumps(present.user.as_wire())


class _Mine:
    """Somebody's connections to this node that follow a topic; `grace` runs when there is none left."""

    __slots__ = ("connections", "grace")

    def __init__(self) -> None:
        self.connections: dict[str, None] = {}
        self.grace: Timer | None = None


class _Room:
    """A topic with somebody on it. `order` is sorted; `shown` is what its subscribers have been told.

    `ahead` are those who subscribed while a signal was due, and were given what that one is about: each with it.
    """

    __slots__ = ("ahead", "mine", "order", "people", "shown", "signal", "signalled_at", "topic", "typists")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.people: dict[str, _Person] = {}
        self.order: list[tuple[int, str]] = []
        self.mine: dict[str, _Mine] = {}
        self.typists: dict[str, Typist] = {}
        self.shown: dict[str, JsonText] = {}
        self.ahead: dict[str, dict[str, JsonText]] = {}
        self.signal: Timer | None = None
        self.signalled_at: float | None = None

    def note(self, node: str, user_id: str, present: Present | None) -> None:
        """What a node says of a person now."""
        person = self.people.get(user_id)
        if person is not None:
            del self.order[bisect_left(self.order, (person.since, user_id))]
        elif present is not None:
            person = self.people[user_id] = _Person(present)
        else:
            return
        if present is not None:
            person.at[node] = present
        else:
            person.at.pop(node, None)
        if person.at:
            person.since = min(present.since for present in person.at.values())
            insort(self.order, (person.since, user_id))
        else:
            del self.people[user_id]

    def visible(self) -> dict[str, JsonText]:
        """The first to arrive: user id to JSON text, in order."""
        return {id: self.people[id].text for _, id in islice(self.order, PRESENT_AT_MOST)}

    def connections(self, *, besides: str | None = None) -> list[str]:
        """The connections of this node that follow the topic, without those of the user `besides`."""
        return [
            connection
            for user_id, mine in self.mine.items()
            if user_id != besides
            for connection in mine.connections
        ]


class Presence:
    """Presence and typing as one node knows them.

    `hub` reaches this node's clients, `bus` all other nodes. `clock` counts seconds, `wall_clock` milliseconds since
    1970.
    """

    def __init__(
        self,
        node: str,
        hub: Hub,
        bus: Bus,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = _wall_clock,
        call_later: CallLater = _call_later,
    ) -> None:
        self._node = node
        self._hub = hub
        self._clock = clock
        self._wall_clock = wall_clock
        self._call_later = call_later
        self._rooms: dict[str, _Room] = {}
        self._rolls = Rolls(
            node=node,
            publish=partial(bus.publish, Kind.PRESENCE),
            call_later=call_later,
            on_change=self._note,
        )
        self._typing = Typing(node, hub, self._rolls.say, clock=clock, call_later=call_later)
        self.node_found = self._rolls.node_found
        self.node_lost = self._rolls.node_lost
        self.suspect = self._rolls.compare
        bus.listen(Kind.PRESENCE, self.hear)
        bus.on_node_found(self.node_found)
        bus.on_node_lost(self.node_lost)
        bus.on_gap(self.suspect)

    def stop(self) -> None:
        """Cancel all timers and tell nobody anything more."""
        self._rolls.stop()
        for room in self._rooms.values():
            self._close(room)
        self._rooms.clear()

    # --- presence

    def arrive(self, topic: str, user: User, connection: str) -> None:
        """A connection of this node follows the topic from now on. May be repeated."""
        room = self._rooms.get(topic)
        mine = room.mine.get(user.id) if room is not None else None
        if mine is None:
            # Whoever is here through another node already keeps their place.
            known = room.people.get(user.id) if room is not None else None
            since = known.since if known is not None else self._wall_clock()
            self._rolls.put(topic, Present(user, since))
            mine = self._rooms[topic].mine[user.id] = _Mine()
        elif mine.grace is not None:
            mine.grace.cancel()
            mine.grace = None
        mine.connections[connection] = None

    def depart(self, topic: str, user_id: str, connection: str, *, is_for_good: bool) -> None:
        """A connection follows the topic no more; unless `is_for_good`, the user may come back unnoticed."""
        room = self._rooms.get(topic)
        mine = room.mine.get(user_id) if room is not None else None
        if room is None or mine is None or connection not in mine.connections:
            return
        self._typing.end(room, user_id, (self._node, connection))
        del mine.connections[connection]
        room.ahead.pop(connection, None)
        if mine.connections:
            return
        if is_for_good:
            self._leave(topic, user_id)
        else:
            mine.grace = self._call_later(GRACE_SECONDS, self._leave, topic, user_id)

    def _leave(self, topic: str, user_id: str) -> None:
        del self._rooms[topic].mine[user_id]
        self._rolls.drop(topic, user_id)

    def present(self, topic: str, asker: str, *, subscriber: str | None = None) -> JsonText:
        """Who is on the topic, as a list of users. Only for those who may open it.

        `subscriber` is a connection that has just arrived: the signals that it gets go on from this answer.
        """
        room = self._rooms.get(topic)
        if room is None:
            return json_list(())
        shown = room.visible()
        if subscriber is not None and room.signal is not None:
            latest = next(reversed(room.ahead.values()), None)
            room.ahead[subscriber] = latest if latest == shown else shown.copy()
        if asker in room.people:
            shown.setdefault(asker, room.people[asker].text)
        return json_list(shown.values())

    def _note(self, node: str, topic: str, user_id: str, present: Present | None) -> None:
        room = self._rooms.get(topic)
        if room is None:
            if present is None:
                return
            room = self._rooms[topic] = _Room(topic)
        room.note(node, user_id, present)
        if not room.people:
            self._close(room)
            del self._rooms[topic]
        elif room.signal is None:
            wait = 0.0
            if room.signalled_at is not None:
                wait = room.signalled_at + PRESENCE_SECONDS - self._clock()
            if wait > 0:
                room.signal = self._call_later(wait, self._signal_presence, room)
            else:
                self._signal_presence(room)

    def _signal_presence(self, room: _Room) -> None:
        room.signal = None
        told, room.shown = room.shown, room.visible()
        ahead, room.ahead = room.ahead, {}
        connections = room.connections()
        self._tell_change(
            room, told, [one for one in connections if one not in ahead] if ahead else connections
        )
        together: dict[int, list[str]] = {}  # who was given the very same
        for connection, given in ahead.items():
            together.setdefault(id(given), []).append(connection)
        for group in together.values():
            self._tell_change(room, ahead[group[0]], group)

    def _tell_change(self, room: _Room, told: dict[str, JsonText], connections: list[str]) -> None:
        """Tell these connections, who know of those in `told`, who else is there now, and who is not."""
        joined = [text for id, text in room.shown.items() if id not in told]
        left = [text for id, text in told.items() if id not in room.shown]
        if not joined and not left:
            return
        room.signalled_at = self._clock()
        if connections:
            data = json_object(topic=json_string(room.topic), joined=json_list(joined), left=json_list(left))
            self._hub.tell(connections, "presence", data)

    def _close(self, room: _Room) -> None:
        if room.signal is not None:
            room.signal.cancel()
        for mine in room.mine.values():
            if mine.grace is not None:
                mine.grace.cancel()
        self._typing.forget(room)

    # --- typing

    def set_typing(self, topic: str, user: User, connection: str, is_typing: bool) -> None:
        """What a user types, or has stopped typing, through a connection that follows the topic."""
        room = self._rooms.get(topic)
        mine = room.mine.get(user.id) if room is not None else None
        if room is None or mine is None or connection not in mine.connections:
            return  # it has gone meanwhile
        if is_typing:
            self._typing.begin(room, user, (self._node, connection))
        else:
            self._typing.end(room, user.id, (self._node, connection))

    def heard(self, event: Event) -> None:
        """An event was delivered to clients of this node. A comment ends its author's typing, as it does at clients."""
        room = self._rooms.get(event.topic)
        if event.type == "comment.added" and room is not None and room.typists:
            self._typing.has_commented(room, json.loads(event.body)["actor"]["id"])

    # --- the other nodes

    def hear(self, node: str, payload: bytes) -> None:
        """A message of another node. Raises what a malformed one raises; the bus logs that."""
        message: Any = json.loads(payload)
        match message:
            case ["typing", str(topic), [str(id), str(name), str(initials)], bool(is_typing)]:
                room = self._rooms.get(topic)
                if room is None or not room.mine:
                    return
                if is_typing:
                    self._typing.begin(room, User(id, name, initials), (node, ""))
                else:
                    self._typing.end(room, id, (node, ""))
            case _:
                self._rolls.hear(node, message)
