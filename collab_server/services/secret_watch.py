"""The secret watch: once all nodes have the secret of the configuration, it is needed to open what they seal.

Nodes announce which secret they have, and only those of this version hear each other: while any other may be there, it
waits. One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from collab_server.domain.keys import check_of
from collab_server.errors import ClientError
from collab_server.ports import Bus
from collab_server.services.installed import Installed
from collab_server.storage import installation
from collab_server.storage.database import Database

LOOK_SECONDS = 1.0
AGREED_SECONDS = 5.0  # that all nodes say that they have the same secret, before it is needed
LACKING_SECONDS = 60.0  # that some lack it, before it is said: an update takes as long

log = logging.getLogger(__name__)


class SecretWatch:
    """Watches for one node; `secret` is that of its configuration, if there is one."""

    def __init__(self, secret: bytes | None, database: Database, bus: Bus, installed: Installed) -> None:
        self._secret = secret
        self._database = database
        self._bus = bus
        self._installed = installed
        self._agreed_since: float | None = None
        self._lacking_since: float | None = None
        self._is_said = False

    async def run(self) -> None:
        """Watch until cancelled; at once over where there is no secret."""
        while self._secret is not None:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look(self._secret, asyncio.get_running_loop().time())

    async def _look(self, secret: bytes, now: float) -> None:
        found = self._installed.found
        if found is None or found.keys.secret_check is not None:
            self._agreed_since = self._lacking_since = None
            self._is_said = False
            return
        lacking = self._without(secret)
        self._complain(lacking, now)
        if lacking or not self._bus.is_hearing:
            self._agreed_since = None
            return
        self._agreed_since = self._agreed_since or now
        if now - self._agreed_since >= AGREED_SECONDS and self._database.is_up:
            with contextlib.suppress(ClientError):
                await installation.use_secret(self._database, check_of(secret))

    def _without(self, secret: bytes) -> list[str]:
        """The names of the other nodes that have not this node's secret, as far as they are heard."""
        return [
            name for name, node in self._bus.nodes.items() if node.info.get("secret") != announced(secret)
        ]

    def _complain(self, lacking: list[str], now: float) -> None:
        self._lacking_since = (self._lacking_since or now) if lacking else None
        if self._lacking_since is None:
            self._is_said = False
        elif now - self._lacking_since >= LACKING_SECONDS and not self._is_said:
            self._is_said = True
            log.warning(
                "Not all nodes have the `secret` of this node's configuration: it protects nothing until they do",
                extra={"without": lacking},
            )


def announced(secret: bytes | None) -> str | None:
    """What a node announces of its secret: not the secret itself."""
    return None if secret is None else check_of(secret).hex()
