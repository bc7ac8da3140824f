"""WebSocket frames (RFC 6455): made once for everybody, read from one client.

A ready frame is what everything that leaves is kept as. A websocket gets it as it is, many of them joined in one
write; long-polling and foreign ASGI servers take the header off again with `payload_of`.

No extension is ever agreed on, so permessage-deflate is off: it costs more than the network it saves.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from struct import Struct

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets without its C extension
    from websockets.utils import apply_mask

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_FINAL = 0x80
_MASKED = 0x80

SWITCHING = 101
"""The status of a handshake that is completed."""
NORMAL, GOING_AWAY, PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1000, 1001, 1002, 1007, 1009

_short = Struct("!BB").pack
_medium = Struct("!BBH").pack
_long = Struct("!BBQ").pack
_SHORT = [_short(_FINAL | TEXT, size) for size in range(126)]
"""How a text of so many bytes begins."""
_read_16 = Struct("!H").unpack_from
BEGIN_BYTES = 64
"""So much of what is too large is looked at: whether, and by which number, it waits for an answer."""
_LOOKED_BYTES = 65_536
"""So much of a body that is too large: whether one packet is so, or only several together."""
SEPARATOR = "\x1e"
"""Between the packets of a body."""
_ENDLESS = 2**62

_read_64 = Struct("!Q").unpack_from
MASK_BYTES = 4
_NO_MASK = bytes(MASK_BYTES)


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole, unmasked frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return _short(_FINAL | opcode, size) + payload
    if size < 65536:
        return _medium(_FINAL | opcode, 126, size) + payload
    return _long(_FINAL | opcode, 127, size) + payload


def frame_of(packet: str | bytes) -> bytes:
    """An Engine.IO packet as a ready frame."""
    if isinstance(packet, str):
        return frame(TEXT, packet.encode())
    return frame(BINARY, bytes(packet))


def message_of(text: str | bytes) -> bytes:
    """A ready Socket.IO packet, text or its bytes, as the ready frame of an Engine.IO message."""
    payload = text.encode() if isinstance(text, str) else text
    size = len(payload) + 1
    if size >= 65536:
        return frame(TEXT, b"4" + payload)
    return (_SHORT[size] if size < 126 else _medium(_FINAL | TEXT, 126, size)) + b"4" + payload


def close_frame(code: int) -> bytes:
    """A close frame without words."""
    return frame(CLOSE, code.to_bytes(2, "big"))


def frame_of_client(opcode: int, payload: bytes) -> bytes:
    """One whole frame as a client sends it: masked, by zeros."""
    size = len(payload)
    if size < 126:
        return _short(_FINAL | opcode, _MASKED | size) + _NO_MASK + payload
    if size < 65536:
        return _medium(_FINAL | opcode, _MASKED | 126, size) + _NO_MASK + payload
    return _long(_FINAL | opcode, _MASKED | 127, size) + _NO_MASK + payload


def beginning_of_client(begin: bytes) -> bytes:
    """The beginning of a text frame as a client sends it that is larger than any may be."""
    return _long(_FINAL | TEXT, _MASKED | 127, _ENDLESS) + _NO_MASK + begin.ljust(BEGIN_BYTES)


def looked_at(most_bytes: int) -> int:
    """How much is looked at of a body that has more than so many bytes."""
    return min(most_bytes, _LOOKED_BYTES)


def beginning_of_body(body: bytes | bytearray, most_bytes: int) -> bytes:
    """How the packet begins by which a body has more than so many bytes; nothing where it may be several together."""
    looked = bytes(body[: looked_at(most_bytes)])
    start = looked.rfind(SEPARATOR.encode()) + 1
    return looked[start : start + BEGIN_BYTES] if start < BEGIN_BYTES else b""


def unmasked(masked: bytes) -> bytes:
    """What a client has masked, behind the mask."""
    return bytes(apply_mask(masked[MASK_BYTES:], masked[:MASK_BYTES]))


def opcode_of(ready: bytes) -> int:
    """Of which kind a frame is."""
    return ready[0] & 0x0F


def payload_of(ready: bytes) -> bytes:
    """What `frame` wrapped."""
    size = ready[1]
    return ready[2:] if size < 126 else ready[4:] if size == 126 else ready[10:]


def is_text(ready: bytes) -> bool:
    """True for a text frame, False for a binary one."""
    return ready[0] & 0x0F == TEXT


class FrameCutter:
    """Cuts what another node has sent into the ready frames that it was joined of."""

    __slots__ = ("_needed", "_partial")

    def __init__(self) -> None:
        self._partial = bytearray()
        self._needed = 2  # below this size nothing can be cut off

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each frame that is now whole."""
        partial = self._partial
        partial += data
        start = 0
        while len(partial) - start >= self._needed:
            size = _size_of_ready(partial, start)
            if len(partial) - start < size:
                self._needed = size
                break
            yield bytes(partial[start : start + size])
            start += size
            self._needed = 2
        del partial[:start]


def _size_of_ready(data: bytearray, start: int) -> int:
    """How many bytes the frame at `start` has, or the least that is needed to know."""
    length, held = data[start + 1], len(data) - start
    if length < 126:
        return 2 + length
    if length == 126:
        return 4 if held < 4 else 4 + int(_read_16(data, start + 2)[0])
    return 10 if held < 10 else 10 + int(_read_64(data, start + 2)[0])


