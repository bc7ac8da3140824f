"""Every metric that a node has, defined once: what it is called, what it means, by what it is told apart.

Nothing is counted that does not stand here, and nothing stands here that is not counted: `Metrics` refuses the first,
a test finds the second. `docs/metrics.md` is made of these rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["DEFINITIONS", "FAMILIES", "PREFIX", "Definition", "Family", "Kind"]

PREFIX = "collab_"

Kind = Literal["counter", "gauge", "histogram"]
"""A counter only rises, and begins at 0 with the node. A gauge is what is so now. A histogram holds seconds."""

_DOOR = "`socketio` or `rest`"
_CODE = "the `code` of an error, as [protocol.md](protocol.md) lists them"
_CALL = "method and path without ids, as `GET /objects/{id}`"
_OUTCOME_OF_CALL = (
    "`ok`; `refused` and `gone`, when Library itself says no or that the session is over; `cancelled`, when whoever"
    " asked has gone; or the kind of fault: `unreachable`, `tls`, `slow`, `busy`, `redirect`, `wrong_path`, `page`,"
    " `error`, `senseless`"
)

_COMMAND_BOUNDS = (0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0)
_CALL_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_STATEMENT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. `name` is without what every name begins with, and without the `_total` of a counter.

    `labels` say of each what its values are; there are only a few of each, whatever clients send. A histogram counts
    what took no longer than each of its `bounds`, in seconds.
    """

    name: str
    kind: Kind
    meaning: str
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    bounds: tuple[float, ...] = ()

    @property
    def exposed(self) -> str:
        """The name that Prometheus has it by."""
        return f"{PREFIX}{self.name}_total" if self.kind == "counter" else f"{PREFIX}{self.name}"


@dataclass(frozen=True, slots=True)
class Family:
    """What metrics are about that belong together: a chapter of the document."""

    title: str
    rows: tuple[Definition, ...]


def _counter(name: str, meaning: str, **labels: str) -> Definition:
    return Definition(name, "counter", meaning, MappingProxyType(labels))


def _gauge(name: str, meaning: str, **labels: str) -> Definition:
    return Definition(name, "gauge", meaning, MappingProxyType(labels))


def _histogram(name: str, meaning: str, bounds: tuple[float, ...], **labels: str) -> Definition:
    return Definition(name, "histogram", meaning, MappingProxyType(labels), bounds)


