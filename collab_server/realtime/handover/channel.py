"""One connection between two nodes: messages in order, sealed, each read by none but the other.

    dialler ──► version 1 byte, which key 4 bytes, chance 16 bytes
            ◄── chance 16 bytes
    either      length 4 bytes, then so many: kind 1 byte and payload, by AES-256-GCM

The two chances are the salt of the connection's keys, one for either direction; messages are counted, and the count is
the nonce. So whoever does not know the installation's key can neither say nor read anything, and what was recorded is
good for nothing: the other side's chance is another one. The first message of the dialler proves who it is, the answer
to it who the other is.

What it promises: until that proof has come, `PROOF_SECONDS` and `LEAST_BYTES` are all that a connection gets. `send`
never waits; who sends looks at `held_bytes`. What does not open ends the connection.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

from collab_server.realtime.handover.keys import KEY_ID_BYTES, HandoverKeys

__all__ = ["Accepted", "Channel", "Dialled", "Hearer", "Unproved"]

VERSION = 2
PROOF_SECONDS = 2.0
LEAST_BYTES = 128
"""Of the first message."""
MOST_BYTES = 1 << 28
"""Of one message, from a node of the installation: each is bounded by what its sender may take of a client."""
HIGH_WATER_BYTES = 262_144

_LENGTH = struct.Struct(">I")
_TAG_BYTES = 16
_CHANCE_BYTES = 16
_HELLO_BYTES = 1 + KEY_ID_BYTES + _CHANCE_BYTES


class Hearer(Protocol):
    """Who gets what comes by a channel."""

    def heard(self, kind: int, payload: bytes) -> None:
        """A message has come."""

    def lost(self) -> None:
        """The connection is no more."""

    def pause(self) -> None:
        """More waits to be sent than should: say no more for now."""

    def resume(self) -> None:
        """It has gone out."""


class _Nobody:
    def heard(self, kind: int, payload: bytes) -> None: ...

    def lost(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Channel(asyncio.Protocol):
    """Either side of it, once both chances are known."""

    def __init__(self, keys: HandoverKeys) -> None:
        self.hearer: Hearer = _Nobody()
        self.has_heard = False  # since somebody last looked
        self.key_id = b""
        self._keys = keys
        self._transport: Any = None
        self._buffer = bytearray()
        self._most_bytes = LEAST_BYTES
        self._sealing: AESGCM | None = None
        self._opening: AESGCM | None = None
        self._sent = self._read = 0

    # --- asyncio's side

    @override
    def connection_made(self, transport: Any) -> None:
        """Connected."""
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    @override
    def data_received(self, data: bytes) -> None:
        """Some bytes of it."""
        self._buffer += data
        if self._opening is None and not self._shake_hands():
            return
        self._read_messages()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""
        self._buffer.clear()
        hearer, self.hearer = self.hearer, _Nobody()
        hearer.lost()

    @override
    def pause_writing(self) -> None:
        """The other node reads slowly."""
        self.hearer.pause()

    @override
    def resume_writing(self) -> None:
        """It has read."""
        self.hearer.resume()

    # --- who uses it

    @property
    def is_closing(self) -> bool:
        """Nothing more can be said."""
        return self._transport is None or bool(self._transport.is_closing())

    @property
    def held_bytes(self) -> int:
        """So much waits to be sent."""
        return 0 if self.is_closing else int(self._transport.get_write_buffer_size())

    def send(self, kind: int, *parts: bytes) -> None:
        """Say something; what is for a connection that is closed is forgotten."""
        if self._sealing is None or self.is_closing:
            return
        sealed = self._sealing.encrypt(_nonce(self._sent), b"".join((bytes((kind,)), *parts)), None)
        self._sent += 1
        self._transport.writelines((_LENGTH.pack(len(sealed)), sealed))

    def close(self) -> None:
        """End, behind what was said."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self.is_closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self.is_closing:
            self._transport.resume_reading()

    @property
    def is_good(self) -> bool:
        """Whether its key is still one of the installation's."""
        return self._keys.knows(self.key_id)

    # --- what comes

    def _shake_hands(self) -> bool:
        """Read the other's first bytes; False if they are not all there, or not good."""
        raise NotImplementedError

    def _proved(self) -> None:
        """The first message has opened: the other is a node of the installation."""
        self._most_bytes = MOST_BYTES

    def _read_messages(self) -> None:
        start, buffer = 0, self._buffer
        while len(buffer) - start >= _LENGTH.size and not self.is_closing:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if not _TAG_BYTES < length <= self._most_bytes:
                self.abort()
                return
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            if not self._read_message(bytes(memoryview(buffer)[start + _LENGTH.size : end])):
                self.abort()
                return
            start = end
        del buffer[:start]

    def _read_message(self, sealed: bytes) -> bool:
        assert self._opening is not None
        try:
            message = self._opening.decrypt(_nonce(self._read), sealed, None)
        except InvalidTag:
            return False
        if not self._read:
            self._proved()
        self._read += 1
        self.has_heard = True
        self.hearer.heard(message[0], message[1:])
        return True


class Dialled(Channel):
    """The side that has connected. `shaken` is done when it may speak."""

    def __init__(self, keys: HandoverKeys) -> None:
        super().__init__(keys)
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chance = secrets.token_bytes(_CHANCE_BYTES)

    @override
    def connection_made(self, transport: Any) -> None:
        """Connected: the first word is ours."""
        super().connection_made(transport)
        self.key_id = self._keys.key_id
        transport.write(bytes((VERSION,)) + self.key_id + self._chance)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""
        super().connection_lost(exc)
        if not self.shaken.done():
            self.shaken.set_exception(ConnectionResetError("it closes the connection"))

    @override
    def _shake_hands(self) -> bool:
        if len(self._buffer) < _CHANCE_BYTES:
            return False
        salt = self._chance + bytes(self._buffer[:_CHANCE_BYTES])
        del self._buffer[:_CHANCE_BYTES]
        try:
            self._sealing, self._opening = self._keys.of_connection(self.key_id, salt)
        except KeyError:  # it was replaced in this moment
            self.abort()
            return False
        if not self.shaken.done():
            self.shaken.set_result(None)
        return True


class Unproved(Protocol):
    """Who looks after connections of which it is not known yet whose they are."""

    def came(self, channel: Accepted) -> None:
        """A connection has come."""

    def proved(self, channel: Accepted) -> None:
        """It is a node's."""

    def failed(self, channel: Accepted) -> None:
        """It has ended without having been a node's."""


class Accepted(Channel):
    """The side that was connected to."""

    def __init__(self, keys: HandoverKeys, door: Unproved) -> None:
        super().__init__(keys)
        self._door = door
        self._deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: Any) -> None:
        """Somebody has connected."""
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(PROOF_SECONDS, self.abort)
        self._door.came(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._door.failed(self)
        super().connection_lost(exc)

    @override
    def _shake_hands(self) -> bool:
        if len(self._buffer) < _HELLO_BYTES:
            return False
        version, hello = self._buffer[0], bytes(self._buffer[1:_HELLO_BYTES])
        del self._buffer[:_HELLO_BYTES]
        key_id, chance = hello[:KEY_ID_BYTES], secrets.token_bytes(_CHANCE_BYTES)
        if version != VERSION or not self._keys.knows(key_id):
            self.abort()
            return False
        self.key_id = key_id
        self._opening, self._sealing = self._keys.of_connection(key_id, hello[KEY_ID_BYTES:] + chance)
        self._transport.write(chance)
        return True

    @override
    def _proved(self) -> None:
        super()._proved()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._door.proved(self)


def _nonce(count: int) -> bytes:
    return count.to_bytes(12)
