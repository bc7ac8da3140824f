"""The sign-ins of those who are connected: greeted, renewed for as long as they stay, and ended when they end.

What it promises. Whoever has signed in hears `server.hello` first, then how the node is where it is paused, and follows
their inbox; whoever stays gets younger resume tokens in time. A client whose sign-in is over - it was ended, its time
is up, its Library session is over - is told so, gets nothing more, and is disconnected for good.

One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import cast

from collab_server.contract.catalogue import CONDITIONS
from collab_server.domain.jsontext import JsonText, dumps, json_shape, json_string, json_time, rfc3339
from collab_server.domain.sign_ins import RefreshSession
from collab_server.errors import Forbidden, Unauthenticated
from collab_server.realtime.client import SOON, Client
from collab_server.services.epoch import Epoch
from collab_server.services.hub import Hub
from collab_server.services.live.deliveries import Deliveries
from collab_server.services.live.subscriptions import Subscriptions
from collab_server.services.sign_in import Authenticator, Credentials, SignIn
from collab_server.telemetry.journal import Journal, person

RENEWAL_ROUND_SECONDS = 5.0
RENEWALS_AT_ONCE = 50

_user = json_shape("id", "name", "initials")
_hello = json_shape("user", "node", "epoch", "inboxSeq", "resumeToken", "expiresAt", "knows")
_KNOWS = dumps(CONDITIONS)


class SignIns:
    """Those of the clients of one node, which is called `node`."""

    def __init__(
        self,
        node: str,
        hub: Hub,
        authenticator: Authenticator,
        subscriptions: Subscriptions,
        deliveries: Deliveries,
        epoch: Epoch,
        journal: Journal,
    ) -> None:
        self._node = node
        self._hub = hub
        self._clients = cast("Mapping[str, Client]", hub.listeners)  # whoever enters it is one
        self._authenticator = authenticator
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._epoch = epoch
        self._journal = journal
        self._greetings: dict[str, SignIn] = {}  # by connection, until hello is said

    async def prove(self, credentials: Credentials) -> SignIn:
        """Who shows these. Raises `Unauthenticated`, `RateLimited`, `Unavailable` or `Paused`."""
        return await self._authenticator.sign_in(credentials)

    def prove_at_once(self, credentials: Credentials) -> SignIn | None:
        """The same where nobody has to be asked; None where somebody has."""
        return self._authenticator.sign_in_at_once(credentials)

    # --- coming

    def begin(self, client: Client, signed_in: SignIn) -> None:
        """A client has come with this sign-in; `greet` says hello to it."""
        self._greetings[client.connection] = signed_in
        self._set_end(client)
        self._attach(client)

    def greet_at_once(self, client: Client) -> bool:
        """Say hello where it is known up to where this node has delivered the inbox; False where it is not."""
        seq = self._subscriptions.follow_inbox(client)
        if seq is None:
            return False
        self._welcome(client, seq, self._greetings.pop(client.connection))
        self._deliveries.arrived(client.who.user.id)
        return True

    async def greet(self, client: Client) -> None:
        """Say hello to a client that has just signed in, subscribed to its inbox from here on.

        Raises `Paused` where the database has just gone.
        """
        signed_in = self._greetings.pop(client.connection, None)
        if signed_in is None:
            return
        seq = await self._subscriptions.hold_inbox(client)
        if seq is None:
            return
        self._welcome(client, seq, signed_in)
        self._subscriptions.release_inbox(client, seq)
        self._deliveries.arrived(client.who.user.id)

    def _welcome(self, client: Client, inbox_seq: int, signed_in: SignIn) -> None:
        self._say_hello(client, inbox_seq, signed_in)
        state = self._hub.greeting()
        if state is not None:
            client.tell("server.state", state)

    def _say_hello(self, client: Client, inbox_seq: int, signed_in: SignIn) -> None:
        now = datetime.now(UTC)
        client.renew_at = now + (signed_in.expires_at - now) / 2
        user = client.who.user
        client.tell(
            "server.hello",
            _hello(
                user=_user(
                    id=json_string(user.id), name=json_string(user.name), initials=json_string(user.initials)
                ),
                node=json_string(self._node),
                epoch=json_string(self._epoch.name),
                inboxSeq=inbox_seq,
                resumeToken=json_string(signed_in.resume_token),
                expiresAt=json_time(signed_in.expires_at),
                knows=_KNOWS,
            ),
        )

    def end(self, client: Client) -> None:
        """A client is gone."""
        self._greetings.pop(client.connection, None)
        client.detach()

    # --- staying

    async def run(self) -> None:
        """Say hello again to those who stay long, with a younger resume token; put out whose time is up.

        Its Library session is kept alive meanwhile; an old token would make every node that does not know the session
        ask Library, just when many clients come back at once.
        """
        while True:
            await asyncio.sleep(RENEWAL_ROUND_SECONDS)
            now, over_at = datetime.now(UTC), time.monotonic()
            clients = list(self._clients.values())
            for client in clients:
                if client.ends_at <= over_at:
                    self._over(client, "session_expired")
            due = [client for client in clients if client.renew_at <= now]
            for number, client in enumerate(due):
                if number % RENEWALS_AT_ONCE == RENEWALS_AT_ONCE - 1:
                    await asyncio.sleep(0)  # sealing takes some 50 us
                self._renew(client)

    def _renew(self, client: Client) -> None:
        signed_in = self._authenticator.renew(client.who)
        if client.is_closed or signed_in is None:
            return
        if signed_in.expires_at <= client.who.expires_at and client.renew_at is not SOON:
            return
        # Whoever has been greeted follows their inbox, and has been told of all up to here.
        seq = self._subscriptions.inbox_seq(client)
        if seq is not None:
            client.who = signed_in.identity
            self._say_hello(client, seq, signed_in)

    async def refresh(self, client: Client, command: RefreshSession) -> JsonText:
        """Let a client go on with another session of its user; the answer.

        Raises `Forbidden` for another user's, and what `prove` raises.
        """
        if (command.identity_token is None) == (command.auth_token is None):
            raise Unauthenticated("expected one of identityToken and authToken")
        credentials = replace(
            client.arrival.brought,
            identity_token=command.identity_token,
            auth_token=command.auth_token,
            are_cookies_old=True,
        )
        # That its present session is over may come out just now, and must not sign out who brings another.
        client.detach()
        try:
            signed_in = await self.prove(credentials)
            if signed_in.identity.user.id != client.who.user.id:
                raise Forbidden("this token is another user's")
            client.who = signed_in.identity
            self._set_end(client)
        finally:
            if not client.is_closed:  # nobody would ever detach who has gone meanwhile
                self._attach(client)
        return dumps(
            {
                "user": client.who.user.as_wire(),
                "resumeToken": signed_in.resume_token,
                "expiresAt": rfc3339(signed_in.expires_at),
            }
        )

    def _attach(self, client: Client) -> None:
        client.detach()
        client.session_use = self._authenticator.attach(client.who, partial(self._over, client))

    def _set_end(self, client: Client) -> None:
        client.ends_at = time.monotonic() + self._authenticator.seconds_left(client.who)

    # --- ending

    def look_at(self, client: Client) -> None:
        """Something of its user's was ended: put it out, if it was that."""
        if (why := self._authenticator.why_over(client.who)) is not None:
            self._over(client, why)

    def _over(self, client: Client, why: str) -> None:
        if not (client.is_signed_out or client.is_closed):
            client.sign_out()
            self._journal.line("signed out", person(client.who.user.id), why=why, trace=client.trace)
            client.spawn(self._sign_out(client, why))  # after the acknowledgement of those who end their own

    async def _sign_out(self, client: Client, reason: str) -> None:
        """Its sign-in is over: tell it and disconnect it for good."""
        self._subscriptions.leave_all(client, is_for_good=True)
        client.signal("server.signed_out", {"reason": reason})
        await client.disconnect()
