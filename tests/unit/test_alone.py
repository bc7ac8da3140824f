"""The bus of a node that is alone."""

from __future__ import annotations

from collab_server.cluster.alone import Alone
from collab_server.domain.keys import KeyRing
from collab_server.ports import Bus


async def test_a_node_that_is_alone_lacks_nothing_and_hears_nobody() -> None:
    bus: Bus = Alone()
    heard: list[object] = []
    bus.listen(2, lambda node, payload: heard.append(payload))
    bus.on_gap(lambda: heard.append("gap"))
    bus.on_node_found(heard.append)
    bus.on_node_lost(heard.append)
    await bus.start()
    bus.set_epoch("e1", KeyRing.of(b"k" * 32))
    bus.publish(2, b"hello")
    assert bus.is_hearing
    assert bus.is_available
    assert (bus.dependency, bus.problem, bus.nodes, bus.counts()) == (None, None, {}, {})
    await bus.stop()
    assert heard == []
