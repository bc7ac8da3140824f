"""docs/faults.md, made of two saved runs of the same schedule: ours, and the ready-made stack's."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tests.faults.report import as_markdown, table
from tests.faults.run import Outcome
from tests.faults.schedule import ALL_KINDS

_TEXT = """\
# Faults

<!-- Written by `python -m tests.faults --report`; not by hand. -->

**{acknowledged:,} acknowledged writes under {count} injected faults: {verdict}.**

{events:,} events were read over {connections} connections; a fault had healed {p50} s (half of them) to {p99} s (99 of
100) after its end. The same schedule took {stock_undelivered:,} deliveries from connected readers of the ready-made
stack.

## What is done

Three nodes, NGINX, PostgreSQL and Valkey run as processes. A proxy stands on every edge, for each node: to PostgreSQL,
to Redis, to Library, and between it and its clients. The schedule is drawn from a seed and deals {kinds} kinds of fault
evenly; every eighth fault comes together with another one. A fault lasts up to four seconds.

- On an edge: *cut* (all connections reset), *refuse* (reset, and new ones refused), *delay* (0.3 s each way), *stall*
  (nothing moves, nothing is closed), *half-open* (one end is gone, the other is not told), *slow* (20 kB/s).
- To processes: nodes are killed, terminated, frozen; PostgreSQL is restarted, killed, frozen, its sessions are
  terminated, all its connections taken, every topic's row locked by a stranger; Redis is killed, frozen, out of memory,
  its subscriptions or all its connections are ended, its output buffers made too small; NGINX is killed and frozen.

Six writers add, answer, edit and delete comments through both doors, at any node or through NGINX. Each writes down
what it means to do under a `requestId`, and repeats it, wherever it can, until it is answered. One request in twenty is
sent to two nodes at once; some are too large for the bus. Ten readers, websocket and long-polling, follow all topics,
subscribe again in between, come back after each loss with `after` and `epoch`, and write down all that comes, as it
comes. Two of them go away by themselves. One person never has the right to one of the dashboards, and tries; another
loses it on the way; a third is put out of a discussion and let in again, all the time.

After each fault the run goes on when it has *healed*: when a write at every node was acknowledged and has reached every
reader. For a process that was stopped the time counts from when it is ready again, and it includes the clients' pauses
before they come back (up to 0.5 s) and what they need to notice a silent connection (up to 5 s).

At the end, the readers' logs, the writers' answers and the tables are compared. Each violation is counted:

- *lost*: acknowledged and not stored so; or an event that a reader should have got and never did;
- *doubled*: one `requestId` with two rows, events or answers; an event that came twice;
- *out of order*: an event after a later one of its topic, or outside of a subscription;
- *phantom*: delivered and not stored, or stored and never meant;
- *other*: a gap in `seq`; an unread, reply or comment count that differs from the rows; an event to somebody without
  the right; a refusal without a reason; a write never answered; a fault that had not healed after a minute.

*answer p99* is how long the slowest of a hundred answers took, refusals with `paused` included. *late p99* is how long
after its acknowledgement an event reached a reader that was subscribed. *cut* counts connections that readers lost.

Whether the harness would see a bug is tested, too: bugs are planted in histories, one at a time (`test_checker.py`),
and in real nodes (`plants/`): a hint dropped and nothing repaired, an acknowledgement before the commit, an event
before the commit, two events swapped, an event twice, a forgotten `requestId`, delivery after removal, rights that
nobody looks after, a wrong count. Each is found.

## The run

Seed {seed}, {minutes:.0f} minutes, {cores} cores for everything, {when}.

{ours}

Writers met on the way: {trouble}.

Findings: {findings}.

## The ready-made stack under the same schedule

python-socketio with its own `AsyncRedisManager`, a comment stored in PostgreSQL, emitted, then acknowledged
(`tests/faults/stock.py`). It has no log to catch up from and no `requestId`, so less is asked of it: an event counts as
lost only if a reader was connected and subscribed when it was written, stayed for three more seconds after it was
acknowledged, and never got it; order is only asked for among the events of one writer. What readers missed between two
connections is not counted. A fault that had not healed in 20 s was ended by starting all nodes anew ({not_healed}
times).

{stock}

## To repeat it

    make faults N={count} SEED={seed}                # the run above, with another seed by another SEED
    python -m tests.faults --faults {count} --seed {seed} --stock

A failing run prints the seed that repeats its schedule. `--only redis` keeps to some kinds, `--plant` gives the nodes a
bug, `--keep` leaves data and logs. `tests/faults/test_faults.py` is a run of 30 faults in the test suite, with a new
seed each time (`FAULTS_SEED`, `FAULTS_COUNT`).

## What is not in it

A full disk, a clock that jumps, a failover to another PostgreSQL, nodes of two versions, thousands of clients: these
have, or still need, tests of their own.
"""


def as_json(outcome: Outcome) -> dict[str, Any]:
    """What the document needs of a run."""
    return {
        "seed": outcome.seed,
        "count": len(outcome.intervals),
        "kinds": len({interval.step.kind for interval in outcome.intervals}),
        "seconds": outcome.seconds,
        "acknowledged": outcome.acknowledged,
        "events": outcome.deliveries,
        "connections": outcome.connections,
        "table": table(outcome),
        "trouble": dict(outcome.trouble.most_common()),
        "findings": dict(Counter(finding.kind for finding in outcome.findings)),
        "not_healed": sum(interval.healed_at is None for interval in outcome.intervals),
    }


def as_document(ours: dict[str, Any], stock: dict[str, Any]) -> str:
    """The whole text of docs/faults.md. Raises `ValueError` unless both ran the same schedule."""
    if (ours["seed"], ours["count"]) != (stock["seed"], stock["count"]):
        raise ValueError("the two runs had different schedules")
    header, *_, last = ours["table"]
    total = dict(zip(header, last, strict=True))
    shown = [row[:-3] for row in stock["table"]]  # its clients do not measure the others
    bad = {kind: count for kind, count in ours["findings"].items() if count}
    verdict = (
        "none lost, none doubled, none out of order, nothing that was never committed"
        if not bad
        else ", ".join(f"{count} {kind}" for kind, count in bad.items())
    )
    return _TEXT.format(
        acknowledged=ours["acknowledged"],
        count=ours["count"],
        verdict=verdict,
        events=ours["events"],
        connections=ours["connections"],
        p50=total["heal p50 s"],
        p99=total["heal p99 s"],
        stock_undelivered=stock["findings"].get("undelivered", 0),
        kinds=len(ALL_KINDS),
        seed=ours["seed"],
        minutes=ours["seconds"] / 60,
        cores=os.cpu_count(),
        when=datetime.now(UTC).strftime("%B %Y"),
        ours=as_markdown(ours["table"]),
        trouble=", ".join(f"{name} {count}" for name, count in ours["trouble"].items()) or "nothing",
        findings=", ".join(f"{kind} {count}" for kind, count in bad.items()) or "none",
        not_healed=stock["not_healed"],
        stock=as_markdown(shown),
    )
