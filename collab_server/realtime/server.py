"""The Socket.IO door: sign-in, commands, subscriptions, and how connections end.

What it promises: whatever a client sends as a command gets exactly one acknowledgement; nobody who is not signed in
gets anything; a client that is signed out or has lost its rights gets nothing more; nothing in here waits for a
client.

What runs concurrently: per client at most one task for its writes and `READS_AT_ONCE` for its reads, and one task of
the door that looks after rights. `drain` tells the clients, lets commands finish and closes the transports, so that
official clients come back by themselves, to another node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import socketio
from typing_extensions import override

from collab_server.config import Limits
from collab_server.contract.rights import RIGHTS
from collab_server.domain.addresses import Addresses
from collab_server.domain.events import Event
from collab_server.domain.jsontext import NOTHING, dumps, json_list, json_object, json_string, rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.presence import SetTyping
from collab_server.domain.sign_ins import RefreshSession
from collab_server.domain.subscriptions import Subscribe, Unsubscribe
from collab_server.domain.topics import content_topic, inbox_topic, parse_topic
from collab_server.errors import (
    ClientError,
    Forbidden,
    Internal,
    NotFound,
    Paused,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from collab_server.ports import ContentAnswer
from collab_server.realtime.client import Client
from collab_server.realtime.engine.bounds import Bounds
from collab_server.realtime.engine.pace import Pace
from collab_server.realtime.sockets.manager import BusManager
from collab_server.realtime.sockets.packets import HEAD
from collab_server.realtime.sockets.server import SocketServer
from collab_server.realtime.strangers import StrangerLimits
from collab_server.services.access import access_topic
from collab_server.services.backends import Backends
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.table import Commands, bound_to_connection
from collab_server.services.commands.turns import Turns
from collab_server.services.commands.weights import weight_of_answer
from collab_server.services.live.feed import Feed
from collab_server.services.live.snapshots import Snapshots
from collab_server.services.sign_in import Authenticator, Credentials
from collab_server.services.topics import check_after, check_event_limit
from collab_server.status import Counters
from collab_server.storage import event_log
from collab_server.storage.database import Database
from collab_server.storage.topics import Snapshot

log = logging.getLogger(__name__)

SIGN_IN_SECONDS = 10.0
SIGN_IN_WAIT_SECONDS = 4.0
"""To sign in costs as much as a command, and is never refused for that: who does it over and over again waits."""
BOND_COOKIE = "collab_session"
TOKENS = ("identityToken", "authToken", "resumeToken")
RIGHTS_ROUND_SECONDS = 5.0
RIGHTS_RENEWED_AFTER_SECONDS = (25.0, 40.0)
"""Library's answers are believed for 60 s; those in use are renewed before, so that a storm finds them fresh. When is
left to chance, or all who came together would be asked about together for ever."""
RIGHTS_AT_ONCE = 16
RENEWAL_ROUND_SECONDS = 5.0
RENEWALS_AT_ONCE = 50
MOST_LOOKS = 5
DRAIN_COMMANDS_SECONDS = 3.0
DRAIN_CLOSES_PER_SECOND = 400.0  # which the other nodes take in without making anybody wait
DRAIN_SPREAD_SECONDS = 2.5
DRAIN_SECONDS = 3.5  # all of it: open requests (3 s) and logging out (3 s) come after it, and ten is the end
DRAIN_STEP_SECONDS = 0.01

COMMANDS = ("2", "50")
"""How the packet of a command begins, unless attachments follow: such a one is let in when it is whole."""
PACE = 2
"""So many times as many packets of a connection are taken as its user may send commands; others are read later."""
STRANGER_PACE = Pace(per_second=10, burst=50)
REFUSAL_SECONDS = 0.02
"""So long it takes to refuse a command to who has sent too many: nobody keeps a node busy with being refused."""


class CollabServer(SocketServer):
    """python-socketio's server with this product's commands behind it."""

    def __init__(self, door: Door, **options: Any) -> None:
        super().__init__(**options)
        self._door = door
        self.on("connect", door.sign_in)
        self.on("disconnect", door.forget)

    @override
    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        await super()._handle_connect(eio_sid, namespace, data)
        await self._door.greet(eio_sid)  # so that it follows the CONNECT answer

    @override
    def _handle_eio_message(self, eio_sid: str, data: Any) -> Awaitable[None] | None:
        if isinstance(data, str):
            try:
                self._door.admit(eio_sid, data)
            except ClientError as error:
                return self._refuse_unread(eio_sid, data, error)
        return super()._handle_eio_message(eio_sid, data)

    def _refuse_unread(self, eio_sid: str, text: str, error: ClientError) -> Awaitable[None] | None:
        """Answer a command without decoding it; what is none ends the connection. What comes after too many waits for
        as long as the transport's bounds say: then nothing more is read of this client."""
        session = self.eio.sockets.get(eio_sid)
        if session is None or session.closing:
            return None  # nobody is there to hear it
        head = HEAD.match(text)
        is_command = head is not None and text.startswith(COMMANDS)
        ack_id = int(head["id"]) if head is not None and head["id"] else None
        if not is_command or not self._door.refuse(eio_sid, ack_id, error):
            self.eio.close_transport(eio_sid, self.reason.TRANSPORT_ERROR)
            return None
        return self._door.rest(eio_sid) if isinstance(error, RateLimited) else None

    @override
    def _credentials_of(self, data: Any) -> Any:
        return tokens_of(data)

    @override
    def _take_event(self, eio_sid: str, packet: Any) -> Awaitable[None] | None:
        is_admitted = not packet.attachment_count
        is_taken = self._door.receive(eio_sid, packet.id, packet.data, packet.size, is_admitted=is_admitted)
        return None if is_taken else self._door.rest(eio_sid)


