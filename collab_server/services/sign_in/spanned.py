"""The authenticator of a node whose traces are collected."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from collab_server.ports import Authority
from collab_server.services.sign_in.authenticator import Authenticator, SignIn
from collab_server.services.sign_in.credentials import Credentials
from collab_server.telemetry.spans import Spans


class SpannedAuthenticator(Authenticator):
    """An authenticator that makes a span of each sign-in of a socket; a call over REST has its own. See it."""

    def __init__(self, authority: Authority, *, spans: Spans, **more: Any) -> None:
        super().__init__(authority, **more)
        self._spans = spans

    @override
    async def sign_in(self, credentials: Credentials) -> SignIn:
        with self._spans.during("sign in", "server", {"collab.door": "socketio"}):
            return await super().sign_in(credentials)

    @override
    def sign_in_at_once(self, credentials: Credentials) -> SignIn | None:
        """Never: what is not waited for has no span."""
        return None
