"""Whether Library answers, and as what: one log line per change, in words that say what to do.

`Health` is told of every call how it went. A `Fault` is whatever is not an answer of Library's own: nobody there, a
certificate that is not trusted, the page of a load balancer. General faults are over as soon as anything is answered,
the others when one of the calls that met them is. Of several the one that is known already goes on being named, so
that a log says each thing once; and however fast Library comes and goes, `LINES_AT_ONCE` lines and then one a minute
are all that is written. What could not be written is written when it may be, if it is still so.

Keeps no more than a fault per call of the API. Belongs to one event loop; `look` is called on a timer.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urljoin, urlsplit

__all__ = ["Fault", "Health", "Outcome", "fault_of_connection", "without_secrets"]

log = logging.getLogger("collab_server.authority.library")

LINES_AT_ONCE = 10
LINE_SECONDS = 60.0
FAULT_SECONDS = 60.0
"""A fault of one call that has not been seen for so long is not counted any more, while others are answered."""
CAUSE_SECONDS = 15.0
"""So long after a general fault was last seen, another one of its kind is told in its place. Looks are 5 s apart."""
MOST_TARGET_CHARACTERS = 200

HEAD_TOO_LARGE = 431  # how the HTTP parser says so

Outcome = Literal[
    "ok",
    "refused",
    "gone",
    "unreachable",
    "tls",
    "slow",
    "busy",
    "redirect",
    "wrong_path",
    "page",
    "error",
    "senseless",
    "cancelled",
]
"""How a call went. `refused` and `gone`: Library itself said no, or that the session is over."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call was not answered by Library. `words` are for administrators, and never hold a token.

    `is_general`: it is about Library as a whole, not about this one call of its API.
    """

    outcome: Outcome
    words: str
    is_general: bool = False
    seen_at: float = 0.0


class Health:
    """See the module."""

    def __init__(self, *, has_address: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """`has_address` False: there is no `authorizationServerUrl`, and nothing will ever be asked."""
        self.latency_seconds: float | None = None
        self._clock = clock
        self._faults: dict[str, Fault] = {}
        self._named: str | None = None  # the call whose fault is the one that is told
        self._answered_at: float | None = None
        self._unasked = (
            "not asked yet" if has_address else "authorizationServerUrl is not set: nobody can sign in"
        )
        self._is_asked = False
        self._told: str | None = "nothing"
        self._lines, self._lines_at = float(LINES_AT_ONCE), clock()

    @property
    def problem(self) -> str | None:
        """Words for the administrator; None while all is well."""
        if not self._is_asked:
            return self._unasked
        return None if self._named is None else self._faults[self._named].words

    @property
    def silent_seconds(self) -> float:
        """How long ago Library itself last said something; infinite where it has not."""
        return float("inf") if self._answered_at is None else self._clock() - self._answered_at

    def answered(self, call: str, seconds: float) -> None:
        """Library itself has answered, whatever it said."""
        self.latency_seconds, self._answered_at = seconds, self._clock()
        if call in self._faults:
            self._faults.clear()  # what was wrong with this one was most likely wrong with all
        oldest = self._clock() - FAULT_SECONDS
        self._keep_only(lambda fault: not fault.is_general and fault.seen_at >= oldest)
        self._changed()

    def failed(self, call: str, fault: Fault) -> None:
        """It has not."""
        fault = replace(fault, seen_at=self._clock())
        before = self._faults.get(self._named) if self._named is not None else None
        if fault.is_general:
            if before is not None and before.is_general and _is_in_turn_with(before, fault):
                fault = before
            self._faults.clear()
        else:
            self._keep_only(lambda other: not other.is_general)
        self._faults[call] = fault
        self._changed()

    def look(self) -> None:
        """Say what could not be said when it happened."""
        if self._is_asked or self._unasked != "not asked yet":
            self._tell()

    def _keep_only(self, still_counts: Callable[[Fault], bool]) -> None:
        self._faults = {call: fault for call, fault in self._faults.items() if still_counts(fault)}

    def _changed(self) -> None:
        self._is_asked = True
        if self._named not in self._faults:
            self._named = next(iter(self._faults), None)
        self._tell()

    def _tell(self) -> None:
        problem = self.problem
        if problem == self._told:
            return
        now = self._clock()
        self._lines = min(float(LINES_AT_ONCE), self._lines + (now - self._lines_at) / LINE_SECONDS)
        self._lines_at = now
        if self._lines < 1:
            return
        self._lines -= 1
        self._told = problem
        if problem is None:
            log.info("Library is available")
        else:
            log.warning("Library is unavailable: %s", problem)


def _is_in_turn_with(before: Fault, fault: Fault) -> bool:
    """Whether two of a kind come in turns, as of two machines under one name: then the first of them is told."""
    is_another = fault.outcome == before.outcome and fault.words != before.words
    return is_another and fault.seen_at - before.seen_at < CAUSE_SECONDS


def fault_of_connection(error: BaseException, where: str) -> Fault:
    """What is wrong when there was no HTTP answer. `where` is host and port."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Fault("tls", f"TLS with {where} failed: {_advised(cause)}", is_general=True)
        if isinstance(cause, socket.gaierror):
            words = (
                f"the name in {where} cannot be found: check authorizationServerUrl, and DNS on this machine"
            )
            return Fault("unreachable", words, is_general=True)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or str(cause)).lower().replace("_", " ")
            words = (
                f"TLS with {where} failed: {reason}: does authorizationServerUrl name a port that speaks TLS?"
            )
            return Fault("tls", words, is_general=True)
    if any(getattr(cause, "error_status_hint", None) == HEAD_TOO_LARGE for cause in causes):
        words = f"{where} answers with heads of more than 100 KB: see which cookies it sets"
        return Fault("senseless", words, is_general=True)
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0 and cause.strerror:
            words = f"cannot reach {where}: {cause.strerror.lower()}: is Library running, and may this node go there?"
            return Fault("unreachable", words, is_general=True)
    words = (
        f"{where} closes connections without an HTTP answer: check scheme and port of authorizationServerUrl"
    )
    return Fault("unreachable", words, is_general=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of, the deepest last; of several attempts the first."""
    for _ in range(10):
        if error is None:
            return
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__


def _advised(error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message or str(error)
    if "expired" in said:
        return f"{said}: Library needs a new certificate"
    if "not yet valid" in said:
        return f"{said}: check the clock of this machine"
    if "mismatch" in said or "not valid for" in said:
        return f"{said.rstrip('.')}: authorizationServerUrl has to use a name that is in the certificate"
    return f"{said}: name the PEM file of the CA that signed it in trustedCerts"


def without_secrets(url: str, location: str) -> str:
    """Where a redirect of `url` leads, without what may hold a token or a session: query, fragment, parameters."""
    try:
        parts = urlsplit(urljoin(url, location))
        target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.partition(';')[0]}"
    except ValueError:
        return "nowhere"
    return "".join(c if "!" <= c <= "~" else "?" for c in target[:MOST_TARGET_CHARACTERS])
