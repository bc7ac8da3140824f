"""Presence and typing on nodes without sockets: time and the bus are the test's own."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, cast

import pytest
from typing_extensions import override

from collab_server.cluster.alone import Alone
from collab_server.domain.events import Event
from collab_server.domain.jsontext import NOTHING, dumps
from collab_server.domain.people import User
from collab_server.services.live import rolls as rolls_module
from collab_server.services.live.presence import PRESENCE_SECONDS, PRESENT_AT_MOST, Presence

TOPIC = "content:A:B"
ANN, BOB, CAROL = (
    User(name.upper(), f"{name.title()} Ä", name[0].upper()) for name in ("ann", "bob", "carol")
)


class Clock:
    """An event loop's timers without its waiting."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Clock.Timer]] = []
        self._numbers = itertools.count()

    class Timer:
        def __init__(self, run: Callable[[], object]) -> None:
            self.run: Callable[[], object] | None = run

        def cancel(self) -> None:
            self.run = None

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: object) -> Clock.Timer:
        timer = Clock.Timer(lambda: function(*arguments))
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), timer))
        return timer

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.run is not None:
                timer.run()
        self.now = until

    @property
    def pending(self) -> int:
        return sum(timer.run is not None for *_, timer in self._timers)


class End(Alone):
    """The end of a bus that says what it is given to `publish`; what comes by it the test hands in."""

    def __init__(self, publish: Callable[[bytes], None]) -> None:
        self._publish = publish

    @override
    def publish(self, kind: int, payload: bytes) -> None:
        self._publish(payload)


