"""uvicorn's h11 protocol, with one mend: a websocket that is not taken is a request like any other."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol

from collab_server.realtime.transport import offers


class StockH11Protocol(H11Protocol):
    """What uvicorn runs for `--http h11`, mended."""

    def _should_upgrade(self) -> bool:
        scope = self.scope
        target = scope["raw_path"][len(self.root_path) :] + b"?" + scope["query_string"]
        is_taken = self.ws_protocol_class is not None and offers.is_taken(
            self.app_state, scope["method"], scope["http_version"], target, self.headers
        )
        if is_taken:
            offers.keep_only_websocket(self.headers)
        return is_taken