FAMILIES: tuple[Family, ...] = (
    Family(
        "The node",
        (
            _gauge(
                "build_info",
                "always 1; its labels say what runs",
                version="of the server",
                python="that it runs on",
                node="the name of the node, as logs and `/status` have it",
            ),
            _gauge("running", "1 while the state is `running`, 0 while it is `paused`"),
            _gauge("ready", "1 while clients should be sent here, as `/health/ready` says"),
            _gauge("draining", "1 from SIGTERM on"),
            _gauge("serving_reads", "1 while reads are answered"),
            _gauge("serving_writes", "1 while writes are stored"),
            _gauge("serving_live", "1 while other nodes' events arrive by push"),
            _gauge(
                "dependency_up",
                "1 while what the node depends on is there",
                service="as `/status` names it: `DB Service`, `Redis Server`, `Library`, `channel …`",
            ),
            _gauge(
                "dependency_latency_seconds",
                "how long the last good look at it took; none before there was one",
                service="as above",
            ),
            _gauge(
                "certificate_days",
                "days until a certificate is not valid any more, as the files were read at the start or on SIGHUP;"
                " less than 0 for one that has expired",
                property="that names the file in the configuration, as `publicCertFile` or `trustedCerts[0]`",
            ),
            _gauge("loop_lag_seconds", "how late the event loop's last timer was"),
            _gauge("loop_held_seconds", "the loop's longest turn of the last 10 s, in processor time"),
            _gauge("loop_held_max_seconds", "the loop's longest turn since the start, in processor time"),
            _counter(
                "loop_held",
                "turns of the loop that took more processor time than this",
                over_seconds="the bound",
            ),
            _gauge("cluster_nodes", "other nodes that are alive, as this one knows"),
        ),
    ),
    Family(
        "Clients",
        (
            _gauge("connections_current", "clients that are signed in and connected now"),
            _counter("connections", "clients that have connected since the start"),
            _gauge("users_current", "people connected now"),
            _gauge("subscriptions_current", "subscriptions to topics now, the inboxes' included"),
            _gauge(
                "sessions",
                "Engine.IO sessions now, those that are not signed in (yet) included",
                transport="`websocket`, `polling`, or `none` for one that is about to go",
            ),
            _gauge(
                "strangers_current",
                "those who are not signed in (yet)",
                kind="`session`: of Engine.IO. `connection`: of TCP, on which a request is awaited",
            ),
            _counter("strangers_put_out", "strangers who had to go because too many came", kind="as above"),
            _counter(
                "sign_ins",
                "those who have shown a token; over REST each call does",
                door=_DOOR,
                outcome=f"`ok`, or {_CODE}: `unauthenticated` for a token that is not good, `rate_limited` for too"
                " many tries, `unavailable` while Library is silent",
            ),
            _counter(
                "disconnects",
                "clients that were signed in and have gone",
                reason="`client_disconnect`, `transport_close`, `transport_error` and `ping_timeout` are the client's"
                " or the network's; `signed_out`, `draining`, `paused`, `server_disconnect` and"
                " `outgoing_queue_full` are ours, the last for those who do not read",
            ),
            _counter("clients_overflowed", "clients put out because too much waited for them to read it"),
            _counter("clients_stalled", "connections cut because nothing was taken on them for 30 s"),
            _counter(
                "handed_over",
                "what other nodes were asked to answer, for they have the session",
                what="`request`: polls and POSTs of long-polling. `websocket`: one that goes through this node",
            ),
            _counter(
                "not_handed_over",
                "what should have been",
                why="`lost`: the node that has the session is gone, or out of reach. `full`: too much is under way",
            ),
            _gauge("handed_over_current", "what is handed over now", what="as above"),
            _gauge("homes_reachable", "nodes that this one can hand over to"),
            _gauge(
                "homes_unreachable",
                "nodes that are there, and that this one has not reached for 8 s to hand over to",
            ),
            _counter(
                "handover_strangers",
                "connections to the listener for what others hand over, by who does not know the installation's key",
            ),
            _counter(
                "origins_refused", "pages turned away because of where they come from (`allowedOrigins`)"
            ),
        ),
    ),
    Family(
        "Commands",
        (
            _counter(
                "commands",
                "commands that are over",
                command="its name; `unknown` for what is none, or was refused unread",
                door=_DOOR,
                outcome=f"`ok`, {_CODE}, or `given up`, when nobody was there any more to read the answer",
            ),
            _histogram(
                "command_seconds",
                "how long commands took from being read to their answer",
                _COMMAND_BOUNDS,
                command="as above",
                door=_DOOR,
            ),
            _counter(
                "errors",
                "errors that clients were told: of commands, of sign-ins, and of calls that there are not",
                door=_DOOR,
                code=_CODE,
            ),
            _counter("messages_processed", "Socket.IO commands that came"),
            _counter("rest_calls_received", "REST calls under `/api` that came"),
            _gauge(
                "queue_length",
                "what waits on this node now",
                queue="`turns`: commands of people who ask a lot. `joining`: commands that will share a transaction."
                " `locks`: transactions that wait for what somebody else has locked."
                " `deliveries`: people whose notifications are to be put into their inboxes. `bus`: messages for"
                " other nodes. `library_sign_ins`, `library_questions`, `library_live`: calls of Library, the last for"
                " what is being shown to somebody",
            ),
        ),
    ),
    Family(
        "Events and notifications",
        (
            _counter(
                "feed_repaired", "events that had not come by themselves, and were read from PostgreSQL"
            ),
            _gauge(
                "undelivered_people",
                "people for whom the last look, every 5 s, found notifications that could be in their inboxes and"
                " are not; all nodes see the same ones, but for those who wait for Library, who are counted where"
                " they are connected",
            ),
            _counter("jobs_done", "jobs that this node has carried out"),
            _counter("jobs_failed", "jobs that failed here; they are tried again"),
            _counter("jobs_lost", "jobs that another node took over, for this one was too slow"),
            _counter("channels_told", "tellings that a channel has taken"),
            _counter("channels_failed", "tellings that a channel has not taken; they are tried again"),
            _counter("channels_dropped", "tellings given up after all their tries"),
        ),
    ),
    Family(
        "PostgreSQL",
        (
            _histogram(
                "statement_seconds",
                "how long statements took, from being sent to their answer",
                _STATEMENT_BOUNDS,
                statement="what it does to which table first, as `insert comments`, `lock topics`; `begin`,"
                " `commit`, `rollback`; `other` for what names no table of ours",
            ),
            _gauge(
                "database_connections",
                "connections of the pool",
                pool="`writes` for transactions, `reads` for single reads",
                state="`in_use` or `idle`",
            ),
            _gauge(
                "database_clock_ahead_seconds",
                "by how much, at the least, the clock of this node is ahead of the database's; negative is behind",
            ),
            _gauge("database_connections_most", "how many connections the pool may have", pool="as above"),
            _gauge("database_waiting", "callers who wait for a connection of the pool", pool="as above"),
            _histogram(
                "database_wait_seconds",
                "how long those waited for a connection who did not get one at once",
                _STATEMENT_BOUNDS,
                pool="as above",
            ),
        ),
    ),
    Family(
        "The bus between the nodes",
        (
            _counter("bus_published", "messages that other nodes were sent; heartbeats do not count"),
            _counter("bus_received", "messages that came from other nodes"),
            _counter("bus_dropped", "messages given up: too many, too large together, or 2 s old"),
            _counter("bus_missed", "messages that others have sent and that did not come"),
            _counter("bus_unknown_version", "envelopes of a node of another version, which were not opened"),
            _counter(
                "bus_unopened", "envelopes that are not of this installation, or of a node with another key"
            ),
            _counter("bus_repeated", "envelopes that came more than once"),
            _counter("bus_unbelieved", "messages of nodes that have not shown lately that they are alive"),
            _counter("bus_handler_errors", "messages whose handling failed of a bug, which is in the log"),
            _counter("bus_connections_lost", "connections to Redis that ended"),
            _counter("bus_outages", "times that Redis was there and then was not"),
            _gauge("bus_queued_bytes", "bytes that wait to be published; 8 MiB at most"),
        ),
    ),
    Family(
        "Library",
        (
            _counter(
                "library_requests",
                "calls of Library, by what came of them",
                call=_CALL,
                outcome=_OUTCOME_OF_CALL,
            ),
            _histogram("library_request_seconds", "how long calls of Library take", _CALL_BOUNDS, call=_CALL),
            _counter(
                "authority_requests",
                "the same of an authority that another package brings",
                call="as it names them",
                outcome="as it names them",
            ),
            _histogram(
                "authority_request_seconds",
                "how long those calls take",
                _CALL_BOUNDS,
                call="as it names them",
            ),
        ),
    ),
)

DEFINITIONS: Mapping[str, Definition] = MappingProxyType(
    {row.name: row for family in FAMILIES for row in family.rows}
)