class Door:
    """What the Socket.IO side of a node consists of; `server` is the python-socketio server to mount."""

    def __init__(
        self,
        *,
        node: str,
        database: Database,
        backends: Backends,
        commands: Commands,
        authenticator: Authenticator,
        limits: Limits,
        limiter: RateLimiter,
        turns: Turns,
        counters: Counters,
        is_origin_allowed: Callable[[str | None, dict[str, Any]], bool],
        addresses: Addresses,
        ping_interval_seconds: float = 25,
        ping_timeout_seconds: float = 20,
    ) -> None:
        self.node = node
        self.limits = limits
        self.limiter, self.turns = limiter, turns
        self.commands = commands
        self.feed = Feed(database, self)
        handlers: dict[str, Callable[[Client, int | None, Any], Coroutine[Any, Any, None]]] = {
            "topic.subscribe": self._subscribe,
            "topic.unsubscribe": self._unsubscribe,
            "session.refresh": self._refresh_session,
            "typing": self._set_typing,
        }
        self.of_connection = bound_to_connection(handlers)
        self._presence = backends.presence
        self._backends = backends
        self._authenticator = authenticator
        self._counters = counters
        self.on_arrival: Callable[[str], None] = lambda user_id: None
        self._snapshots = Snapshots(database)
        self._clients: dict[str, Client] = {}
        self._of_user: dict[str, set[Client]] = {}
        self._greetings: dict[str, tuple[str, datetime]] = {}  # resume token and expiry, until hello is said
        self._outdated: set[str] = set()  # clients with tokens sealed under a key that is being replaced
        self._tasks: set[asyncio.Task[None]] = set()
        self._options: dict[str, Any] = {
            "async_mode": "asgi",
            "cors_allowed_origins": is_origin_allowed,
            "cors_credentials": True,
            "ping_interval": ping_interval_seconds,
            "ping_timeout": ping_timeout_seconds,
            "max_http_buffer_size": limits.packetBytes,
            "bounds": _bounds(limits),
            "connect_seconds": SIGN_IN_SECONDS,
            "strangers": stranger_limits(limits),
            "addresses": addresses,
            "bond_cookie": BOND_COOKIE,
            "keeps_environ": False,
            "namespaces": ["/"],
            "logger": False,
            "engineio_logger": False,
        }
        self.server: CollabServer

    def build(self, manager: BusManager) -> CollabServer:
        """The server to mount, on this client manager."""
        self.server = CollabServer(self, client_manager=manager, **self._options)
        return self.server

    async def start(self) -> None:
        """Begin to deliver."""
        await self.feed.start()

    async def run(self) -> None:
        """Look after rights and tokens, for ever; the composition root owns the task."""
        await asyncio.gather(self._look_after_rights(), self._renew_tokens())

    async def stop(self) -> None:
        """End what still runs. Call `drain` before."""
        await self.feed.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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

    # -- out -------------------------------------------------------------------------------------------------

    def send_text(self, eio_sid: str, text: str) -> None:
        """Queue a ready Socket.IO packet for one client."""
        self.server.eio.send_text(eio_sid, text)

    def deliver(self, clients: Iterable[str], event: Event) -> None:
        """Queue an event for these clients: the feed's outlet."""
        self.server.eio.broadcast(clients, f'2["{event.type}",{event.body}]')
        self._presence.heard(event)

    def put_out(self, clients: Sequence[str], event: Event) -> None:
        """End the subscriptions of who was removed, or of everybody when the discussion was deleted."""
        is_deleted = event.type == "discussion.deleted"
        removed = None if is_deleted else json.loads(event.body)["data"]["userId"]
        for client in [self._clients[eio_sid] for eio_sid in clients if eio_sid in self._clients]:
            if is_deleted or client.who.user.id == removed:
                self._end_subscription(client, event.topic, "deleted" if is_deleted else "removed")

    def tell(self, clients: Iterable[str], name: str, data: str) -> None:
        """Send a signal, its data given as JSON text, to these clients."""
        self.server.eio.broadcast(clients, f'2["{name}",{data}]')

    def tell_all(self, name: str, data: Any) -> None:
        """Send a signal to every signed-in client."""
        self.server.eio.broadcast(list(self._clients), f'2["{name}",{dumps(data)}]')

    # -- coming and going ------------------------------------------------------------------------------------

    async def sign_in(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Socket.IO's connect handler: says who this is, or refuses with an error object."""
        try:
            signed_in = await self._authenticator.sign_in(_credentials(environ, auth))
            user = signed_in.identity.user
            self.limiter.charge(user.id, 1)
            if seconds := self.limiter.wait_seconds(user.id):
                await asyncio.sleep(min(seconds, SIGN_IN_WAIT_SECONDS))
            if len(self._of_user.get(user.id, ())) >= self.limits.connectionsPerUser:
                raise RateLimited(
                    f"expected at most {self.limits.connectionsPerUser} connections of one user",
                    retry_after=5,
                )
        except ClientError as error:
            raise socketio.exceptions.ConnectionRefusedError(error.code, error.as_wire()) from None
        except Exception:
            internal = Internal()
            log.exception("a sign-in failed", extra={"ticket": internal.ticket_id})
            raise socketio.exceptions.ConnectionRefusedError(internal.code, internal.as_wire()) from None
        eio_sid = self.server.manager.eio_sid_from_sid(sid, "/")
        if eio_sid is None:
            return  # gone meanwhile
        client = Client(self, eio_sid, sid, signed_in.identity, environ.get("HTTP_COOKIE", ""))
        self._greetings[eio_sid] = (signed_in.resume_token, signed_in.expires_at)
        self._set_end(client)
        self._clients[eio_sid] = client
        self._of_user.setdefault(user.id, set()).add(client)
        self._attach(client)
        self._counters.connected()

    async def greet(self, eio_sid: str) -> None:
        """Say hello to a client that has just signed in, subscribed to its inbox from here on."""
        greeting = self._greetings.pop(eio_sid, None)
        client = self._clients.get(eio_sid)
        if greeting is None or client is None:
            return
        resume_token, expires_at = greeting
        inbox = inbox_topic(client.who.user.id).name
        self.feed.hold(eio_sid, inbox)
        seq = self.feed.position(inbox)
        try:
            if seq is None:
                seq = (await self._look(client, inbox)).seq
        except ClientError:
            # The database has just gone. The client comes back by itself, as it would not after a refusal.
            self.feed.leave(eio_sid, inbox)
            self.server.eio.close_transport(eio_sid, "paused")
            return
        if client.is_closed:
            self.feed.leave(eio_sid, inbox)
            return
        self._say_hello(client, seq, resume_token, expires_at)
        self.feed.release(eio_sid, inbox, seq)
        self.on_arrival(client.who.user.id)

    def _say_hello(self, client: Client, inbox_seq: int, resume_token: str, expires_at: datetime) -> None:
        now = datetime.now(UTC)
        client.renew_at = now + (expires_at - now) / 2
        client.signal(
            "server.hello",
            {
                "user": client.who.user.as_wire(),
                "node": self.node,
                "epoch": self._backends.epoch(),
                "inboxSeq": inbox_seq,
                "resumeToken": resume_token,
                "expiresAt": rfc3339(expires_at),
            },
        )

    def renew_tokens_soon(self) -> None:
        """Give every client a new token: those that they have will not open for much longer."""
        self._outdated.update(self._clients)

    async def _renew_tokens(self) -> None:
        """Say hello again to who stays long, with a younger resume token.

        Its Library session is kept alive meanwhile; an old token would make every node that does not know the session
        ask Library, just when many clients come back at once.
        """
        while True:
            await asyncio.sleep(RENEWAL_ROUND_SECONDS)
            now = datetime.now(UTC)
            outdated, self._outdated = self._outdated, set()
            due = [client for client in self._clients.values() if client.renew_at <= now]
            due += [self._clients[eio_sid] for eio_sid in outdated if eio_sid in self._clients]
            over_at = asyncio.get_running_loop().time()
            for client in [client for client in self._clients.values() if client.ends_at <= over_at]:
                self._end_sign_in(client, "session_expired")
            for number, client in enumerate(due):
                if number % RENEWALS_AT_ONCE == RENEWALS_AT_ONCE - 1:
                    await asyncio.sleep(0)  # sealing takes some 50 us
                signed_in = self._authenticator.renew(client.who)
                if client.is_closed or signed_in is None:
                    continue
                if signed_in.expires_at <= client.who.expires_at and client.eio_sid not in outdated:
                    continue
                # Whoever has been greeted follows their inbox, and has been told of all up to here.
                position = self.feed.position(inbox_topic(client.who.user.id).name)
                if position is not None:
                    client.who = signed_in.identity
                    self._say_hello(client, position, signed_in.resume_token, signed_in.expires_at)

    async def _look(self, client: Client, topic: str) -> Snapshot:
        """A topic as a client that is held finds it: the feed brings it everything after that. Raises `Paused`."""
        for _ in range(MOST_LOOKS):
            snapshot = await self._snapshots.read(topic, client.who.user.id)
            if self.feed.learn(client.eio_sid, topic, snapshot.seq, snapshot.head):
                return snapshot
        raise Paused("the database is behind what it has told before")

    def identity_of(self, user_id: str) -> Identity | None:
        """The identity of somebody who has a client here."""
        clients = self._of_user.get(user_id)
        return next(iter(clients)).who if clients else None

    def users(self) -> list[str]:
        """The ids of everybody who has a client here."""
        return list(self._of_user)

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
                client.admit(size)
        except RateLimited as error:
            client.refuse(ack_id, error)
            return False
        return client.receive(ack_id, data, size)

    def admit(self, eio_sid: str, text: str) -> None:
        """Let a packet in, given as its text, before it is decoded.

        Raises `RateLimited`, or `Invalid` for what is more than any command.
        """
        client = self._clients.get(eio_sid)
        if client is not None and text.startswith(COMMANDS):
            client.admit(len(text))
        self.commands.check_text(text)

    def refuse(self, eio_sid: str, ack_id: int | None, error: ClientError) -> bool:
        """Refuse a command of a client that was not even read. False when there is no such client."""
        client = self._clients.get(eio_sid)
        if client is None:
            return False
        self._counters.messages_processed += 1
        client.refuse(ack_id, error)
        return True

    def rest(self, eio_sid: str) -> Awaitable[None] | None:
        """What has to be waited for before more is read of a client that was refused something, if anything."""
        client = self._clients.get(eio_sid)
        if client is None:
            return None
        return asyncio.sleep(self.limiter.refusal_seconds(client.who.user.id, REFUSAL_SECONDS))

    async def forget(self, sid: str, *_reason: Any) -> None:
        """Socket.IO's disconnect handler."""
        eio_sid = self.server.manager.eio_sid_from_sid(sid, "/")
        client = self._clients.pop(eio_sid, None) if eio_sid is not None else None
        if client is None:
            return
        client.is_closed = True
        self._greetings.pop(client.eio_sid, None)
        user_id = client.who.user.id
        others = self._of_user[user_id]
        others.discard(client)
        if not others:
            del self._of_user[user_id]
        for topic in client.topics:
            self.feed.leave(client.eio_sid, topic)
            self._presence.depart(topic, user_id, client.eio_sid, is_for_good=False)
        self.feed.leave(client.eio_sid, inbox_topic(user_id).name)
        if client.attachment is not None:
            client.attachment.detach()
        self._counters.disconnected()

    def _attach(self, client: Client) -> None:
        if client.attachment is not None:
            client.attachment.detach()

        client.attachment = self._authenticator.attach(client.who, partial(self._end_sign_in, client))

    def _set_end(self, client: Client) -> None:
        client.ends_at = asyncio.get_running_loop().time() + self._authenticator.seconds_left(client.who)

    def look_at_sign_ins(self, user_ids: Iterable[str]) -> None:
        """Something of these people was ended: put out whoever it was."""
        for user_id in user_ids:
            for client in self._of_user.get(user_id, ()):
                if (why := self._authenticator.why_over(client.who)) is not None:
                    self._end_sign_in(client, why)

    def _end_sign_in(self, client: Client, why: str) -> None:
        if not (client.is_signed_out or client.is_closed):
            client.sign_out()
            self.spawn(self._sign_out(client, why))  # after the acknowledgement of who ends their own

    async def _sign_out(self, client: Client, reason: str) -> None:
        """Its sign-in is over: tell it and disconnect it for good."""
        user_id = client.who.user.id
        for topic in [*client.topics, inbox_topic(user_id).name]:
            self.feed.leave(client.eio_sid, topic)
            self._presence.depart(topic, user_id, client.eio_sid, is_for_good=True)
        client.signal("server.signed_out", {"reason": reason})
        await self.server.disconnect(client.sid, ignore_queue=True)

    # -- commands of connections -----------------------------------------------------------------------------

    async def _subscribe(self, client: Client, ack_id: int | None, command: Subscribe) -> None:
        topic, role = await access_topic(self._backends, client.who, command.topic, "topic.subscribe")
        after = None if command.after is None else check_after(command.after)
        limit = check_event_limit(command.limit)
        name, eio_sid = topic.name, client.eio_sid
        if client.is_closed:
            return
        if name not in client.topics and len(client.topics) >= self.limits.topicsPerConnection:
            raise TooLarge(
                f"expected at most {self.limits.topicsPerConnection} topics a connection", field="topic"
            )
        client.topics.add(name)  # from now on, so that the limit holds for those that are sent at once
        # The feed must be held before membership is looked at: whoever is removed after that look is put out by the
        # feed, whoever was removed before it is refused.
        received = self.feed.hold(eio_sid, name)
        try:
            snapshot = await self._look(client, name)
            if topic.kind == "discussion" and not snapshot.is_member:
                raise NotFound("discussion")
            epoch = self._backends.epoch()
            is_recovered = after is not None and command.epoch in (None, epoch) and after <= snapshot.seq
            events: list[Event] = []
            if after is not None and is_recovered and after < snapshot.seq and snapshot.id is not None:
                events = await event_log.read(
                    self._backends.database, snapshot.id, name, after=after, upto=snapshot.seq, limit=limit
                )
        except BaseException:
            if _has_left(client):
                pass
            elif received is None:
                client.topics.discard(name)
                self.feed.leave(eio_sid, name)
            else:
                self.feed.release(eio_sid, name, received)  # the subscription of before goes on
            raise
        if _has_left(client):
            return  # `forget` has ended it, and whoever signed in next on this transport may follow the topic
        if not self.feed.follows(eio_sid, name):
            client.topics.discard(name)
            raise NotFound("topic")  # put out meanwhile
        if topic.kind != "inbox":
            self._presence.arrive(name, client.who.user, eio_sid)
        present = self._presence.present(name, client.who.user.id, subscriber=eio_sid)
        more = bool(events) and events[-1].seq < snapshot.seq
        bodies = json_list([event.body for event in events])
        answer = json_object(
            topic=json_string(name),
            epoch=json_string(epoch),
            seq=snapshot.seq,
            events=bodies,
            present=present,
            recovered=is_recovered,
            more=more,
            unread=snapshot.unread,
            rights=dumps(RIGHTS[role]),
        )
        client.acknowledge(ack_id, answer)
        self.feed.release(eio_sid, name, snapshot.seq)
        if events:
            self.limiter.charge(client.who.user.id, weight_of_answer(len(bodies)))

    async def _unsubscribe(self, client: Client, ack_id: int | None, command: Unsubscribe) -> None:
        name = parse_topic(command.topic).name
        if not self.feed.leave(client.eio_sid, name):
            raise NotFound("subscription")
        client.topics.discard(name)
        self._presence.depart(name, client.who.user.id, client.eio_sid, is_for_good=True)
        client.acknowledge(ack_id, NOTHING)

    async def _set_typing(self, client: Client, ack_id: int | None, command: SetTyping) -> None:
        topic, _ = await access_topic(self._backends, client.who, command.topic, "typing")
        if topic.name not in client.topics:
            raise Forbidden("this connection is not subscribed to the topic")
        self._presence.set_typing(topic.name, client.who.user, client.eio_sid, command.typing)
        client.acknowledge(ack_id, NOTHING)

    async def _refresh_session(self, client: Client, ack_id: int | None, command: RefreshSession) -> None:
        if (command.identity_token is None) == (command.auth_token is None):
            raise Unauthenticated("expected one of identityToken and authToken")
        credentials = Credentials(
            identity_token=command.identity_token,
            auth_token=command.auth_token,
            cookie_header=client.cookie_header,
            are_cookies_old=True,
        )
        # That its present session is over may come out just now, and must not sign out who brings another.
        if client.attachment is not None:
            client.attachment.detach()
        try:
            signed_in = await self._authenticator.sign_in(credentials)
            if signed_in.identity.user.id != client.who.user.id:
                raise Forbidden("this token is another user's")
            client.who = signed_in.identity
            self._set_end(client)
        finally:
            if not client.is_closed:  # nobody would ever detach who has gone meanwhile
                self._attach(client)
        client.acknowledge(
            ack_id,
            dumps(
                {
                    "user": client.who.user.as_wire(),
                    "resumeToken": signed_in.resume_token,
                    "expiresAt": rfc3339(signed_in.expires_at),
                }
            ),
        )

    # -- rights ----------------------------------------------------------------------------------------------

    async def _look_after_rights(self) -> None:
        """Put out, within a minute, whoever may no longer open the content they are subscribed to.

        Members who are removed from a discussion are put out by the feed.
        """
        while True:
            await asyncio.sleep(RIGHTS_ROUND_SECONDS * random.uniform(0.8, 1.2))
            await self._renew_rights()

    async def _renew_rights(self) -> None:
        gate = self._backends.gate
        due: dict[tuple[str, str], Identity] = {}
        for client in list(self._clients.values()):
            for name in client.topics:
                if name.startswith("content:"):
                    age_seconds = gate.content_age_seconds(client.who.user.id, *name.split(":")[1:])
                    if age_seconds is None or age_seconds > random.uniform(*RIGHTS_RENEWED_AFTER_SECONDS):
                        due[client.who.user.id, name] = client.who
        turn = asyncio.Semaphore(RIGHTS_AT_ONCE)
        checks = [self._check_right(turn, who, name) for (_, name), who in due.items()]
        await asyncio.gather(*checks)

    async def _check_right(self, turn: asyncio.Semaphore, who: Identity, name: str) -> None:
        """Ask Library again, which calls `content_refused` where it says no.

        While it is silent, what it said before holds for a while; after that nobody knows, and nothing is delivered.
        """
        gate = self._backends.gate
        _, project_id, object_id = name.split(":")
        async with turn:
            is_known = gate.content_age_seconds(who.user.id, project_id, object_id) is not None
            try:
                if gate.is_silent and not is_known:
                    raise Unavailable
                await gate.may_open(
                    who, project_id, object_id, at_most_seconds_old=RIGHTS_RENEWED_AFTER_SECONDS[0]
                )
            except Unavailable:
                if not is_known:
                    self.close_topic(who.user.id, name, "rights lost")
            except ClientError:
                pass  # the session is over, and its end is on the way
            except Exception:
                log.exception("a right was not checked")

    def content_refused(self, answer: ContentAnswer) -> None:
        """Library, asked by whichever node for whatever reason, said that somebody may not open an object."""
        topic = content_topic(answer.project_id, answer.object_id)
        self.close_topic(answer.user_id, topic.name, "rights lost")

    def close_topic(self, user_id: str, topic: str, reason: str) -> None:
        """End a user's subscriptions to a topic on this node; nothing of it comes after `topic.closed`."""
        for client in self._of_user.get(user_id, ()):
            self._end_subscription(client, topic, reason)

    def _end_subscription(self, client: Client, topic: str, reason: str) -> None:
        self.feed.leave(client.eio_sid, topic)
        self._presence.depart(topic, client.who.user.id, client.eio_sid, is_for_good=True)
        if topic in client.topics:
            client.topics.discard(topic)
            client.signal("topic.closed", {"topic": topic, "reason": reason})

    def close_all(self, reason: str) -> None:
        """Close every transport; official clients come back by themselves."""
        for eio_sid in list(self.server.eio.sockets):
            self.server.eio.close_transport(eio_sid, reason)

    # -- leaving ---------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Let commands finish, then close all transports, spread over at most `DRAIN_SPREAD_SECONDS`.

        Takes at most `DRAIN_SECONDS`: where commands took long, the closing is the faster.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + DRAIN_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_COMMANDS_SECONDS):
                while any(client.is_busy for client in self._clients.values()):
                    await asyncio.sleep(0.02)
        leaving = list(self.server.eio.sockets)
        random.shuffle(leaving)
        time_left = max(ends_at - loop.time(), DRAIN_STEP_SECONDS)
        spread = min(DRAIN_SPREAD_SECONDS, len(leaving) / DRAIN_CLOSES_PER_SECOND, time_left)
        began, closed = loop.time(), 0
        while closed < len(leaving):
            # By the clock: a pause after each would take many times as long on a machine that has much to do.
            share = (loop.time() - began) / spread
            due = min(len(leaving), int(share * len(leaving)) + 1)
            for eio_sid in leaving[closed:due]:
                self.server.eio.close_transport(eio_sid, "draining")
            closed = due
            await asyncio.sleep(DRAIN_STEP_SECONDS)


