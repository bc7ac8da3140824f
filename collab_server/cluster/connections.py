"""The two connections to Redis: one publishes, one is subscribed. Each is made anew for as long as the bus runs.

Two, because Redis cuts off a subscriber that reads too slowly, and publishing must not go with it. The first attempt
after a good connection is at once, later ones after up to `LONGEST_PAUSE_SECONDS`; why one ended is logged at most once
a minute in the same words.

What runs concurrently: one task keeps either connection, and with Sentinels one follows the master; they are the bus's,
which makes them of `jobs` and cancels them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from collab_server.cluster.counters import Counters
from collab_server.cluster.link import Link, LinkError, find_server, open_link, silence
from collab_server.cluster.outbox import Outbox
from collab_server.cluster.proof import Proof
from collab_server.cluster.reception import COMPLAINT_SECONDS
from collab_server.config import certificates
from collab_server.config.values import RedisSection

__all__ = ["Connections"]

log = logging.getLogger(__name__)

CONNECT_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 0.5
FOLLOW_SECONDS = 2.0


class Connections:
    """Attaches the one to `outbox`; gives what comes in on the other to `on_message`, and calls `on_subscribed()` when
    nothing is missed any more.
    """

    def __init__(
        self,
        redis: RedisSection,
        *,
        name: str,
        ssl_context: ssl.SSLContext | None,
        outbox: Outbox,
        proof: Proof,
        counters: Counters,
    ) -> None:
        self.server: tuple[str, int] | None = None
        self._redis = redis
        self._name = name
        # Made once: loading the CAs takes milliseconds, and connecting is tried twice a second.
        self._ssl = ssl_context or certificates.redis_context(redis)
        self._outbox = outbox
        self._proof = proof
        self._counters = counters
        self._turn = 0
        self._subscriber: Link | None = None
        self._channel = ""
        self._is_channel_known = asyncio.Event()

    def jobs(
        self, on_message: Callable[[bytes], None], on_subscribed: Callable[[], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """What has to run, until it is cancelled."""
        jobs = [
            self._keep(self._hold_publisher),
            self._keep(lambda: self._hold_subscriber(on_message, on_subscribed)),
        ]
        if self._redis.sentinel_master:
            jobs.append(self._follow_master())
        return jobs

    def use_channel(self, channel: str) -> None:
        """Be subscribed to this one, and to no other."""
        if self._channel:
            self._cut_subscriber("the epoch changed")
        self._channel = channel
        self._is_channel_known.set()

    def cut(self, reason: str) -> None:
        """End both; they are made anew."""
        self._outbox.cut(reason)
        self._cut_subscriber(reason)

    def _cut_subscriber(self, reason: str) -> None:
        if self._subscriber is not None:
            self._subscriber.close(reason)

    async def _keep(self, hold: Callable[[], Awaitable[str]]) -> None:
        """Hold one connection after the other."""
        pause = 0.0
        told, tell_again_at = "", 0.0
        while True:
            since = time.monotonic()
            try:
                problem = await hold()
                now = time.monotonic()
                self._counters.connections_lost += 1
                if problem != told or now >= tell_again_at:
                    told, tell_again_at = problem, now + COMPLAINT_SECONDS
                    log.warning("a connection to Redis ended: %s", problem)
                if now - since > CONNECT_SECONDS:
                    pause = 0.0
                self._proof.lost_connection(problem)
            except (LinkError, TimeoutError) as error:
                self._proof.failed(str(error) or "Redis does not answer")
            except Exception as error:
                log.exception("the bus failed")
                self._proof.failed(f"a bug of ours: {type(error).__name__}")
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2 or 0.05)

    async def _hold_publisher(self) -> str:
        """The publishing connection from start to end; returns why it ended."""
        link = await self._open(None)
        try:
            if not self._outbox.has_channel:
                self._proof.proved()
            self._outbox.attach(link)
            return await asyncio.shield(link.lost)
        finally:
            self._outbox.detach()
            link.close("stopped")

    async def _hold_subscriber(
        self, on_message: Callable[[bytes], None], on_subscribed: Callable[[], None]
    ) -> str:
        """The subscribed connection from start to end; returns why it ended."""
        await self._is_channel_known.wait()
        link = await self._open(on_message)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await link.subscribe(self._channel)
            self._subscriber = link
            on_subscribed()
            return await asyncio.shield(link.lost)
        finally:
            self._subscriber = None
            link.close("stopped")

    async def _open(self, on_message: Callable[[bytes], None] | None) -> Link:
        async with asyncio.timeout(CONNECT_SECONDS * max(1, len(self._redis.hosts))):
            self.server = server = await find_server(self._redis, ssl_context=self._ssl, turn=self._turn)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await open_link(
                    self._redis, server, ssl_context=self._ssl, name=self._name, on_message=on_message
                )
        except BaseException as error:
            if server == self._redis.hosts[self._turn % len(self._redis.hosts)]:
                self._turn += 1  # of several: the next one, unless the other connection has said so already
            if isinstance(error, TimeoutError):
                raise LinkError(silence(self._redis, server)) from None
            raise

    async def _follow_master(self) -> None:
        """With Sentinels: a master that was replaced may go on answering, to half of the nodes. Leave it."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                async with asyncio.timeout(CONNECT_SECONDS * len(self._redis.hosts)):
                    server = await find_server(self._redis, ssl_context=self._ssl)
            except (LinkError, TimeoutError):
                continue  # the Sentinels being away is no reason to leave a Redis that works
            except Exception:
                log.exception("the bus failed")
                continue
            if self.server is not None and server != self.server:
                self.cut("another server is the master now")
