"""Signing in at Library, for programs: with a name and a password, for as long as it takes."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import aiohttp

from collab_client.connection import Credentials
from collab_client.refused import Refused

_SECONDS = 10


def library(
    url: str, username: str, password: str, *, login_mode: int = 1, tls: ssl.SSLContext | None = None
) -> Callable[[], Awaitable[Credentials | None]]:
    """What gets identity tokens of the Library at `url` (`…/MicroStrategyLibrary/api`), to be given to a client.

    It signs in with the first token, and again when the session has ended. A name or password that is wrong is
    `Refused`.
    """
    session: dict[str, str] = {}

    async def credentials() -> Credentials | None:
        connector = None if tls is None else aiohttp.TCPConnector(ssl=tls)
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=jar) as http:
            for is_new in (not session, True):
                if is_new:
                    await sign_in(http)
                async with http.post(f"{url}/auth/identityToken", headers=session) as answer:
                    if answer.status == 201:
                        return {"identityToken": answer.headers["X-MSTR-IdentityToken"]}
                    if answer.status >= 500 or is_new:
                        answer.raise_for_status()
                        raise Refused("unavailable", f"Library gives no identity token: {answer.status}")
        raise AssertionError("not reached")

    async def sign_in(http: aiohttp.ClientSession) -> None:
        body = {"username": username, "password": password, "loginMode": login_mode}
        async with http.post(f"{url}/auth/login", json=body) as answer:
            if answer.status in (400, 401, 403):
                raise Refused("unauthenticated", "Library does not know this name and password.")
            answer.raise_for_status()
            cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in answer.cookies.values())
            session.update({"X-MSTR-AuthToken": answer.headers["X-MSTR-AuthToken"], "Cookie": cookies})

    return credentials
