"""docs/faults.md, made of saved runs: ours, and the ready-made stack's under one of the same schedules."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.faults.report import Tally, as_markdown, percentile, rows_of, table, tallies, together, total
from tests.faults.run import Outcome
from tests.faults.schedule import ALL_KINDS, Arrangement
from tests.harness.cluster import ROOT

_TEXT = """\
# Faults

<!-- Written by `python -m tests.faults --report`; not by hand. -->

**{acknowledged:,} acknowledged writes under {count} injected faults: {verdict}.**

{events:,} events were read over {connections} connections; a fault had healed {p50} s (half of them) to {p99} s (99 of
100) after its end. {stock_count} of the same faults took {stock_undelivered:,} deliveries from connected readers of the
ready-made stack.

## What is done

Three nodes, NGINX, PostgreSQL and Valkey run as processes. A proxy stands on every edge, for each node: to PostgreSQL,
to Redis, to Library, and between it and its clients. The schedule is drawn from a seed and deals {kinds} kinds of fault
evenly; every eighth fault comes together with another one. A fault lasts up to four seconds.

- On an edge: *cut* (all connections reset), *refuse* (reset, and new ones refused), *delay* (0.3 s each way), *stall*
  (nothing moves, nothing is closed), *half-open* (one end is gone, the other is not told), *slow* (20 kB/s).
- To processes: nodes are killed, terminated, frozen; PostgreSQL is restarted, killed, frozen, its sessions are
  terminated, all its connections taken, every topic's row locked by a stranger; Redis is killed, frozen, out of memory,
  its subscriptions or all its connections are ended, its output buffers made too small; NGINX is killed and frozen.

Writers, six to some hundred, add, answer, edit and delete comments through both doors, at any node or through NGINX.
Each writes down what it means to do under a `requestId`, and repeats it, wherever it can, until it is answered. One
request in twenty is sent to two nodes at once; some are too large for the bus. Readers, five to ten, follow all topics,
subscribe again in between, come back after each loss with `after` and `epoch`, and write down all that comes, as it
comes. One in five, over long-polling, and one in five that goes away by itself are official Python clients; the others,
and the writers, are lean ones of our own (`tests/harness/wire.py`), so that the clients leave the machine to the nodes.
One person never has the right to one of the dashboards, and tries; another loses it on the way; a third is put out of a
discussion and let in again, all the time.

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

## The runs

Seed {seeds}, {minutes:.0f} minutes in all, {cores} cores for everything, {when}, commit {commits}, in this order.

{ours}

Writers met on the way: {trouble}.

Findings: {findings}.

What a run before these found is mended and has a test: of two clients that subscribed to a topic at the same moment,
one never got what came between their two looks at its head. It took clients as fast as those of the harness are now.

One run is not in the table: 380 faults (seed 34, commit 641b696), 379,746 writes acknowledged, and three findings, all
of one reader that was put out of a discussion and let in again: events "outside of a subscription", while Redis was cut
off from a node. The reader was at fault: refused a page, it took its subscription for ended, before the node heard of
the removal and said `topic.closed`. It waits for that now. Played by itself, with Redis stalled: the page is refused
after 0.02 s; after 1.2 s, by the feed, come what was said before the removal, the removal, and `topic.closed`. The runs
after it (seeds 35 and 36) have no such finding.

The runs were not all alone on the machine: tests ran beside those of seeds 31 to 33, and the ready-made stack's run
beside the beginning of that of seed 35. Times are the longer for it.

{arranged}

## The ready-made stack under the schedule of seed {stock_seed}

python-socketio with its own `AsyncRedisManager`, a comment stored in PostgreSQL, emitted, then acknowledged
(`tests/faults/stock.py`). It has no log to catch up from and no `requestId`, so less is asked of it: an event counts as
lost only if a reader was connected and subscribed when it was written, stayed for three more seconds after it was
acknowledged, and never got it; order is only asked for among the events of one writer. What readers missed between two
connections is not counted. A fault that had not healed in 20 s was ended by starting all nodes anew ({not_healed}
times).

{stock}

