"""uvicorn's websocket protocol with bounds: the size of a message may change, fragments cost what they hold, who sends
many frames that are no messages is read slowly, and who does not read is cut off when it is over. How a message begins
that is too large our application learns, and may answer before it closes. What a client does is no error of ours:
broken text, a handshake that is refused, and what comes before its answer are not told as such."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from typing_extensions import override
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from collab_server.realtime.engine import deadlines, frames
from collab_server.realtime.engine.asgi import EXTENSION
from collab_server.realtime.engine.asgi_bytes import CUT
from collab_server.realtime.lean.quiet import QuietTransport

PIECE_BYTES = 4_096
_BEGINNING = frames.MASK_BYTES + frames.BEGIN_BYTES
SMALL_AT_ONCE = 16
SMALL_SECONDS = 0.002
"""Of so much that comes, so many frames may be no messages; each then takes so long, a hundred times what it costs."""


class _EndingTransport(QuietTransport):
    """One that, once closed, waits `FAREWELL_SECONDS` for a client that does not read, not for ever."""

    __slots__ = ("_cutting_off", "_loop")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(transport)
        self._loop = loop
        self._cutting_off: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Close, behind what was written."""
        if not self.transport.is_closing():
            self._cutting_off = self._loop.call_later(deadlines.FAREWELL_SECONDS, self.transport.abort)
        self.transport.close()

    def linger(self) -> None:
        """Write nothing more, and close when the client has: to close on unread data would reset the connection, and
        the client would not get to see what was written."""
        if self.transport.is_closing():
            return
        self._cutting_off = self._loop.call_later(deadlines.FAREWELL_SECONDS, self.transport.abort)
        try:
            self.transport.write_eof()
        except (OSError, NotImplementedError):  # not over TLS
            self.transport.close()

    def forget(self) -> None:
        """It is closed."""
        if self._cutting_off is not None:
            self._cutting_off.cancel()


class StockWebSocketProtocol(WebSocketsSansIOProtocol):
    """What uvicorn runs by itself, `--ws websockets-sansio`, bounded; in place of its other ones, too."""

    _transport: _EndingTransport
    _small = 0  # frames that were no messages, of what is being read
    _resting: asyncio.TimerHandle | None = None  # until the client may go on …
    _unread = b""  # … with what it had sent already
    _cut: bytearray | None = None  # the beginning of a message that is too large: nothing more is read
    _tells_begin = _is_cut_told = False

    @property
    def _is_deciding(self) -> bool:
        """Whether the handshake has no answer yet: uvicorn's parser can answer nothing else meanwhile."""
        return self.handshake_initiated and not self.handshake_complete

    def _is_cut(self) -> bool:
        return self._cut is not None

    @override
    def data_received(self, data: bytes) -> None:
        """Read frames, a piece at a time, none while the application has a message to take."""
        if self._is_cut():
            self._take_beginning(data)
            return
        if self._resting is not None or self._unread or self._is_deciding:
            self._unread += data
            self.transport.pause_reading()
            return
        for start in range(0, len(data), PIECE_BYTES):
            self._small = 0
            super().data_received(data[start : start + PIECE_BYTES])
            if self.transport.is_closing():
                return
            if self._is_cut():
                self._take_beginning(data[start + PIECE_BYTES :])
                return
            if self._small > SMALL_AT_ONCE:
                self._unread = data[start + PIECE_BYTES :]
                self._resting = self.loop.call_later(self._small * SMALL_SECONDS, self._read_on)
                self.transport.pause_reading()
                return
            if self.read_paused:
                self._unread = data[start + PIECE_BYTES :]
                return

    @override
    async def receive(self) -> Any:
        """What the application takes next."""
        if self._unread and self._resting is None and self.queue.empty():
            self._read_on()
        return await super().receive()

    def _read_on(self) -> None:
        self._resting = None
        data, self._unread = self._unread, b""
        if self.transport.is_closing():
            return
        self.data_received(data)
        if self._resting is None and not (self.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def _fail(self, code: int, reason: str = "") -> None:
        """A client has broken the protocol; of a message that is only too large our application is told."""
        if code != frames.TOO_BIG or not self._tells_begin or self.close_sent:
            type(self.conn).fail(self.conn, code, reason)
        else:
            self._cut = bytearray(self.conn.reader.buffer)
            self.conn.reader.buffer.clear()

    @override
    def handle_parser_exception(self) -> None:
        """No more can be read of this client."""
        if self._cut is None or self.conn.close_sent is not None:
            super().handle_parser_exception()
            return
        self.conn.parser_exc = None
        self.handle_events()  # what has come before it
        if self.frames:  # it has come in fragments
            self._tell_cut(self.frames[0] if self.curr_msg_data_type == "text" else b"")
            self.frames = []
        else:
            self._take_beginning(b"")

    def _take_beginning(self, data: bytes) -> None:
        cut = self._cut
        assert cut is not None
        if self._is_cut_told:
            return
        cut += data[:_BEGINNING]
        if len(cut) >= _BEGINNING:
            self._tell_cut(frames.unmasked(bytes(cut[:_BEGINNING])))

    def _tell_cut(self, begin: bytes) -> None:
        self._is_cut_told = True
        text = begin[: frames.BEGIN_BYTES].decode(errors="replace")
        told: Any = {"type": "websocket.receive", "text": text, CUT: True}
        self.queue.put_nowait(told)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        if self._resting is not None:
            self._resting.cancel()
        self._transport.forget()
        super().connection_lost(exc)

    @override
    async def send(self, message: Any) -> None:
        """What the application sends."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # by a refusal; uvicorn would complain that there is none
        elif message["type"] == "websocket.close" and self._cut is not None:
            self._transport.linger()

    @override
    def send_receive_event_to_app(self) -> None:
        """A message is whole; broken text is answered, and not told in the log."""
        if self.curr_msg_data_type == "text" and not (self.close_sent or _is_text(self.frames)):
            self.frames = []
            self.conn.send_close(frames.INVALID_TEXT)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    @override
    def handle_ping(self) -> None:
        """A ping, which is answered."""
        self._small += 1
        super().handle_ping()

    @override
    def handle_pong(self, event: Any) -> None:
        """A pong, asked for or not."""
        self._small += 1
        super().handle_pong(event)

    @override
    def connection_made(self, transport: Any) -> None:
        """The connection of a handshake."""
        self._transport = ends = _EndingTransport(transport, self.loop)
        quiet: Any = ends
        conn: Any = self.conn
        conn.fail = self._fail
        super().connection_made(quiet)

    def take(self, most_bytes: int, *, tells_begin: bool) -> None:
        """Take messages of so many bytes from now on; how one begins that is larger may have to be told."""
        self._tells_begin = tells_begin
        self.conn.max_message_size = most_bytes

    @override
    def handle_connect(self, event: Any) -> None:
        """The handshake is there; the application may run from the loop's next turn on."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self

    @override
    def handle_cont(self, event: Any) -> None:
        """A further fragment of a message: uvicorn keeps each as an object, however small it is."""
        self._small += 1
        whole: Any = self.frames[0] if self.frames else b""
        if not isinstance(whole, bytearray):
            whole = bytearray(whole)
        whole += event.data
        self.frames = [bytes(whole) if event.fin else whole]
        if event.fin:
            self.send_receive_event_to_app()


def _is_text(pieces: Sequence[bytes]) -> bool:
    try:
        b"".join(pieces).decode()
    except UnicodeDecodeError:
        return False
    return True
