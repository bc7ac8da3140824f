"""uvicorn's httptools protocol with bounds, and one mend: an offer of an upgrade that is not taken changes nothing.

Bounded are the head of a request, the trailer behind its body, and the time that it may take (`guard.py`). httptools
ends a request that offers an upgrade behind its head, whatever is done about the offer, and takes the body
for the beginning of the next request. So the parser is told of such a request once more, without the offer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httptools
from typing_extensions import override
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from collab_server.realtime.lean import offers
from collab_server.realtime.lean.guard import Guarded
from collab_server.realtime.lean.quiet import QuietTransport

HEAD_BYTES = 65_536
HEADERS = 256  # each takes a hundred bytes, however short it is
PIECE_BYTES = 4_096
LEAST_OF_HEAD, LEAST_OF_BODY = 14, 64
PIECES_AT_ONCE = 8
REQUESTS_WAITING = 4
"""A request takes some kilobytes and a part of a millisecond when it is read, however short it is. Those that are sent
at once are read one by one, or a few of them where the first has a body, while so few wait behind the one that is being
answered; then others get their turn."""
_END_OF_HEAD = b"\r\n\r\n"

_FRAMING = (b"connection", b"content-length", b"transfer-encoding")  # all that says where a request ends


class StockHttpProtocol(Guarded, HttpToolsProtocol):
    """What uvicorn runs for `--http httptools`, bounded and mended."""

    # What uvicorn leaves open until it is known, and we take back when the connection is another's.
    parser: Any
    scope: Any
    cycle: Any
    flow: Any
    pipeline: Any

    _is_upgrade_taken = False
    _is_in_request = False
    _is_in_head = False  # or in the trailer behind a body, or in what may be one: a chunk's size has come
    _head_bytes = 0  # of the head or trailer that is being read, without the read that it began in
    _read_bytes = _read_requests = 0
    _unread = b""  # behind requests that wait for their turn

    @override
    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._take_up_flow()

    def _take_up_flow(self) -> None:
        self.flow = _Flow(self.transport)

    @override
    def data_received(self, data: bytes) -> None:
        """Read requests, up to a websocket's handshake; none while several wait for their turn, nor for too long."""
        self._read_requests = 0
        if self._unread:
            self._unread += data  # came before reading was paused
            return
        start, size, pieces = 0, len(data), 0
        while start < size and not (self.transport.is_closing() or self._is_upgrade_taken):
            if self._has_enough or self.flow.write_paused or pieces == PIECES_AT_ONCE:
                self._unread = data[start:]
                self._hold(True)
                self._read_on_soon()
                if self._guard is not None:
                    self._guard.weigh(self, size - start)
                return
            end = self._end_of_piece(data, start)
            self._read(data[start:end] if end - start < size else data)
            start, pieces = end, pieces + 1

    @property
    def _has_enough(self) -> bool:
        return len(self.pipeline) >= REQUESTS_WAITING

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Up to where to read at once: behind the next head, or some way into a body, which may hold anything."""
        least = start + (LEAST_OF_HEAD if self._is_in_head or not self._is_in_request else LEAST_OF_BODY)
        end = data.find(_END_OF_HEAD, least, start + PIECE_BYTES)
        return min(len(data), start + PIECE_BYTES if end < 0 else end + len(_END_OF_HEAD))

    @override
    def on_response_complete(self) -> None:
        """An answer is out: the next request's turn comes, then that of what was not read yet."""
        super().on_response_complete()
        self._forget_if_whole()
        self._go_on()

    def _forget_if_whole(self) -> None:
        if not (self._is_in_request or self._has_to_answer()):
            self._forget()

    @override
    def _forget(self) -> None:
        super()._forget()
        self.url = b""

    def _go_on(self) -> None:
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()  # uvicorn would read on, and keep whatever comes
        self._read_on_soon()

    @override
    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._read_on_soon()

    def _read_on_soon(self) -> None:
        if self._unread and not (self._has_enough or self.flow.write_paused or self.transport.is_closing()):
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        data, self._unread = self._unread, b""
        if data and not self.transport.is_closing():
            self._hold(False)
            self.data_received(data)
            if not (self._unread or self.pipeline or self._is_upgrade_taken or self.transport.is_closing()):
                self.flow.resume_reading()

    def _hold(self, is_held: bool) -> None:
        self.flow.is_held = is_held
        if is_held:
            self.flow.pause_reading()

    def _read(self, data: bytes) -> None:
        was_in_request, requests_before = self._is_in_request, self._read_requests
        self._read_bytes = len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        # else nothing came but an empty line
        has_ended = was_in_request or self._read_requests > requests_before
        if self._is_in_request or not (has_ended or self._has_to_answer()):
            self._wait_for_the_rest(len(data))
        elif not self._is_upgrade_taken:
            self._settle()

    def _feed(self, data: bytes) -> None:
        unread = memoryview(data)
        while True:
            try:
                self.parser.feed_data(unread)
                return
            except httptools.HttpParserUpgrade as stopped:
                if self._is_upgrade_taken:
                    self._is_in_request = False
                    self._leave()
                    self.handle_websocket_upgrade()
                    return
                unread = unread[stopped.args[0] :]
                if not self._read_head_again():
                    return
            except httptools.HttpParserError:
                self._refuse_nonsense()
                return

    @override
    def _wait_for_the_rest(self, read_bytes: int) -> None:
        if self._is_in_head:
            self._head_bytes += read_bytes
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head too large.")
        super()._wait_for_the_rest(read_bytes)

    @override
    def _held_bytes(self, read_bytes: int) -> int:
        return max(self._head_bytes, read_bytes) if self._is_in_head else super()._held_bytes(read_bytes)

    def _read_head_again(self) -> bool:
        """Have a parser read a request whose head is known, without its offer: what follows the head is its body."""
        head = [self.parser.get_method(), b" / HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name in _FRAMING:
                head += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(_Told(self))
        if hasattr(self.parser, "set_dangerous_leniencies"):
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has set it
        try:
            self.parser.feed_data(b"".join([*head, b"\r\n"]))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse_nonsense()
            return False
        return True

    def _refuse_nonsense(self) -> None:
        message = "Invalid HTTP request received."
        self.logger.warning(message)
        self.send_400_response(message)

    def _has_offer(self) -> bool:
        """True behind a head with an offer; a parser that reads it again finds none.

        Raises:
            ValueError: it wants a tunnel.
        """
        if not self.parser.should_upgrade():
            return False
        method = self.parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise ValueError("no tunnels here")  # uvicorn answers with 400
        version = self.parser.get_http_version()
        self._is_upgrade_taken = self.ws_protocol_class is not None and offers.is_taken(
            self.app_state, method, version, self.url, self.headers
        )
        if self._is_upgrade_taken:
            self.scope["method"] = method
            offers.keep_only_websocket(self.scope["headers"])
        return True

    @override
    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_in_request = True
        self._read_requests += 1
        self._is_in_head, self._head_bytes = True, -self._read_bytes
        super().on_message_begin()

    def on_chunk_header(self) -> None:
        """The size of a chunk: a piece of the body follows or, if it was 0, the trailer."""
        self._is_in_head, self._head_bytes = True, -self._read_bytes

    @override
    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        self._is_in_head = False
        if len(self.headers) > HEADERS:
            raise ValueError("too many headers")  # uvicorn answers with 400
        self.headers = self.headers.copy()  # the scope keeps its own: nobody has checked what a trailer adds
        if not self._has_offer():
            self._begin_request()

    def _begin_request(self) -> None:
        """A request with a known head begins, its body to follow."""
        super().on_headers_complete()
        self.cycle.transport = QuietTransport(self.transport)

    @override
    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        self._is_in_head = False
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        """The parser has found the end of a request."""
        if self.parser.should_upgrade():
            return  # its head: it is taken, or read again
        self._is_in_request = self._is_in_head = False
        self._end_request()

    def _end_request(self) -> None:
        """A request is whole."""
        super().on_message_complete()

    @override
    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._guard is None:
            self._start_now(cycle, app)
        else:
            self._guard.starts.begin(partial(self._start_now, cycle, app))

    def _start_now(self, cycle: Any, app: Any) -> None:
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        self._unread = b""
        super().connection_lost(exc)
        self.cycle = None  # it holds us
        for waiting, _ in self.pipeline:  # none of them is carried out for nobody
            waiting.disconnected = True
        self.pipeline.clear()


class _Flow(FlowControl):
    """Reads nothing more, whoever asks for it, while what was read before is held."""

    is_held = False

    @override
    def resume_reading(self) -> None:
        """Read on, if that is wanted."""
        if not self.is_held:
            super().resume_reading()


class _Told:
    """Tells a protocol what its parser finds, but for the first head."""

    def __init__(self, protocol: StockHttpProtocol) -> None:
        self._protocol = protocol
        self._is_told = True  # all that is to be known of the head that is being read
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete
        self.on_chunk_header = getattr(protocol, "on_chunk_header", lambda: None)

    def on_message_begin(self) -> None:
        if not self._is_told:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_told:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_told:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_told = False
        self._protocol.on_headers_complete()
