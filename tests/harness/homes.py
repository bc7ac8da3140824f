"""Bare Socket.IO and Engine.IO servers that hand sessions over to each other, as nodes do: no bus, no database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from collab_server.domain.keys import KeyRing
from collab_server.ports import Announcement, Peer
from collab_server.realtime import build_asgi
from collab_server.realtime.handover.elsewhere import Elsewhere
from collab_server.realtime.handover.listener import Listener, Told, Where

KEYS = KeyRing.of(b"the secret of an installation, 32"[:32])


class Neighbours:
    """Stands in for the bus: each knows at once what the others announce."""

    def __init__(self) -> None:
        self.announced: dict[str, Announcement] = {}

    def seen_by(self, name: str) -> Any:
        """What stands in for the bus of one of them."""
        return _Seen(self, name)


class _Seen:
    def __init__(self, neighbours: Neighbours, name: str) -> None:
        self._neighbours, self._name = neighbours, name

    @property
    def nodes(self) -> Mapping[str, Peer]:
        announced = self._neighbours.announced
        return {name: Peer(one.facts(), 0.0) for name, one in list(announced.items()) if name != self._name}


class Handing:
    """One of them: give `elsewhere` to its server, and serve `application(server)`."""

    def __init__(
        self,
        neighbours: Neighbours,
        name: str,
        *,
        keys: KeyRing = KEYS,
        path: str | None = None,
        where: Where | None = None,
    ) -> None:
        self.elsewhere = Elsewhere(neighbours.seen_by(name))
        self.elsewhere.keys.set_epoch("an epoch", keys)
        self.listener: Listener | None = None
        self._where = where or Where(host=None if path else "127.0.0.1", path=path)
        self._announcement = neighbours.announced[name] = Announcement()
        self._tasks: list[asyncio.Task[None]] = []

    def application(self, server: Any) -> Any:
        """The server's application, which hands over and takes over while it lives."""
        engine = getattr(server, "eio", server)
        told = Told(self._announcement, self.elsewhere.home)
        self.listener = listener = Listener(engine, self.elsewhere.keys, self._where, told)
        inner = build_asgi(server)

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                await inner(scope, receive, send)
                return
            tasks = [asyncio.create_task(work) for work in (self.elsewhere.run(), listener.run())]
            try:
                await inner(scope, receive, send)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        return application
