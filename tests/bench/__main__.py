"""`make bench`: the measurements against the peers, and against a commit before. `python -m tests.bench --help`.

Each round starts two nodes of every setup anew, so that the luck of no process lasts through the run; within a round
the setups take turns in short slices, forwards and backwards, so that none of them has the machine's better moments.
What counts is processor time and memory of one node, node B, to which the clients are connected; publishers are on
node A.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import uvloop

from tests.bench import report, writes
from tests.bench.document import circumstances, put
from tests.bench.report import Found
from tests.bench.scenarios import SCENARIOS, SLICE_SECONDS, Sample, Scenario
from tests.bench.setups import (
    Setup,
    Tree,
    commit_tree,
    packages,
    peers_versions,
    serve_peer,
    serve_tree,
    working_tree,
)
from tests.bench.verdict import ROUNDS_TO_JUDGE
from tests.harness.world import World

PEERS = ("node", "bun", "stock")
ASGI, PGBENCH, WRITES = "asgi", "pgbench", "writes"
ROUNDS = 3
BEFORE_LEAVES_OUT = ("wide", "stalled")  # slow, and too noisy to be judged unasked


def started(
    name: str, trees: Mapping[str, Tree], world: World, limits: Mapping[str, int]
) -> AbstractAsyncContextManager[Setup]:
    """A setup by its name: a tree's, or a peer's."""
    if name in trees:
        return serve_tree(name, trees[name], world, limits)
    if name == ASGI:
        return serve_tree(name, trees["ours"], world, limits, {"COLLAB_TRANSPORT": "asgi"})
    return serve_peer(name, world)


async def measure(scenario: Scenario, setups: list[Setup]) -> dict[str, Sample]:
    """One round of a scenario: each setup's slices together. A peer that fails is left out, ours raises."""
    taking_part = [setup for setup in setups if setup.tree is not None or not scenario.is_ours_alone]
    side_by_side = [taking_part] if scenario.is_side_by_side else [[setup] for setup in taking_part]
    samples: dict[str, Sample] = {setup.name: Sample(0) for setup in taking_part}
    for together in side_by_side:
        async with AsyncExitStack() as stack:
            works = [(setup, await stack.enter_async_context(scenario.work(setup))) for setup in together]
            for turn in range(scenario.slices):
                for setup, work in works if turn % 2 == 0 else works[::-1]:
                    if setup.name not in samples:
                        continue
                    try:
                        samples[setup.name] += await work(SLICE_SECONDS)
                    except RuntimeError as error:
                        if setup.tree is not None:
                            raise
                        print(f"left out of this round: {error}", file=sys.stderr, flush=True)
                        del samples[setup.name]
    return samples


async def run(
    names: list[str], trees: Mapping[str, Tree], rows: list[str], rounds: int, limits: Mapping[str, int]
) -> Found:
    """All rounds of these scenarios with these setups."""
    found: Found = {row: {} for row in rows}
    groups = itertools.groupby(
        sorted(rows, key=lambda row: SCENARIOS[row].group), lambda row: SCENARIOS[row].group
    )
    plan = [list(members) for _, members in groups]
    began = time.monotonic()
    with World() as world:
        for number in range(rounds):
            order = names[number % len(names) :] + names[: number % len(names)]
            for members in plan:
                async with AsyncExitStack() as stack:
                    setups = [
                        await stack.enter_async_context(started(name, trees, world, limits)) for name in order
                    ]
                    for row in members:
                        samples = await measure(SCENARIOS[row], setups)
                        for name in names:
                            figures = samples[name].figures() if name in samples else {}
                            found[row].setdefault(name, []).append(figures)
                            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
                            seconds = time.monotonic() - began
                            print(
                                f"{seconds:5.0f} s {number + 1:3} {row:10}{name:10}{shown}",
                                file=sys.stderr,
                                flush=True,
                            )
    return found


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isdigit():
        raise argparse.ArgumentTypeError("expected NAME=NUMBER")
    return name, int(value)


def _chosen(text: str, known: list[str], what: str, parser: argparse.ArgumentParser) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]
    for name in names:
        if name not in known:
            parser.error(f"there is no {what} {name!r}: expected some of {', '.join(known)}")
    return [name for name in known if name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--before",
        metavar="COMMIT",
        default="",
        help="serve this commit too, and judge the working tree by it",
    )
    parser.add_argument(
        "--rounds", metavar="N", default="", help=f"{ROUNDS}; with --before {ROUNDS_TO_JUDGE}"
    )
    parser.add_argument("--rows", default="", help=f"some of {', '.join([*SCENARIOS, WRITES])}")
    parser.add_argument(
        "--peers",
        default=",".join([*PEERS, PGBENCH]),
        help=f"some of {', '.join([*PEERS, ASGI, PGBENCH])}, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        action="append",
        type=_limit,
        default=[],
        metavar="NAME=NUMBER",
        help="one more of limits.*",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the figures of every round in this file"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for and print the tables. 1 if a judged row is worse than the commit before."""
    parser = _parser()
    options = parser.parse_args(arguments)
    peers = _chosen(options.peers, [*PEERS, ASGI, PGBENCH], "peer", parser)
    rows = _chosen(options.rows, [*SCENARIOS, WRITES], "row", parser)
    if not rows:
        rows = [row for row in [*SCENARIOS, WRITES] if not options.before or row not in BEFORE_LEAVES_OUT]
        rows = [row for row in rows if row != WRITES or PGBENCH in peers]
    if options.rounds and not (options.rounds.isdigit() and int(options.rounds) > 0):
        parser.error(f"--rounds {options.rounds!r}: expected a number above zero")
    if WRITES in rows and writes.pgbench() is None:
        parser.error(
            "pgbench is missing (Debian has it in postgresql-contrib): leave it out of --peers, or install it"
        )
    rounds = int(options.rounds or (ROUNDS_TO_JUDGE if options.before else ROUNDS))
    limits = dict(options.limit)
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most_files, most_files)
    )  # a socket per client, here and there
    is_worse = False
    with tempfile.TemporaryDirectory(prefix="collab-bench-") as folder:
        trees = {"ours": working_tree(Path(folder, "now"))}
        before = ""
        if options.before:
            try:
                tree = commit_tree(options.before, Path(folder, "old"))
            except ValueError as error:
                parser.error(str(error))
            before = tree.name
            trees = {before: tree, **trees}
        for tree in trees.values():
            tree.compile()
        if {"node", "bun"} & set(peers):
            packages()  # now, if they are to be installed
        if scenarios := [row for row in rows if row != WRITES]:
            names = [*(peer for peer in peers if peer != PGBENCH), *trees]
            found = uvloop.run(run(names, trees, scenarios, rounds, limits))
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
            is_worse = _tell(found, names, before, rounds, is_written=options.write)
        if WRITES in rows:
            shown = writes.tell(trees, before, rounds, limits)
            print(f"\n{shown}")
            if options.write:
                put("writes", shown)
    return int(is_worse)


def _tell(found: Found, names: list[str], before: str, rounds: int, *, is_written: bool) -> bool:
    if names != [before, "ours"]:
        columns = [name for name in names if name != before]
        shown = f"{circumstances(peers_versions(names), rounds)}\n\n{report.peers_table(found, columns)}"
        print(f"\n{shown}")
        if is_written:
            put("fanout", shown)
    if not before:
        return False
    print(f"\n{report.before_table(found, before)}\n")
    is_worse, sentences = report.verdict(found, before)
    print("\n".join(sentences), flush=True)
    return is_worse


if __name__ == "__main__":
    raise SystemExit(main())
