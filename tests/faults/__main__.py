"""Injects faults and reports: `make faults N=300 SEED=7`, or `python -m tests.faults --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from tests.faults.document import arranged, arranged_of, as_document, as_json
from tests.faults.report import as_text, summary, table, tallies
from tests.faults.run import READERS, WRITERS, run
from tests.faults.schedule import ARRANGEMENTS, BACK_IN_TIME, Arrangement, kinds_of, make_schedule
from tests.faults.stock_run import run_stock

SHOWN = 25


def main() -> int:
    """The exit status: 0 when nothing was found, and no node logged a bug."""
    options = _options()
    if options.report is not None:
        _report(options)
        return 0
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    arrangement: Arrangement = options.arrangement
    kinds: Sequence[str] = kinds_of(arrangement)
    if options.only:
        kinds = [kind for kind in kinds if any(word in kind for word in options.only)]
    if options.stock:  # it promises nothing about a database that goes back, and has nothing to tell it by
        kinds = [kind for kind in kinds if kind != BACK_IN_TIME]
    steps = make_schedule(seed, options.faults, kinds=kinds, nodes=1 if arrangement == "vertical" else 3)
    repeat = f"make faults N={options.faults} SEED={seed}"
    if arrangement != "nodes":
        repeat += f" ARRANGEMENT={arrangement}"
    print(f"{len(steps)} faults of {len(kinds)} kinds; to repeat: {repeat}", flush=True)
    logging.getLogger("engineio").setLevel(logging.CRITICAL)  # it prints what the faults do to its clients
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    how: dict[str, Any] = {"say": say, "pause_seconds": options.pause, "keep_folder": options.keep}
    if options.stock:
        outcome = asyncio.run(run_stock(steps, seed, **how))
    else:
        how |= {"readers": options.readers, "writers": options.writers, "arrangement": arrangement}
        how |= {"calm_seconds": options.calm}
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(run(steps, seed, plant=options.plant, **how))
    if options.save is not None:
        shown = f"--pause {options.pause:g} --calm {options.calm:g}"
        shown += f" --writers {options.writers} --readers {options.readers}"
        options.save.write_text(json.dumps(as_json(outcome, shown, arrangement)))
    print()
    print(as_text(table(tallies(outcome))))
    print()
    print(summary(outcome))
    for finding in outcome.findings[:SHOWN]:
        at = "" if finding.at is None else f" at {finding.at - began:.1f} s"
        print(f"  {finding.kind}{at}: {finding.what}")
    if len(outcome.findings) > SHOWN:
        print(f"  … and {len(outcome.findings) - SHOWN} more")
    if outcome.tracebacks:
        print(f"{len(outcome.tracebacks)} tracebacks in the nodes' logs:")
        for text in outcome.tracebacks[:SHOWN]:
            print(f"  {text}")
    is_bad = bool(outcome.findings or outcome.tracebacks)
    if is_bad:
        print(f"to repeat: {repeat}")
    return 1 if is_bad else 0


def _report(options: argparse.Namespace) -> None:
    before = options.report.read_text() if options.report.exists() else ""
    section = (
        arranged([json.loads(path.read_text()) for path in options.arranged])
        if options.arranged
        else arranged_of(before)
    )
    if options.ours:
        ours = [json.loads(path.read_text()) for path in options.ours]
        stock = json.loads(options.stock_run.read_text())
        options.report.write_text(as_document(ours, stock, section))
    else:
        options.report.write_text(before.replace(arranged_of(before), section))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=30, help="how many faults (default 30)")
    parser.add_argument("--seed", type=int, default=None, help="the seed; by default a new one")
    parser.add_argument(
        "--arrangement",
        choices=ARRANGEMENTS,
        default="nodes",
        help="three nodes with affinity (default), three of two workers without, or one of three without Redis",
    )
    parser.add_argument("--only", action="append", default=[], help="only kinds with this in their name")
    parser.add_argument(
        "--plant", default=None, help="a bug for the nodes to have: see plants/sitecustomize.py"
    )
    parser.add_argument("--stock", action="store_true", help="against the ready-made stack instead")
    parser.add_argument("--pause", type=float, default=0.2, help="mean pause of each writer, in seconds")
    parser.add_argument("--calm", type=float, default=0.0, help="more time between two faults, in seconds")
    parser.add_argument("--writers", type=int, default=len(WRITERS), help="how many write")
    parser.add_argument("--readers", type=int, default=READERS, help="how many read, 5 at least")
    parser.add_argument("--save", type=Path, default=None, help="write what the report needs into this file")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="MARKDOWN",
        help="only write this document, of the saved runs --ours and --stock-run, and --arranged",
    )
    parser.add_argument(
        "--arranged", type=Path, nargs="+", default=[], metavar="FILE", help="runs in another --arrangement"
    )
    parser.add_argument(
        "--ours", type=Path, nargs="+", default=[], metavar="FILE", help="runs saved by --save"
    )
    parser.add_argument("--stock-run", type=Path, metavar="FILE", help="a run saved by --stock --save")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
