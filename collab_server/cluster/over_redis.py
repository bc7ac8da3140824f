"""The bus over pub/sub of Redis or Valkey. Nothing is stored there.

Two connections, one to publish and one that is subscribed, each kept by a task (`connections`, `link`); with Sentinels
one more follows the master. All else is `bus`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from collab_server.cluster.backlog import MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES
from collab_server.cluster.bus import SealedBus
from collab_server.cluster.connections import Connections
from collab_server.cluster.counters import Counters
from collab_server.cluster.outbox import Outbox
from collab_server.cluster.proof import Proof
from collab_server.config.values import RedisSection, parse_redis_url
from collab_server.ports import Announcement

__all__ = ["RedisBus"]


class RedisBus(SealedBus):
    """`ports.Bus` over Redis.

    `redis` is where Redis is, as a section of the config or a `redisServerUrl`; `node` is this node's name, unlike any
    other's; `announcement` is what it tells the others of itself. `ssl_context` replaces the one made of the section's
    `trusted_certs`. Raises `ValueError` for a URL that spells no address, without repeating it.
    """

    dependency: str | None = "Redis Server"

    def __init__(
        self,
        redis: RedisSection | str,
        *,
        node: str,
        announcement: Announcement | None = None,
        ssl_context: ssl.SSLContext | None = None,
        limits: tuple[int, int] = (MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        section = parse_redis_url(redis) if isinstance(redis, str) else redis

        def connections(outbox: Outbox, proof: Proof, counters: Counters) -> Connections:
            self.connections = Connections(
                section,
                name=f"collab-{node}",
                ssl_context=ssl_context,
                outbox=outbox,
                proof=proof,
                counters=counters,
            )
            return self.connections

        super().__init__(
            connections,
            node=node,
            announcement=announcement,
            carried_by="Redis",
            limits=limits,
            clock=clock,
        )
