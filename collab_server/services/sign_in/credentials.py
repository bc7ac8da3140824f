"""What somebody shows who wants to be known."""

from __future__ import annotations

from dataclasses import dataclass, field

from collab_server.domain.cookies import SESSION_COOKIE, find_cookie


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody showed. The first of resume, identity and auth token that is there counts.

    `bearer` may be any of the three. `cookie_header` is the Cookie header that came along; what belongs to an auth
    token is taken from it. `cookie` is the value of `JSESSIONID` where that is known otherwise. `are_cookies_old` says
    that they came before the token, as with a socket that is open: `JSESSIONID` may be that of an earlier session, and
    where it is not accepted the auth token is tried without. `address` is where they come from, if that is known.
    """

    identity_token: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    resume_token: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    cookie_header: str = field(default="", repr=False)
    are_cookies_old: bool = False
    address: str | None = None

    @property
    def session_cookie(self) -> str | None:
        """The value of `JSESSIONID`, if it was shown."""
        return self.cookie if self.cookie is not None else find_cookie(self.cookie_header, SESSION_COOKIE)
