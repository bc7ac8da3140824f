"""Writing to a client that has gone is no bug: uvloop raises for what asyncio forgets in silence."""

from __future__ import annotations

from typing import Any


class QuietTransport:
    """A transport whose `write` forgets what is for a connection that is closed already."""

    __slots__ = ("transport",)

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def write(self, data: bytes) -> None:
        """Write, if somebody is there."""
        try:
            self.transport.write(data)
        except RuntimeError:
            if not self.transport.is_closing():
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
