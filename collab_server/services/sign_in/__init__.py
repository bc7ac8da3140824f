"""Token → Identity, for both doors.

Whoever comes shows one of three tokens: an identity token of the authority (exchanged for a session of our own), an
auth token of it (used as it is, with the browser's cookies that came along), or a resume token of ours. A resume token
seals user and session with a key that is kept in Postgres: any node accepts it without asking for as long as the
session can live by itself, so that clients can come back after a short-lived identity token has run out, and a storm of
them does not reach Library. What is sealed proves who it was, never what they may do: whether somebody is an
administrator is computed afresh.

Whoever comes to stay begins a *sign-in*. Its id and its beginning are sealed too, and both go on in each younger token.
It is over when it was ended (`KnownEnds`), when its time is over, when its session at the authority is.

Promises: what is over opens at neither door; the authority is asked, at the latest 60 s after it last was, about a
session that requests are made with. The same token goes there at most once in 60 s (5 s when it was refused), and a
token that cannot be one never does; whom it had confirmed is still known while it is silent, until their session runs
out; nobody new is let in meanwhile. Nothing runs in the background but what the authority runs. Nothing here logs.

Downwards: `authenticator` (what the doors call), `kinds` (one class per kind of credential, in order), `exchange` (the
authority's own tokens), `resume_tokens` (ours), `lifetimes` (what is over), `credentials`, `proofs` (the words).
"""

from collab_server.ports import Ended, SessionUse
from collab_server.services.sign_in.authenticator import Authenticator, SignIn
from collab_server.services.sign_in.credentials import Credentials
from collab_server.services.sign_in.lifetimes import KnownEnds, SignInOver

__all__ = ["Authenticator", "Credentials", "Ended", "KnownEnds", "SessionUse", "SignIn", "SignInOver"]