## To repeat it

    make faults N={stock_count} SEED={stock_seed}    # with another seed by another SEED
    python -m tests.faults --faults {a_count} --seed {a_seed} {options}    # as above
    python -m tests.faults --faults {stock_count} --seed {stock_seed} --stock
    make faults N=200 ARRANGEMENT=workers    # without affinity; or ARRANGEMENT=vertical
    python -m tests.faults --report docs/faults.md --ours FILE … --stock-run FILE
    python -m tests.faults --report docs/faults.md --arranged FILE …    # only the table without affinity

A failing run prints the seed that repeats its schedule. `--only redis` keeps to some kinds, `--plant` gives the nodes a
bug, `--keep` leaves data and logs. `tests/faults/test_faults.py` is a run of 30 faults in the test suite, with a new
seed each time (`FAULTS_SEED`, `FAULTS_COUNT`).

## What is not in it

A full disk, a primary that became a standby (`tests/integration/test_database.py`), a clock that jumps
(`test_clock.py`), nodes of two versions (`test_two_versions.py`) and crowds that come back together
(`test_storm.py`; `python -m tests.faults.storm` for thousands) have tests of their own.
"""

_BEGIN, _END = "<!-- without affinity -->", "<!-- end -->"
_ARRANGED = """\
## Without affinity

Three nodes of two workers each (*workers*), and one node of three workers without Redis (*vertical*), behind an NGINX
that gives each request to the next, whosever the session is. What happens is the same, as far as there is something it
can happen to, and two more kinds: one process of a node is killed, or frozen.

{table}

{runs}

The one of seed 52 under *other* is a reader whose resume token was refused: another worker had logged the session out
at Library of which that token was made. A worker that ended did so with what it had of others, and one that had never
heard what became of a session that it had brought to another. Neither is done any more, and no run since has met it.

One run is not in the table: seed 55 (*workers*, 155 faults, 25,761 writes acknowledged, commit 5f1aacc) lost two events
of one reader that polls. A connection was cut by which a poll had been answered a moment before, and NGINX asked once
more; within a tenth of a second that was taken for the next poll of a clock that stands still. It is so no more where
something could be lost by it. Played by itself (seed 61, 60 times *client cut*, eleven readers, three of which poll):
11 events lost before, none since.

Runs of the day before: *workers*, 250 faults, 113,166 writes acknowledged, none lost, doubled, out of order or phantom,
two faults not healed after a minute, each a database that went back in time, after which readers read all there is in
pages of forty (they take larger ones since); *vertical*, 210 faults, 36,578 writes, none of all that.

- One before them (*workers*, 160 faults, 69,975 writes, commit 77c33ce) found that a poll which NGINX sends once more,
  to another node, was served like any other: it does so where the connection is cut by which the poll was asked, and
  the answer to the first was lost with that, one event of it to one reader. Such a poll ends the session, and the
  client catches up.
- One after them (*vertical*, 58 faults, 14,828 writes, commit 7acaf73) lost none either, but 514 attempts were answered
  `internal`: the connection from one worker to another had been made in the moment in which the time for that was up,
  and whatever was to be told by it failed from then on. It is forgotten now, and made anew.

In seed 62 five faults had not healed after a minute: three were a database that went back in time, after which readers
read all there is, the others came right behind. The tests of all rooms and another run under faults shared its two
cores, at a load of 20; eleven of the kind in seeds 60 and 61 healed in 0.4 to 33 s. The three of seed 70, in one run of
380 faults and 132,150 acknowledged writes, came at a load of 20 to 33, beside tests and benchmarks.

