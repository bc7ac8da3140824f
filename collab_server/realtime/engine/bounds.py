"""What one client may take of a server, besides the size of a packet, which is python-engineio's to say; and how
clients are known again."""

from __future__ import annotations

from dataclasses import dataclass, field

from collab_server.domain.addresses import Addresses
from collab_server.realtime.engine.pace import Pace

_AS_IT_COMES = Pace()


@dataclass(frozen=True, slots=True)
class KnownBy:
    """How."""

    addresses: Addresses = field(default_factory=Addresses)
    """Whose word is taken for where a client comes from."""
    bond_cookie: str | None = None
    """The name of the cookie that binds a session to its client; None for none."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The defaults are for servers without signing in."""

    outgoing_bytes: int = 1_000_000
    """So much may wait for one client; above it its transport is closed. One answer that is larger may wait for a poll
    for a while (`deadlines.STALLED_SECONDS`)."""
    stranger_bytes: int | None = None
    """The largest packet or payload of a session that is not trusted; None to trust all."""
    pace: Pace = _AS_IT_COMES
    """How fast the packets of a trusted session are taken."""
    stranger_pace: Pace | None = None
    """The same of the others, where it is another."""

    @property
    def pace_of_strangers(self) -> Pace:
        """How fast packets of a session that is not trusted are taken."""
        return self.stranger_pace or self.pace
