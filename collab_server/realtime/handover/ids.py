"""Session ids that name their home, for nodes of the installation alone.

    chance     16 bytes     whoever knows an id acts as its client
    sealed     8 bytes      the home: random per start of a node
    tag        16 bytes     of AES-256-GCM, with the chance as nonce and, all of it, as what is authenticated

in base64url, 54 characters. Nobody else can make one, learn from one where its session is, or see that two are of the
same node. An id in another form is of a session that began on a websocket, of which nothing can come another way, or
of a node that hands nothing over.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from collab_server.domain.chance import base64url, chance, of_base64url
from collab_server.realtime.handover.keys import HandoverKeys

__all__ = ["HOME_BYTES", "SealedIds"]

HOME_BYTES = 8
_CHANCE_BYTES = 16
_NONCE_BYTES = 12
_CHARACTERS = 54


class SealedIds:
    """Makes and opens them, under these keys as they are when it does."""

    def __init__(self, home: bytes, keys: HandoverKeys) -> None:
        self._home = home
        self._keys = keys

    def new(self) -> str:
        """A new id that names this node; before there are keys, one that names nobody."""
        made = chance(_CHANCE_BYTES)
        if not self._keys.ids:
            return base64url(made)
        return base64url(made + self._keys.ids[0].encrypt(made[:_NONCE_BYTES], self._home, made))

    @staticmethod
    def may_name_somebody(sid: str) -> bool:
        """Whether an id has the form of one that names its home."""
        return len(sid) == _CHARACTERS

    def home_of(self, sid: str) -> bytes | None:
        """Whom an id names; None for what no node of this installation and epoch has made."""
        if len(sid) != _CHARACTERS:
            return None
        made = of_base64url(sid)
        if made is None:
            return None
        own, sealed = made[:_CHANCE_BYTES], made[_CHANCE_BYTES:]
        for key in self._keys.ids:
            try:
                return key.decrypt(own[:_NONCE_BYTES], sealed, own)
            except (InvalidTag, ValueError):
                continue
        return None
