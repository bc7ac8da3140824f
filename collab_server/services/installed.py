"""What the database says of the installation - its epoch, its keys - put to use all over the node.

The keys seal resume tokens, cursors, the bus, and what nodes hand over to each other. When they change, clients get
tokens that go on opening; when the epoch does, they come back and learn that their `seq` are of another time. Nothing
here waits, and nothing runs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from collab_server.domain.keys import KeyRing
from collab_server.services.commands.pages import Cursors
from collab_server.services.epoch import Epoch
from collab_server.services.hub import Hub
from collab_server.services.live.feed import Feed
from collab_server.services.sign_in import Authenticator
from collab_server.storage.installation import Installation

log = logging.getLogger(__name__)


class Between(Protocol):
    """What goes between the nodes of an epoch, sealed."""

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        """With these keys from now on."""


class Installed:
    """The installation as this node knows it; `found` is None until the database has told it.

    `secret` is that of the configuration, if there is one: the keys are of no use without it.
    """

    def __init__(
        self,
        secret: bytes | None,
        epoch: Epoch,
        authenticator: Authenticator,
        cursors: Cursors,
        between: Sequence[Between],
        hub: Hub,
        feed: Feed,
    ) -> None:
        self.found: Installation | None = None
        self._secret = secret
        self._keys: KeyRing | None = None
        self._epoch = epoch
        self._authenticator = authenticator
        self._cursors = cursors
        self._between = tuple(between)
        self._hub = hub
        self._feed = feed

    def use(self, found: Installation) -> None:
        """Work with this installation, and seal with its keys, from now on."""
        self.found = found
        self._epoch.name = found.epoch
        before, self._keys = self._keys, found.keys.ring(self._secret)
        self._authenticator.use_keys(self._keys)
        self._cursors.use_keys(self._keys)
        for one in self._between:
            one.set_epoch(found.epoch, self._keys)
        if before is None or before.sealing == self._keys.sealing:
            return
        if before.sealing in self._keys.opening:
            log.info("what is sealed is sealed with another key from now on; nobody is signed out")
            for listener in self._hub.listeners.values():
                listener.renew_token_soon()
        else:
            log.warning("the key was replaced: everybody has to sign in again")
            self._hub.close_all("signed out")

    def begin_epoch(self, found: Installation) -> None:
        """Clients come back and learn that their `seq` are of another time."""
        self.use(found)
        self._feed.reset()
        self._hub.close_all("new epoch")