def _bounds(limits: Limits) -> Bounds:
    """What one client may take of the transport."""
    pace = Pace(PACE * limits.commandsPerSecond, limits.commandsBurst)
    return Bounds(outgoing_bytes=limits.outgoingBytes, pace=pace, stranger_pace=STRANGER_PACE)


def stranger_limits(limits: Limits) -> StrangerLimits:
    """What those may take who are not signed in, of sessions and, once more, of bare connections."""
    return StrangerLimits(
        most=limits.strangers,
        most_per_address=limits.strangersPerAddress,
        most_bytes=limits.strangersBytes,
        packet_bytes=min(limits.strangerPacketBytes, limits.packetBytes),
        tries=limits.signInTries,
    )


def tokens_of(auth: Any) -> Any:
    """The tokens of a CONNECT packet: what they are not, where they are none, and nothing else of it."""
    if not isinstance(auth, dict):
        return None
    return {
        name: value if isinstance(value, str) else False
        for name in TOKENS
        if (value := auth.get(name)) is not None
    }


def _credentials(environ: dict[str, Any], auth: Any) -> Credentials:
    """What a client hands over in its CONNECT packet, with the cookies of the handshake.

    Raises `Unauthenticated` when there is no token.
    """
    tokens = auth if isinstance(auth, dict) else {}
    given = {name: value for name in TOKENS if (value := tokens.get(name)) is not None}
    if len(given) != 1 or not all(isinstance(value, str) for value in given.values()):
        raise Unauthenticated("expected auth: {identityToken}, {authToken} or {resumeToken}")
    return Credentials(
        identity_token=given.get("identityToken"),
        auth_token=given.get("authToken"),
        resume_token=given.get("resumeToken"),
        cookie_header=environ.get("HTTP_COOKIE", ""),
        address=environ.get("REMOTE_ADDR"),
    )


def _has_left(client: Client) -> bool:
    """Whether it is closed by now: what was looked at before an `await` need not be so after it."""
    return client.is_closed
