"""uvicorn's httptools protocol, with one mend: an offer of an upgrade that is not taken changes nothing.

httptools ends a request that offers an upgrade behind its head, whatever is done about the offer, and takes the body
for the beginning of the next request. So the parser is told of such a request once more, without the offer.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from collab_server.realtime.transport import offers

_FRAMING = (b"connection", b"content-length", b"transfer-encoding")  # all that says where a request ends


class StockHttpProtocol(HttpToolsProtocol):
    """What uvicorn runs for `--http httptools`, mended."""

    _is_upgrade_taken = False

    def data_received(self, data: bytes) -> None:
        """Read requests, up to a websocket's handshake."""
        self._unset_keepalive_if_required()
        unread = memoryview(data)
        while True:
            try:
                self.parser.feed_data(unread)
                return
            except httptools.HttpParserUpgrade as stopped:
                if self._is_upgrade_taken:
                    self.handle_websocket_upgrade()
                    return
                unread = unread[stopped.args[0] :]
                if not self._read_head_again():
                    return
            except httptools.HttpParserError:
                self._refuse_nonsense()
                return

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
            offers.keep_only_websocket(self.headers)
        return True

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        if not self._has_offer():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser has found the end of a request."""
        if not self.parser.should_upgrade():
            super().on_message_complete()


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