class Node:
    """A `Presence`, what its clients were told, and its end of the bus."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.name = name
        self.nodes = nodes
        self.told: list[tuple[frozenset[str], str, Any]] = []
        self.is_deaf = False
        self.is_dead = False
        self.sent: list[bytes] = []
        self.presence = Presence(
            name,
            cast("Any", self),  # the hub: `tell`
            End(self.publish) if nodes.has_bus else Alone(),
            clock=lambda: nodes.clock.now,
            wall_clock=nodes.arrivals.__next__,
            call_later=nodes.clock.call_later,
        )

    def tell(self, connections: Iterable[str], name: str, text: str) -> None:
        assert not self.is_dead
        self.told.append((frozenset(connections), name, json.loads(text)))

    def publish(self, payload: bytes) -> None:
        if self.is_dead:
            return
        self.sent.append(payload)
        for other in self.nodes.alive:
            if other is not self and not other.is_deaf:
                other.presence.hear(self.name, payload)

    def arrive(self, user: User, connection: str = "", topic: str = TOPIC) -> None:
        self.presence.arrive(topic, user, connection or user.id)

    def depart(self, user: User, connection: str = "", *, is_for_good: bool = False) -> None:
        self.presence.depart(TOPIC, user.id, connection or user.id, is_for_good=is_for_good)

    def types(self, user: User, is_typing: bool = True, connection: str = "") -> None:
        self.presence.set_typing(TOPIC, user, connection or user.id, is_typing)

    def present(self, topic: str = TOPIC, asker: str = "") -> list[str]:
        return [user["id"] for user in json.loads(self.presence.present(topic, asker))]

    def signals(self) -> list[str]:
        """What was told since last asked: `+ANN` joined, `-ANN` left, `ANN...` types, `ANN.` has stopped."""
        said = []
        for _, name, data in self.told:
            assert data["topic"] == TOPIC
            if name == "presence":
                changes = [f"+{user['id']}" for user in data["joined"]]
                said.append(" ".join(changes + [f"-{user['id']}" for user in data["left"]]))
            else:
                said.append(data["user"]["id"] + ("..." if data["typing"] else "."))
        self.told.clear()
        return said


class Nodes:
    def __init__(self, *names: str, has_bus: bool = True) -> None:
        self.clock = Clock()
        self.arrivals = itertools.count(1)
        self.has_bus = has_bus
        self.all = [Node(self, name) for name in names]
        if has_bus:
            for one, other in itertools.permutations(self.all, 2):
                one.presence.node_found(other.name)
            self.clock.pass_by(1)

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.all if not node.is_dead]

    def add(self, name: str) -> Node:
        new = Node(self, name)
        self.all.append(new)
        for node in self.alive:
            if node is not new:
                new.presence.node_found(node.name)
                node.presence.node_found(name)
        return new

    def kill(self, node: Node) -> None:
        node.is_dead = True
        node.presence.stop()
        for other in self.alive:
            other.presence.node_lost(node.name)


@pytest.fixture
def node() -> Node:
    return Nodes("n1", has_bus=False).all[0]


@pytest.fixture
def pair() -> tuple[Node, Node]:
    one, two = Nodes("n1", "n2").all
    return one, two


def wait(node: Node, seconds: float) -> None:
    node.nodes.clock.pass_by(seconds)


# --- presence


def test_people_are_present_in_the_order_of_arrival(node: Node) -> None:
    for user in (CAROL, ANN, BOB):
        node.arrive(user)
        wait(node, 0.01)
    assert json.loads(node.presence.present(TOPIC, "")) == [user.as_wire() for user in (CAROL, ANN, BOB)]
    assert node.present("content:A:C") == []


def test_an_arrival_is_told_to_those_who_were_there_before(node: Node) -> None:
    node.arrive(ANN)
    wait(node, 1)
    node.arrive(BOB)
    assert node.told == [
        (frozenset({"ANN"}), "presence", {"topic": TOPIC, "joined": [BOB.as_wire()], "left": []})
    ]


def test_joins_and_leaves_once_however_many_tabs(node: Node) -> None:
    node.arrive(BOB)
    for tab in ("a", "b", "c"):
        node.arrive(ANN, tab)
        wait(node, 1)
    assert node.present() == ["BOB", "ANN"]
    for tab in ("b", "a"):
        node.depart(ANN, tab, is_for_good=True)
        wait(node, 5)
    assert node.signals() == ["+ANN"]
    node.depart(ANN, "c", is_for_good=True)
    assert node.signals() == ["-ANN"]
    assert node.present() == ["BOB"]


def test_a_lost_connection_leaves_after_the_grace(node: Node) -> None:
    node.arrive(BOB)
    node.arrive(ANN)
    wait(node, 1)
    node.signals()
    node.depart(ANN)
    wait(node, 1.9)
    assert node.signals() == []
    assert node.present() == ["BOB", "ANN"]
    wait(node, 0.2)
    assert node.signals() == ["-ANN"]


def test_who_comes_back_in_time_neither_leaves_nor_joins(node: Node) -> None:
    node.arrive(BOB)
    node.arrive(ANN)
    wait(node, 1)
    node.signals()
    node.depart(BOB)
    wait(node, 1.9)
    node.arrive(BOB, "new tab")
    wait(node, 10)
    assert node.signals() == []
    assert node.present() == ["BOB", "ANN"]


def test_departing_twice_or_without_arriving_does_nothing(node: Node) -> None:
    node.depart(ANN)
    node.arrive(BOB)
    node.depart(BOB, "another tab", is_for_good=True)
    node.depart(BOB)
    node.depart(BOB, is_for_good=True)
    assert node.present() == ["BOB"]
    wait(node, 3)
    assert node.present() == []


def test_bursts_become_four_signals_a_second(node: Node) -> None:
    node.arrive(BOB)
    wait(node, 1)
    users = [User(f"U{number:03}", "U", "U") for number in range(100)]
    for user in users:
        node.arrive(user)
        wait(node, 0.01)
    wait(node, 1)
    signals = node.signals()
    assert 2 <= len(signals) <= 6
    assert " ".join(signals).split() == [f"+{user.id}" for user in users]


def test_coming_and_going_within_a_burst_is_not_told(node: Node) -> None:
    node.arrive(BOB)
    node.arrive(CAROL)
    node.arrive(ANN)
    node.depart(ANN, is_for_good=True)
    wait(node, 1)
    assert node.signals() == ["+CAROL"]


def test_a_crowd_is_shown_up_to_its_limit_and_makes_no_signals_beyond(node: Node) -> None:
    users = [User(f"U{number:04}", "U", "U") for number in range(1000)]
    for user in users:
        node.arrive(user)
        wait(node, 0.001)
    wait(node, 1)
    shown = [user.id for user in users[:PRESENT_AT_MOST]]
    assert node.present() == shown
    assert node.present(asker="U0999") == [*shown, "U0999"]
    assert node.present(asker="U0001") == shown
    assert sum(len(connections) for connections, *_ in node.told) < 3 * len(users)
    node.signals()
    node.depart(users[7], is_for_good=True)
    assert node.signals() == [f"+U{PRESENT_AT_MOST:04} -U0007"]


def test_what_a_subscriber_was_given_and_told_is_what_is_present(node: Node) -> None:
    users = [User(f"U{number:04}", "U", "U") for number in range(PRESENT_AT_MOST + 50)]
    node.arrive(BOB, "watcher")
    known = set(node.present(asker="BOB"))
    for step in range(3):
        for user in users[step::2]:
            node.arrive(user)
            wait(node, 0.003)
        for user in users[step::3]:
            node.depart(user, is_for_good=step == 1)
            wait(node, 0.01)
    wait(node, 5)
    for connections, _, data in node.told:
        if "watcher" in connections:
            known |= {user["id"] for user in data["joined"]}
            known -= {user["id"] for user in data["left"]}
    assert known == set(node.present(asker="BOB"))


def test_whoever_subscribes_in_a_burst_ends_with_who_is_present(node: Node) -> None:
    random = Random(1)
    users = [User(f"U{number}", "U", "U") for number in range(6)]
    known: dict[str, set[str]] = {}
    for _ in range(2000):
        user = random.choice(users)
        if user.id in known:
            node.depart(user, is_for_good=True)
            del known[user.id]
        else:
            node.arrive(user)
            given = node.presence.present(TOPIC, user.id, subscriber=user.id)
            known[user.id] = {user["id"] for user in json.loads(given)}
        seconds = random.choice([0.001, 0.05, 0.1, 0.5])
        wait(node, seconds)
        for connections, _, data in node.told:
            assert connections <= known.keys(), "nobody is told who has unsubscribed"
            for connection in connections:
                known[connection] |= {user["id"] for user in data["joined"]}
                known[connection] -= {user["id"] for user in data["left"]}
        node.told.clear()
        if seconds > PRESENCE_SECONDS:
            assert all(people == known.keys() for people in known.values())


def test_nothing_remains_of_a_topic_that_everybody_left(node: Node) -> None:
    node.arrive(ANN)
    node.types(ANN)
    node.depart(ANN)
    wait(node, 10)
    assert node.nodes.clock.pending == 0
    assert not node.presence._rooms


# --- several nodes


def test_presence_reaches_the_other_nodes(pair: tuple[Node, Node]) -> None:
    one, two = pair
    one.arrive(ANN)
    wait(one, 1)
    two.arrive(BOB)
    assert one.present() == two.present() == ["ANN", "BOB"]
    assert one.signals() == ["+BOB"]
    two.depart(BOB, is_for_good=True)
    wait(one, 1)
    assert one.signals() == ["-BOB"]
    assert one.present() == two.present() == ["ANN"]


def test_a_person_on_two_nodes_is_one_person(pair: tuple[Node, Node]) -> None:
    one, two = pair
    one.arrive(ANN)
    wait(one, 1)
    one.arrive(CAROL)
    wait(one, 1)
    two.arrive(ANN)
    two.arrive(BOB)
    wait(one, 1)
    assert one.present() == two.present() == ["ANN", "CAROL", "BOB"]
    assert one.signals() == ["+CAROL", "+BOB"]
    assert two.signals() == ["+BOB"]  # Bob came within a quarter of a second of Ann
    one.depart(ANN, is_for_good=True)
    wait(one, 5)
    assert one.signals() == two.signals() == []
    assert one.present() == two.present() == ["ANN", "CAROL", "BOB"]


def test_a_person_who_moves_to_another_node_neither_leaves_nor_joins(pair: tuple[Node, Node]) -> None:
    one, two = pair
    two.arrive(BOB)
    one.arrive(ANN)
    wait(one, 1)
    two.signals()
    one.depart(ANN)
    wait(one, 1)
    two.arrive(ANN)
    wait(one, 10)
    assert two.signals() == []
    assert one.present() == two.present() == ["BOB", "ANN"]


def test_the_people_of_a_lost_node_leave_unless_they_come_back(pair: tuple[Node, Node]) -> None:
    one, two = pair
    two.arrive(BOB)
    one.arrive(ANN)
    one.arrive(CAROL)
    wait(one, 1)
    two.signals()
    one.nodes.kill(one)
    wait(two, 1)
    two.arrive(CAROL)
    assert two.present() == ["BOB", "ANN", "CAROL"]
    wait(two, 2)
    assert two.signals() == ["-ANN"]
    assert two.present() == ["BOB", "CAROL"]


def test_a_node_that_was_only_away_keeps_its_people(pair: tuple[Node, Node]) -> None:
    one, two = pair
    one.arrive(ANN)
    two.arrive(BOB)
    wait(one, 1)
    two.presence.node_lost("n1")
    wait(one, 1)
    two.presence.node_found("n1")
    wait(one, 10)
    assert two.present() == ["ANN", "BOB"]
    two.presence.node_lost("n1")
    wait(one, 3)
    assert two.present() == ["BOB"]
    two.presence.node_found("n1")
    wait(one, 1)
    assert two.present() == ["ANN", "BOB"]


def test_a_node_that_starts_gets_the_state_of_the_others(pair: tuple[Node, Node]) -> None:
    one, two = pair
    for number in range(300):
        one.arrive(User(f"U{number:03}", "U", "U"), topic=f"content:A:{number % 150}")
    two.arrive(BOB)
    three = one.nodes.add("n3")
    wait(one, 1)
    assert three.present() == ["BOB"]
    for number in range(150):
        assert three.present(f"content:A:{number}") == one.present(f"content:A:{number}")
        assert len(three.present(f"content:A:{number}")) == 2


def test_a_crowd_is_sent_in_bounded_parts(pair: tuple[Node, Node]) -> None:
    one, _ = pair
    for number in range(1200):
        one.arrive(User(f"U{number:04}", "U", "U"))
    wait(one, 1)
    one.sent.clear()
    three = one.nodes.add("n3")
    wait(one, 1)
    assert three.present() == one.present()
    assert len([message for message in one.sent if message.startswith(b'["state"')]) == 3
    assert max(len(message) for message in one.sent) < 50_000


def test_lost_messages_are_repaired_by_digests(pair: tuple[Node, Node]) -> None:
    one, two = pair
    one.arrive(ANN)
    two.arrive(CAROL)
    wait(one, 1)
    two.signals()
    two.is_deaf = True
    one.depart(ANN, is_for_good=True)
    one.arrive(BOB)
    two.is_deaf = False
    assert two.present() == ["ANN", "CAROL"]
    wait(one, 6)
    assert sorted(two.present()) == ["BOB", "CAROL"]
    assert " ".join(two.signals()).split() == ["-ANN", "+BOB"]
    one.sent.clear()
    wait(one, 20)
    assert {message[:9] for message in one.sent} == {b'["digest"'}, "nothing is sent when nothing differs"


def test_a_suspicion_is_checked_at_once(pair: tuple[Node, Node]) -> None:
    one, two = pair
    two.is_deaf = True
    one.arrive(ANN)
    two.is_deaf = False
    two.presence.suspect()
    wait(one, 0.3)
    assert two.present() == ["ANN"]


def test_half_a_state_is_not_taken(pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolls_module, "PEOPLE_A_PART", 1)
    one, two = pair
    two.is_deaf = True
    for user in (ANN, BOB, CAROL):
        one.arrive(user)
    two.is_deaf = False
    hear, parts = two.presence.hear, []

    def lose_the_second_part(node: str, payload: bytes) -> None:
        if payload.startswith(b'["state"'):
            parts.append(payload)
            if len(parts) == 2:
                return
        hear(node, payload)

    monkeypatch.setattr(two.presence, "hear", lose_the_second_part)
    two.presence.suspect()
    wait(one, 0.3)
    assert len(parts) == 3
    assert two.present() == []
    wait(one, 6)
    assert two.present() == ["ANN", "BOB", "CAROL"]


def test_messages_of_unknown_kinds_and_nodes_are_left_alone(pair: tuple[Node, Node]) -> None:
    one, two = pair
    one.presence.hear("n2", b'["weather","sunny",1]')
    one.presence.hear("n9", b'["in","%b",["ANN","A","A",1]]' % TOPIC.encode())
    assert one.present() == two.present() == []


# --- typing


@pytest.fixture
def typing(pair: tuple[Node, Node]) -> tuple[Node, Node]:
    """Ann and Bob on one node, Carol on the other."""
    one, two = pair
    one.arrive(ANN)
    one.arrive(BOB)
    two.arrive(CAROL)
    wait(one, 1)
    one.signals()
    two.signals()
    return one, two


def test_typing_is_told_to_the_others_on_all_nodes(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.arrive(ANN, "second tab")
    one.types(ANN)
    assert one.told == [
        (frozenset({"BOB"}), "typing", {"topic": TOPIC, "user": ANN.as_wire(), "typing": True})
    ]
    assert two.signals() == ["ANN..."]
    one.signals()
    one.types(ANN, False)
    assert one.signals() == two.signals() == ["ANN."]
    one.types(ANN, False)
    assert one.signals() == two.signals() == []


def test_typing_ends_by_itself_after_six_seconds(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.types(ANN)
    wait(one, 5.9)
    assert one.signals() == two.signals() == ["ANN..."]
    wait(one, 0.2)
    assert one.signals() == two.signals() == ["ANN."]


def test_renewed_typing_goes_on(typing: tuple[Node, Node]) -> None:
    one, two = typing
    for _ in range(4):
        one.types(ANN)
        wait(one, 3)
    assert one.signals() == two.signals() == ["ANN..."] * 4
    wait(one, 3.1)
    assert one.signals() == two.signals() == ["ANN."]


def test_typing_again_at_once_is_not_told_again(typing: tuple[Node, Node]) -> None:
    one, two = typing
    for _ in range(19):
        one.types(ANN)
        wait(one, 0.1)
    assert one.signals() == two.signals() == ["ANN..."]


def test_typing_of_a_killed_node_ends(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.types(ANN)
    one.nodes.kill(one)
    wait(two, 6.1)
    assert two.signals() == ["ANN...", "-ANN", "-BOB", "ANN."]


@pytest.mark.parametrize("is_for_good", [True, False])
def test_departing_ends_typing(typing: tuple[Node, Node], is_for_good: bool) -> None:
    one, two = typing
    one.types(ANN)
    one.depart(ANN, is_for_good=is_for_good)
    assert one.signals()[:2] == two.signals()[:2] == ["ANN...", "ANN."]


def test_typing_in_two_tabs_ends_with_the_second(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.arrive(ANN, "second tab")
    one.types(ANN)
    one.types(ANN, connection="second tab")
    one.depart(ANN, "second tab")
    assert one.signals() == two.signals() == ["ANN..."]
    one.types(ANN, False)
    assert one.signals() == two.signals() == ["ANN."]


def test_a_comment_ends_typing_without_a_signal_and_lets_it_begin_anew(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.types(ANN)
    body = dumps({"actor": {"id": "ANN"}})
    for node in typing:
        node.presence.heard(Event(TOPIC, 1, "comment.edited", NOTHING))
        node.presence.heard(Event(TOPIC, 2, "comment.added", body))
    one.types(ANN, False)
    wait(one, 1)
    assert one.signals() == two.signals() == ["ANN..."]
    one.types(ANN)
    assert one.signals() == two.signals() == ["ANN..."]


def test_only_a_connection_that_follows_the_topic_types(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.types(ANN, connection="another")
    one.types(CAROL)
    assert one.signals() == two.signals() == []


def test_stopping_leaves_no_timer(typing: tuple[Node, Node]) -> None:
    one, two = typing
    one.types(ANN)
    two.depart(CAROL)
    one.presence.suspect()
    for node in typing:
        node.presence.stop()
    assert one.nodes.clock.pending == 0


def test_typing_and_not_typing_by_turns_is_told_once_each_in_a_while(typing: tuple[Node, Node]) -> None:
    one, _ = typing
    sent = len(one.sent)
    for _ in range(300):
        one.types(ANN)
        one.types(ANN, False)
        wait(one, 0.02)
    for node in typing:
        said = node.signals()
        assert 3 <= said.count("ANN...") <= 4
        assert 3 <= said.count("ANN.") <= 4
    assert len(one.sent) - sent < 12


@pytest.mark.parametrize("is_typing", [True, False])
def test_what_is_so_in_the_end_is_told(typing: tuple[Node, Node], is_typing: bool) -> None:
    one, _ = typing
    for turn in range(11):
        one.types(ANN, is_typing is (turn % 2 == 0))
    wait(one, 2.1)
    for node in typing:
        assert (node.signals() or ["ANN."])[-1] == ("ANN..." if is_typing else "ANN.")
    wait(one, 10)
    for node in typing:
        assert (node.signals() or ["ANN."])[-1] == "ANN."


def test_nothing_is_remembered_of_who_has_stopped_typing(typing: tuple[Node, Node]) -> None:
    one, _ = typing
    for _ in range(5):
        one.types(ANN)
        one.types(ANN, False)
    one.types(BOB)
    one.presence.depart(TOPIC, "BOB", "BOB", is_for_good=True)
    wait(one, 10)
    for node in typing:
        assert not node.presence._rooms[TOPIC].typists