Two more things stood in the way of healing: runs that went on beside each other and, in seed 52, official clients that
took ten seconds more to give up a connection over polling that was never made."""


def as_json(outcome: Outcome, options: str, arrangement: Arrangement) -> dict[str, Any]:
    """What the document needs of a run, as plain values; `options` are those it was started with."""
    return {
        "arrangement": arrangement,
        "seed": outcome.seed,
        "options": options,
        "commit": subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT
        ).stdout.strip(),
        "count": len(outcome.intervals),
        "seconds": outcome.seconds,
        "events": outcome.deliveries,
        "connections": outcome.connections,
        "tallies": {name: tally.as_json() for name, tally in tallies(outcome).items()},
        "trouble": dict(outcome.trouble.most_common()),
        "not_healed": sum(interval.healed_at is None for interval in outcome.intervals),
    }


def arranged(runs: Sequence[dict[str, Any]]) -> str:
    """The section on saved runs in other arrangements than that with affinity."""
    rows = [
        (name, total(together(_tallies(run) for run in runs if run["arrangement"] == name)))
        for name in dict.fromkeys(run["arrangement"] for run in runs)
    ]
    said = "; ".join(
        f"seed {run['seed']} ({run['arrangement']}, {run['count']} faults, {run['seconds'] / 60:.0f} minutes, commit"
        f" {run['commit']})"
        for run in runs
    )
    when = datetime.now(UTC).strftime("%B %Y")
    said = (
        f"{said[0].upper()}{said[1:]}; {os.cpu_count()} cores, which others kept busy, {when}. Times are the longer for"
        " it: a write that the machine has no time for is answered `paused` after two seconds, and tried again."
    )
    text = _ARRANGED.format(table=as_markdown(rows_of(rows, "arrangement")), runs=textwrap.fill(said, 120))
    return f"{_BEGIN}\n\n{text}\n\n{_END}"


def arranged_of(document: str) -> str:
    """The section as it stands in a document."""
    begin, end = document.index(_BEGIN), document.index(_END)
    return document[begin:end] + _END


def as_document(ours: Sequence[dict[str, Any]], stock: dict[str, Any], arranged: str) -> str:
    """The whole text of docs/faults.md, of saved runs of ours and one of the ready-made stack, and the section of
    `arranged`.

    Raises `ValueError` unless one of ours ran the same schedule as the stack, or went on after it.
    """
    schedules = [(run["seed"], run["count"]) for run in ours]
    if not any(seed == stock["seed"] and count >= stock["count"] for seed, count in schedules):
        raise ValueError("none of the runs had the schedule of the ready-made stack")
    found = together(_tallies(run) for run in ours)
    all_of_it = total(found)
    found_stock = _tallies(stock)
    bad = {kind: count for kind, count in all_of_it.found.items() if count}
    verdict = (
        "none lost, none doubled, none out of order, nothing that was never committed"
        if not bad
        else ", ".join(f"{count} {kind}" for kind, count in bad.items())
    )
    trouble = sum((Counter(run["trouble"]) for run in ours), Counter[str]())
    return _TEXT.format(
        acknowledged=all_of_it.acknowledged,
        count=all_of_it.count,
        verdict=verdict,
        events=sum(run["events"] for run in ours),
        connections=sum(run["connections"] for run in ours),
        p50=_shown(percentile(all_of_it.healed, 0.5)),
        p99=_shown(percentile(all_of_it.healed, 0.99)),
        stock_count=stock["count"],
        stock_seed=stock["seed"],
        stock_undelivered=total(found_stock).found["undelivered"],
        kinds=len(ALL_KINDS),
        seeds=", ".join(f"{seed} ({count} faults)" for seed, count in schedules),
        a_seed=ours[0]["seed"],
        a_count=ours[0]["count"],
        options=ours[0]["options"],
        commits=", ".join(dict.fromkeys(run["commit"] for run in ours)),
        minutes=sum(run["seconds"] for run in ours) / 60,
        cores=os.cpu_count(),
        when=datetime.now(UTC).strftime("%B %Y"),
        ours=as_markdown(table(found)),
        trouble=", ".join(f"{name} {count}" for name, count in trouble.most_common()) or "nothing",
        findings=", ".join(f"{kind} {count}" for kind, count in bad.items()) or "none",
        not_healed=stock["not_healed"],
        arranged=arranged,
        stock=as_markdown([row[:-3] for row in table(found_stock)]),  # its clients do not measure the others
    )


def _tallies(run: dict[str, Any]) -> dict[str, Tally]:
    return {name: Tally.from_json(values) for name, values in run["tallies"].items()}


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"
