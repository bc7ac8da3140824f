"""One client: a Socket.IO connection of somebody signed in."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from collab_server.domain.jsontext import FALSE, TRUE, JsonText, dumps, json_shape
from collab_server.domain.people import Identity
from collab_server.domain.permissions import Standing
from collab_server.errors import ClientError
from collab_server.realtime.client_commands import ClientCommands, Host
from collab_server.services.sign_in import Credentials, SessionUse

SOON = datetime.min.replace(tzinfo=UTC)

_done = json_shape("ok", "data")
_refused = json_shape("ok", "error")


class ClientHost(Host, Protocol):
    """What a client belongs to: the door."""

    def send_text(self, eio_sid: str, text: str) -> None:
        """Queue a ready Socket.IO packet for one client."""

    def look_at_sign_in(self, client: Client) -> None:
        """Something of its user's was ended: end its sign-in, if it was that."""

    async def disconnect(self, sid: str) -> None:
        """Disconnect a client for good."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a client has come: what its handshake `brought` besides a token, for one that it may bring later, the `trace`
    that names its connection in logs, where its own name, a secret, is not, and `at` which time of the monotonic clock.
    """

    brought: Credentials
    trace: str
    at: float


NOTHING = Arrival(Credentials(), "", 0.0)


class Client:
    """A listener of the hub. `connection` names it towards the transport and the feed."""

    __slots__ = (
        "_host",
        "arrival",
        "commands",
        "connection",
        "ends_at",
        "is_closed",
        "is_signed_out",
        "renew_at",
        "session_use",
        "sid",
        "topics",
        "who",
    )

    def __init__(
        self,
        host: ClientHost,
        connection: str,
        sid: str,
        who: Identity,
        arrival: Arrival = NOTHING,
    ) -> None:
        self._host = host
        self.connection = connection
        self.sid = sid
        self.who = who
        self.arrival = arrival
        self.session_use: SessionUse | None = None
        self.topics: dict[str, Standing] = {}
        self.commands = ClientCommands(host, self, arrival.trace)
        self.is_closed = False
        self.is_signed_out = False
        self.ends_at = math.inf  # of the monotonic clock: when its sign-in has lasted as long as it may
        self.renew_at = who.expires_at  # when its resume token should be replaced by a younger one

    @property
    def trace(self) -> str:
        """What names the connection in logs."""
        return self.arrival.trace

    def renew_token_soon(self) -> None:
        """What it could come back with will not open for much longer."""
        self.renew_at = SOON

    def look_at_sign_in(self) -> None:
        """Something of this person's was ended: leave, if it was the sign-in of this connection."""
        self._host.look_at_sign_in(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task of the door's, which ends it when it stops."""
        return self._host.spawn(work)

    async def disconnect(self) -> None:
        """Disconnect it for good: it does not come back by itself."""
        await self._host.disconnect(self.sid)

    def sign_out(self) -> None:
        """Take nothing more, and leave what waits: only the command under way is carried through."""
        self.is_signed_out = True
        self.commands.forget()

    def detach(self) -> None:
        """Use its Library session no more, if it does."""
        if self.session_use is not None:
            self.session_use.detach()

    def acknowledge(self, ack_id: int | None, answer: JsonText) -> None:
        """Acknowledge a command with its data."""
        if ack_id is not None and not self.is_closed:
            self._host.send_text(self.connection, f"3{ack_id}[{_done(ok=TRUE, data=answer)}]")

    def refuse(self, ack_id: int | None, error: ClientError) -> None:
        """Acknowledge a command with an error."""
        if ack_id is not None and not self.is_closed:
            self._host.send_text(
                self.connection, f"3{ack_id}[{_refused(ok=FALSE, error=dumps(error.as_wire()))}]"
            )

    def signal(self, name: str, data: Any) -> None:
        """Send a signal to this client alone."""
        if not self.is_closed:
            self.tell(name, dumps(data))

    def tell(self, name: str, data: JsonText) -> None:
        """The same, of what is JSON already."""
        if not self.is_closed:
            self._host.send_text(self.connection, f'2["{name}",{data}]')
