"""The Socket.IO door: sign-in, commands, and how connections end.

What it promises: whatever a client sends as a command gets exactly one acknowledgement; nobody who is not signed in
gets anything; a client that is signed out or has lost its rights gets nothing more; nothing in here waits for a
client.

What runs concurrently: per client at most one task for its writes and some for its reads (`client_commands`), and one
for each that is being signed out; `stop` ends them. `drain` lets commands finish and closes the transports, so that
official clients come back by themselves, to another node.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, cast

import socketio

from collab_server.domain.jsontext import JsonText
from collab_server.domain.sign_ins import RefreshSession
from collab_server.errors import ClientError, RateLimited, Unauthenticated
from collab_server.realtime.client import Arrival, Client
from collab_server.realtime.client_commands import OfConnectionHandler, name_in
from collab_server.realtime.engine.requests import trace_of
from collab_server.realtime.server import COMMANDS, TOKENS, CollabServer
from collab_server.realtime.sign_ins import SignIns
from collab_server.realtime.spreading import SPREAD_SECONDS, STEP_SECONDS, spread
from collab_server.services.commands.gate import CommandGate
from collab_server.services.commands.table import bound_to_connection
from collab_server.services.hub import Hub
from collab_server.services.live.subscriptions import Subscriptions
from collab_server.services.sign_in import Credentials, SignIn
from collab_server.status import Counters
from collab_server.telemetry import traces
from collab_server.telemetry.journal import Journal, Whose, person, stranger

log = logging.getLogger(__name__)

DOOR = "socketio"
SIGN_IN_WAIT_SECONDS = 4.0
"""To sign in costs as much as a command, and is never refused for that: who does it over and over again waits."""
REFUSAL_SECONDS = 0.02
"""So long it takes to refuse a command to those who have sent too many: nobody keeps a node busy with being refused."""
DRAIN_COMMANDS_SECONDS = 3.0
DRAIN_SECONDS = 3.5  # all of it: open requests (3 s) and logging out (3 s) come after it, and ten is the end


class Door:
    """What takes what comes in by `server`, and whom it comes from into `hub`.

    Raises `Incomplete` where it has no handler for a command about a connection, or one for no such command.
    """

    def __init__(
        self,
        server: CollabServer,
        hub: Hub,
        sign_ins: SignIns,
        subscriptions: Subscriptions,
        gate: CommandGate,
        counters: Counters,
        journal: Journal,
    ) -> None:
        self.limits = gate.limits
        self.gate = gate
        handlers: dict[str, OfConnectionHandler] = {
            "topic.subscribe": subscriptions.subscribe,
            "topic.unsubscribe": subscriptions.unsubscribe,
            "topic.watch": subscriptions.watches.watch,
            "typing": subscriptions.set_typing,
            "session.refresh": self._refresh_session,
        }
        self.of_connection = bound_to_connection(handlers)
        self._server = server
        self._hub = hub
        self._clients = cast("Mapping[str, Client]", hub.listeners)  # whoever enters it comes by this door
        self._sign_ins = sign_ins
        self._subscriptions = subscriptions
        self._counters = counters
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()
        self.send_text = server.eio.send_text  # as it is: it is on the way of every answer
        server.serve(self)

    # --- coming and going

    async def sign_in(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Socket.IO's connect handler: says who this is, or refuses with an error object."""
        trace, address = _trace_of(environ), environ.get("REMOTE_ADDR")
        facts = {"door": DOOR, "address": address, "by": _kind_of(auth)}
        traces.CURRENT.set(trace)
        whose: Whose | None = None
        try:
            signed_in = await self._sign_ins.prove(_credentials(environ, auth))
            user_id = signed_in.identity.user.id
            whose = person(user_id)
            if seconds := self.gate.charge_sign_in(user_id):
                await asyncio.sleep(min(seconds, SIGN_IN_WAIT_SECONDS))
            most = self.limits.connectionsPerUser
            if self._hub.tally.of(user_id) >= most:
                raise RateLimited(f"expected at most {most} connections of one user", retry_after=5)
        except Exception as error:
            heard = self._journal.error(error, whose or stranger(address), "a sign-in was refused", **facts)
            self._counters.signed_in(DOOR, heard.code)
            raise socketio.exceptions.ConnectionRefusedError(heard.code, heard.as_wire()) from None
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        if eio_sid is None:
            return  # gone meanwhile
        self._journal.line("signed in", whose, **facts)
        self._take_in(Client(self, eio_sid, sid, signed_in.identity, _arrival(environ, trace)), signed_in)

    def prove_at_once(self, environ: dict[str, Any], auth: Any) -> SignIn | None:
        """Who this is, where nobody has to be asked, nor to wait, nor is refused: then `come_in` takes them in. None
        for all others, whom `sign_in` is for."""
        try:
            signed_in = self._sign_ins.prove_at_once(_credentials(environ, auth))
        except Exception:
            return None  # it is told there
        if signed_in is None:
            return None
        user_id = signed_in.identity.user.id
        if self._hub.tally.of(user_id) >= self.limits.connectionsPerUser:
            return None
        return signed_in if self.gate.charge_quiet_sign_in(user_id) else None

    def come_in(
        self, eio_sid: str, sid: str, environ: dict[str, Any], auth: Any, signed_in: SignIn
    ) -> Awaitable[None] | None:
        """Take in who was proved just now, and was answered; what is left to be waited for, if anything."""
        trace, whose = _trace_of(environ), person(signed_in.identity.user.id)
        token = traces.CURRENT.set(trace)
        try:
            client = Client(self, eio_sid, sid, signed_in.identity, _arrival(environ, trace))
            address = environ.get("REMOTE_ADDR")
            self._journal.line("signed in", whose, door=DOOR, address=address, by=_kind_of(auth))
            self._take_in(client, signed_in)
            return None if self._sign_ins.greet_at_once(client) else self._greet(client)
        finally:
            traces.CURRENT.reset(token)

    def _take_in(self, client: Client, signed_in: SignIn) -> None:
        self._hub.enter(client)
        self._sign_ins.begin(client, signed_in)
        self._counters.signed_in(DOOR)
        self._counters.connected()

    async def greet(self, eio_sid: str) -> None:
        """Say hello to a client that has just signed in."""
        client = self._clients.get(eio_sid)
        if client is not None:
            await self._greet(client)

    async def _greet(self, client: Client) -> None:
        traces.CURRENT.set(client.trace)
        try:
            await self._sign_ins.greet(client)
        except ClientError:
            # The database has just gone. The client comes back by itself, as it would not after a refusal.
            self._server.eio.close_transport(client.connection, "paused")

    def forget(self, sid: str, reason: str = "unknown") -> None:
        """Socket.IO's disconnect handler."""
        eio_sid = self._server.manager.eio_sid_from_sid(sid, "/")
        client = self._clients.get(eio_sid) if eio_sid is not None else None
        if client is None:
            return
        client.is_closed = True
        self._hub.leave(client)
        self._subscriptions.leave_all(client, is_for_good=False)
        self._sign_ins.end(client)
        why = "signed out" if client.is_signed_out else reason
        self._counters.disconnected(why)
        seconds = time.monotonic() - client.arrival.at
        facts = {"seconds": round(seconds, 1), "commands": client.commands.count, "trace": client.trace}
        self._journal.line("disconnected", person(client.who.user.id), why=why, **facts)

    def look_at_sign_in(self, client: Client) -> None:
        """Something of its user's was ended: end its sign-in, if it was that."""
        self._sign_ins.look_at(client)

    async def disconnect(self, sid: str) -> None:
        """Disconnect a client for good."""
        await self._server.disconnect(sid, ignore_queue=True)

    # --- commands

    def admit(self, eio_sid: str, text: str) -> None:
        """Let a packet in, given as its text, before it is decoded.

        Raises `RateLimited`, or `Invalid` for what is more than any command.
        """
        client = self._clients.get(eio_sid)
        if client is not None and text.startswith(COMMANDS):
            client.commands.admit(len(text))
        self.gate.check_text(text)

    def receive(
        self, eio_sid: str, ack_id: int | None, data: list[Any], size: int, *, is_admitted: bool
    ) -> bool:
        """Take a command of a client, `size` bytes of it; those of nobody are dropped. False if too many came."""
        client = self._clients.get(eio_sid)
        if client is None or client.is_signed_out:
            return True
        self._counters.messages_processed += 1
        try:
            if not is_admitted:
                client.commands.admit(size)
        except RateLimited as error:
            client.refuse(ack_id, client.commands.refused(name_in(data), error))
            return False
        return client.commands.take(ack_id, data, size)

    def refuse(self, eio_sid: str, ack_id: int | None, error: ClientError) -> bool:
        """Refuse a command of a client that was not even read. False when there is no such client."""
        client = self._clients.get(eio_sid)
        if client is None:
            return False
        self._counters.messages_processed += 1
        client.refuse(ack_id, client.commands.refused(None, error))
        return True

    def whose(self, eio_sid: str) -> tuple[Whose, str] | None:
        """Who is connected by it, if anybody is, and its trace."""
        client = self._clients.get(eio_sid)
        return None if client is None else (person(client.who.user.id), client.trace)

    def rest(self, eio_sid: str) -> Awaitable[None] | None:
        """What has to be waited for before more is read of a client that was refused something, if anything."""
        client = self._clients.get(eio_sid)
        if client is None:
            return None
        return asyncio.sleep(self.gate.refusal_seconds(client.who.user.id, REFUSAL_SECONDS))

    async def _refresh_session(
        self, client: Client, command: RefreshSession, acknowledge: Callable[[JsonText], None]
    ) -> None:
        acknowledge(await self._sign_ins.refresh(client, command))

    # --- tasks

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task of the door's, which ends it when it stops."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the door failed", exc_info=error)

    async def stop(self) -> None:
        """End what still runs. Call `drain` before."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Let commands finish, then close all transports, spread over at most `SPREAD_SECONDS`.

        Takes at most `DRAIN_SECONDS`: where commands took long, the closing is the faster.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + DRAIN_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_COMMANDS_SECONDS):
                while self._busy():
                    await asyncio.sleep(0.02)
        log.info("draining: commands are over, connections are closed", extra={"busy": self._busy()})
        leaving = list(self._server.eio.sockets)
        time_left = max(ends_at - loop.time(), STEP_SECONDS)
        began, closed, told = loop.time(), 0, 0
        async for some in spread(leaving, min(SPREAD_SECONDS, time_left)):
            for eio_sid in some:
                self._server.eio.close_transport(eio_sid, "draining")
            closed += len(some)
            if loop.time() - began >= told + 1:
                told += 1
                log.info("draining", extra={"closed": closed, "left": len(leaving) - closed})
        log.info(
            "drained", extra={"closed": closed, "seconds": round(DRAIN_SECONDS - ends_at + loop.time(), 1)}
        )

    def _busy(self) -> int:
        """How many clients have a command under way."""
        return sum(client.commands.is_busy for client in self._clients.values())


_FIELD_OF = dict(zip(TOKENS, ("identity_token", "auth_token", "resume_token"), strict=True))


def _trace_of(environ: dict[str, Any]) -> str:
    """That of the handshake; a new one for who signs in once more on the same connection."""
    scope = environ.get("asgi.scope")
    return traces.of_request(()) if scope is None else trace_of(scope)


def _arrival(environ: dict[str, Any], trace: str) -> Arrival:
    return Arrival(_came_with(environ), trace, time.monotonic())


def _kind_of(auth: Any) -> str:
    """What kind of token somebody has shown."""
    if not isinstance(auth, dict):
        return "none"
    given = [name for name in TOKENS if auth.get(name) is not None]
    return given[0] if len(given) == 1 else "none"


def _credentials(environ: dict[str, Any], auth: Any) -> Credentials:
    """What a client hands over in its CONNECT packet, with the cookies of the handshake.

    Raises `Unauthenticated` when there is no token, or more than one.
    """
    tokens = auth if isinstance(auth, dict) else {}
    given = [name for name in TOKENS if tokens.get(name) is not None]
    if len(given) != 1 or not isinstance(tokens[given[0]], str):
        raise Unauthenticated(
            "expected auth with one token, as a text: identityToken, authToken or resumeToken"
        )
    address, cookie_header = environ.get("REMOTE_ADDR"), environ.get("HTTP_COOKIE", "")
    shown = {_FIELD_OF[given[0]]: tokens[given[0]]}
    return Credentials(**shown, cookie_header=cookie_header, address=address)


def _came_with(environ: dict[str, Any]) -> Credentials:
    """What a handshake brings besides a token."""
    address, cookie_header = environ.get("REMOTE_ADDR"), environ.get("HTTP_COOKIE", "")
    return Credentials(cookie_header=cookie_header, address=address) if cookie_header else _only(address)


@functools.lru_cache(1024)
def _only(address: str | None) -> Credentials:
    """One for all who come from there and have no cookie."""
    return Credentials(address=address)