class FrameError(Exception):
    """The client broke the protocol; `code` is the close code to answer with. `begin` is how a text begins that is too
    big, as far as it has come."""

    def __init__(self, code: int, begin: bytes = b"") -> None:
        super().__init__(code)
        self.code = code
        self.begin = begin


class FrameReader:
    """Turns the bytes of one client into messages.

    Keeps at most one incomplete frame and one incomplete message, together at most twice `max_bytes`; however small
    the pieces are in which they come, each byte is looked at once.
    """

    __slots__ = (
        "_fragments",
        "_needed",
        "_partial",
        "_validator",
        "fragments_read",
        "max_bytes",
        "tells_begin",
    )

    def __init__(self, max_bytes: int, *, tells_begin: bool = False) -> None:
        self.max_bytes = max_bytes  # of one message; may change
        self.tells_begin = tells_begin  # of a text that is too big it is waited for; may change
        self.fragments_read = 0  # grows; may be set back
        self._partial: bytearray | None = None  # an incomplete frame …
        self._needed = 2  # … which cannot be read further below this size
        self._fragments: bytearray | None = None  # an incomplete message
        self._validator: codecs.IncrementalDecoder | None = None  # set while that message is text

    @property
    def held_bytes(self) -> int:
        """What is kept of a message that is not whole."""
        return len(self._partial or b"") + len(self._fragments or b"")

    def feed(self, data: bytes) -> Iterator[tuple[int, str | bytes]]:
        """Yield (opcode, payload) of each message and control frame that is now whole; text as `str`.

        Raises:
            FrameError: the client broke the protocol; nothing after that may be read.
        """
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._needed:
                return
            data = bytes(partial)
            self._partial = None
        start, end = 0, len(data)
        while (size := self._frame_size(data, start, end)) <= end - start:
            message = self._read_frame(data, start, start + size)
            start += size
            if message is not None:
                yield message
        if start < end:
            self._partial = bytearray(data[start:])
            self._needed = size

    def _frame_size(self, data: bytes, start: int, end: int) -> int:
        """How many bytes the frame at `start` has, or the least that is needed to know."""
        if end - start < 2:
            return 2
        first, second = data[start], data[start + 1]
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70 or not second & _MASKED or opcode not in (0, 1, 2, 8, 9, 10):
            raise FrameError(PROTOCOL_ERROR)
        if opcode >= CLOSE:
            if length > 125 or not first & _FINAL:
                raise FrameError(PROTOCOL_ERROR)
            return 6 + length
        if (opcode == _CONTINUATION) is (self._fragments is None):
            raise FrameError(PROTOCOL_ERROR)
        header = 6
        if length == 126:
            if end - start < 4:
                return 4
            length, header = _read_16(data, start + 2)[0], 8
        elif length == 127:
            if end - start < 10:
                return 10
            length, header = _read_64(data, start + 2)[0], 14
        if length + (len(self._fragments) if self._fragments else 0) > self.max_bytes:
            least = header + min(length, BEGIN_BYTES)
            if self.tells_begin and opcode == TEXT and end - start < least:
                return least  # some clients write the header by itself
            raise FrameError(TOO_BIG, self._begin_of(data[start : start + header + BEGIN_BYTES], header))
        return header + length

    def _begin_of(self, frame: bytes, header: int) -> bytes:
        """How the text begins that a frame is of, or goes on with."""
        if self._fragments is not None:
            return bytes(self._fragments[:BEGIN_BYTES]) if self._validator is not None else b""
        if frame[0] & 0x0F != TEXT or len(frame) <= header:
            return b""
        return unmasked(frame[header - MASK_BYTES :])

    def _read_frame(self, data: bytes, start: int, end: int) -> tuple[int, str | bytes] | None:
        opcode, length = data[start] & 0x0F, data[start + 1] & 0x7F
        body = start + (6 if length < 126 else 8 if length == 126 else 14)
        payload = apply_mask(data[body:end], data[body - 4 : body])
        if opcode >= CLOSE:
            return opcode, payload
        if data[start] & _FINAL and self._fragments is None:
            if opcode != TEXT:
                return opcode, payload
            try:
                return TEXT, payload.decode()
            except UnicodeDecodeError:
                raise FrameError(INVALID_TEXT) from None
        return self._add_fragment(opcode, payload, is_last=bool(data[start] & _FINAL))

    def _add_fragment(self, opcode: int, payload: bytes, *, is_last: bool) -> tuple[int, str | bytes] | None:
        self.fragments_read += 1
        if self._fragments is None:
            self._fragments = bytearray()
            self._validator = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
        self._fragments += payload
        if self._validator is not None:
            try:
                self._validator.decode(payload, is_last)  # broken text is noticed before its last fragment
            except UnicodeDecodeError:
                raise FrameError(INVALID_TEXT) from None
        if not is_last:
            return None
        whole, is_text_message = bytes(self._fragments), self._validator is not None
        self._fragments = self._validator = None
        return (TEXT, _text(whole)) if is_text_message else (BINARY, whole)


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_TEXT) from None


def close_answer(payload: bytes) -> bytes:
    """The close frame that answers a client's close payload.

    Raises:
        FrameError: the client's close frame is not valid.
    """
    if not payload:
        return frame(CLOSE, b"")
    code = int.from_bytes(payload[:2], "big")
    is_known = 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
    if len(payload) < 2 or not is_known:
        raise FrameError(PROTOCOL_ERROR)
    _text(payload[2:])
    return close_frame(code)
