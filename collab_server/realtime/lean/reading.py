"""Reading from one websocket: its frames, at its session's pace.

Of what comes at once a piece is read, then another, while the client has an allowance left. What comes too early waits
here, and the transport is not read. So a client costs no more than its pace, and others get their turn.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.session import Carrier, Session

PIECE_BYTES = 4_096
"""So much is read at a time, before others may get their turn."""


class Hearer(Carrier, Protocol):
    """Whose frames are read."""

    @property
    def is_closing(self) -> bool:
        """Its close frame is out, or the connection is no more: reading on is for the client's close frame."""

    def take_frame(self, session: Session, opcode: int, payload: str | bytes) -> bool:
        """Take a message or control frame that is whole; False if nothing behind it is to be read."""

    def fail(self, code: int) -> None:
        """The client broke the protocol of websockets; `code` says how."""


class Reading:
    """See the module. `transport` is what the session's websocket, `hearer`, is on."""

    __slots__ = (
        "_frames",
        "_has_told",
        "_hearer",
        "_is_paused",
        "_resting",
        "_session",
        "_transport",
        "_unread",
    )

    def __init__(self, session: Session, transport: Any, hearer: Hearer) -> None:
        self._session = session
        self._transport = transport
        self._hearer = hearer
        reader = frames.FrameReader(session.most_bytes, tells_begin=session.is_trusted)
        self._frames: frames.FrameReader | None = reader
        self._is_paused = False
        self._resting: asyncio.TimerHandle | None = None  # until the client may go on …
        self._unread = b""  # … with what it had sent already
        self._has_told = False  # its owner was told of bytes that are held

    def feed(self, data: bytes) -> None:
        """Read what has come, or keep it for later."""
        if self._resting is not None:
            self._unread += data  # came before reading was paused
        elif len(data) > PIECE_BYTES:
            self._read(data)
        else:
            self._read_piece(data)
            if self._session.allowance.left < 0:
                self._keep_pace(b"")

    def trust(self, most_bytes: int) -> None:
        """Take messages of so many bytes from now on."""
        if self._frames is not None:
            self._frames.max_bytes = most_bytes
            self._frames.tells_begin = self._session.is_trusted

    def pause(self) -> None:
        """Read no more for now."""
        if not self._is_paused:
            self._is_paused = True
            if self._resting is None:
                self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._is_paused:
            self._is_paused = False
            if self._resting is None:
                self._transport.resume_reading()

    def hurry(self) -> None:
        """Read all that waits now, and whatever comes: it is the last."""
        self._read_on()
        self.resume()

    def stop(self) -> None:
        """Read nothing any more."""
        self._frames = None
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
            self._unread = b""

    def _read(self, data: bytes) -> None:
        allowance = self._session.allowance
        for start in range(0, len(data), PIECE_BYTES):
            self._read_piece(data[start : start + PIECE_BYTES])
            if self._frames is None:
                return
            if allowance.left < 0 and self._keep_pace(data[start + PIECE_BYTES :]):
                return

    def _keep_pace(self, unread: bytes) -> bool:
        """Rest, with what is `unread`, if the client has come too fast; False if it may go on."""
        if self._frames is None or self._hearer.is_closing:
            return False
        seconds = self._session.allowance.seconds_to_wait()
        if seconds:
            self._rest(seconds, unread)
        return seconds > 0

    def _rest(self, seconds: float, unread: bytes) -> None:
        self._unread = unread
        self._resting = asyncio.get_running_loop().call_later(seconds, self._read_on)
        if not self._is_paused:
            self._transport.pause_reading()
        self._tell_held_bytes()

    def _read_on(self) -> None:
        """The client may go on."""
        if self._resting is None:
            return
        self._resting.cancel()
        self._resting = None
        data, self._unread = self._unread, b""
        self._read(data)
        if self._resting is None and not (self._is_paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def _read_piece(self, data: bytes) -> None:
        reader, session = self._frames, self._session
        if reader is None:
            return
        try:
            for opcode, payload in reader.feed(data):
                if not self._hearer.take_frame(session, opcode, payload):
                    return
            self._tell_held_bytes()
        except frames.FrameError as error:
            if error.begin:
                session.owner.turn_down(session, error.begin.decode(errors="replace"))
            self._hearer.fail(error.code)
        if reader.fragments_read:
            session.allowance.left -= reader.fragments_read
            reader.fragments_read = 0

    @property
    def held_bytes(self) -> int:
        """So much is kept of what has come."""
        return 0 if self._frames is None else self._frames.held_bytes + len(self._unread)

    def _tell_held_bytes(self) -> None:
        session = self._session
        if session.is_trusted:
            return
        held_bytes = self.held_bytes
        if held_bytes or self._has_told:
            self._has_told = held_bytes > 0
            session.owner.weigh(session)
