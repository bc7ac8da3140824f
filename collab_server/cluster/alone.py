"""The bus of a node that is alone: there is nobody to hear, so it always hears everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from collab_server.domain.keys import KeyRing
from collab_server.ports import Handler, Peer

__all__ = ["Alone"]


class Alone:
    """Keeps every promise of `ports.Bus` for a cluster of one. Nothing runs, nothing is kept."""

    dependency: str | None = None
    is_available = True
    is_hearing = True
    problem: str | None = None
    latency_seconds: float | None = None
    longest_delay_seconds = 0.0

    @property
    def nodes(self) -> Mapping[str, Peer]:
        """Nobody."""
        return {}

    def counts(self) -> Mapping[str, int]:
        """Nothing happens."""
        return {}

    def listen(self, kind: int, handler: Handler) -> None:
        """Nobody will ever say anything."""

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Nothing is missed."""

    def on_node_found(self, callback: Callable[[str], None]) -> None:
        """Nobody comes."""

    def on_node_lost(self, callback: Callable[[str], None]) -> None:
        """Nobody goes."""

    def publish(self, kind: int, payload: bytes) -> None:
        """Nobody listens."""

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        """Whatever it is, all nodes of it are here."""

    async def start(self) -> None:
        """There is nothing to begin."""

    async def stop(self) -> None:
        """There is nothing to end."""
