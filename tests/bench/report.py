"""What a run found, in tables and sentences: against the peers, and against the commit before."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tests.bench.verdict import Comparison, compare

Found = dict[str, dict[str, list[dict[str, float]]]]
"""scenario → setup → the figures of each round"""

JUDGED = ("us", "KiB")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a scenario, and the goals as ratios to Node and to Bun: at most, of a rate at least."""

    scenario: str
    figure: str
    what: str
    node_goal: float | None = None
    bun_goal: float | None = None

    @property
    def is_judged(self) -> bool:
        """Processor time and memory of a node: what a busy machine moves least."""
        return self.figure in JUDGED

    @property
    def sign(self) -> str:
        """How a goal is to be read."""
        return "≥" if self.figure == "rate" else "≤"


ROWS = [
    Row("s100", "us", "CPU us per delivery, 10 topics of 100, 8 publishes under way", 0.7, 0.8),
    Row("wide", "us", "CPU us per delivery, 50 topics of 100, 8 under way", 0.7, 0.9),
    Row("s1000", "us", "CPU us per delivery, a topic of 1000, 4 under way", 0.7, 0.5),
    Row("hot", "us", "CPU us per delivery, a topic of 100, 32 under way", 0.3, 0.2),
    Row("polling", "us", "CPU us per polling delivery, a topic of 100, 2 under way", 1.0, 0.9),
    Row("add", "us", "CPU us per comment.add, 16 writers, 64 topics"),
    Row("idle", "KiB", "memory per idle websocket, KiB, 3000 clients", 0.75, 0.4),
    Row("rest", "KiB", "memory of a node nobody is connected to, KiB"),
    Row("import", "us", "CPU us of importing a node"),
    Row("connects", "rate", "connects/s, polling first, then the upgrade", 1.0, 1.0),
    Row("connects", "us", "CPU us per such connect", 1.0, 1.2),
    Row("websocket", "rate", "connects/s, websocket", 1.0, 0.7),
    Row("websocket", "us", "CPU us per websocket connect", 1.0, 1.5),
    Row("stalled", "KiB", "KiB for each of 40 clients that have stopped reading, 24 MB of events later", 0.1),
    Row("stalled", "p99", "p99 ms, a client that reads beside them"),
    Row("s100", "p99", "p99 ms, 10 topics of 100", 1.0, 1.2),
    Row("wide", "p99", "p99 ms, 50 topics of 100"),
    Row("s1000", "p99", "p99 ms, a topic of 1000", 1.0, 1.0),
    Row("hot", "p99", "p99 ms, hot topic", 1.0, 1.0),
    Row("polling", "p99", "p99 ms, polling", 1.0, 1.0),
    Row("add", "rate", "comment.add/s, 16 writers, 64 topics"),
    Row("add", "p99", "p99 ms, comment.add, 16 writers, 64 topics"),
    Row("s100", "generator us", "the generator's own CPU us per delivery, 10 topics of 100"),
]


def figures(found: Found, row: Row, setup: str) -> list[float]:
    """A row's figure in each round; empty if this setup does not have it."""
    return [run[row.figure] for run in found.get(row.scenario, {}).get(setup, []) if row.figure in run]


def pairs(found: Found, row: Row, theirs: str, mine: str) -> tuple[list[float], list[float]]:
    """A row's figures of two setups, of the rounds in which both have it."""
    setups = found.get(row.scenario, {})
    both = [
        (a[row.figure], b[row.figure])
        for a, b in zip(setups.get(theirs, []), setups.get(mine, []), strict=True)
        if row.figure in a and row.figure in b
    ]
    return [a for a, _ in both], [b for _, b in both]


def peers_table(found: Found, setups: list[str]) -> str:
    """A Markdown table: the median of each setup with its range, and ours as a ratio to Node's and to Bun's."""
    against = [peer for peer in ("node", "bun") if peer in setups and "ours" in setups]
    titles = ["figure", *setups, *(f"ours / {peer} (goal)" for peer in against)]
    lines = [_line(titles), "|" + "---|" * len(titles)]
    for row in ROWS:
        cells = [_cell(figures(found, row, setup)) for setup in setups]
        if any(cells):
            ratios = [_to_peer(found, row, peer) for peer in against]
            lines.append(_line([row.what, *cells, *ratios]))
    return "\n".join(lines)


def _to_peer(found: Found, row: Row, peer: str) -> str:
    theirs, mine = pairs(found, row, peer, "ours")
    if not theirs:
        return ""
    goal = row.node_goal if peer == "node" else row.bun_goal
    ratio = statistics.median(b / a for a, b in zip(theirs, mine, strict=True))
    return f"**{ratio:.2f}**" + (f" ({row.sign} {goal:g})" if goal is not None else "")


def comparisons(found: Found, before: str) -> dict[Row, Comparison]:
    """Every row that both trees have."""
    both = {row: pairs(found, row, before, "ours") for row in ROWS}
    return {row: compare(theirs, mine) for row, (theirs, mine) in both.items() if theirs}


def before_table(found: Found, before: str) -> str:
    """A Markdown table: before, now, the median of the paired ratios with its interval, and the verdict."""
    lines = [_line(["figure", before, "now", "now / before", "90 % interval", "verdict"]), "|" + "---|" * 6]
    for row, seen in comparisons(found, before).items():
        verdict = seen.words if row.is_judged else "reported"
        cells = [_cell(figures(found, row, setup)) for setup in (before, "ours")]
        between = f"{seen.low:.3f}..{seen.high:.3f}"
        lines.append(_line([row.what, *cells, f"**{seen.median:.3f}**", between, verdict]))
    return "\n".join(lines)


def verdict(found: Found, before: str) -> tuple[bool, list[str]]:
    """Whether a judged row is worse, and what there is to say in sentences."""
    judged = {row: seen for row, seen in comparisons(found, before).items() if row.is_judged}
    worse = [
        f"Worse than {before}: {row.what}: {seen.median:.3f} times as much"
        f" (90 % interval {seen.low:.3f} to {seen.high:.3f})."
        for row, seen in judged.items()
        if seen.is_worse
    ]
    if worse:
        return True, worse
    rounds = max((seen.rounds for seen in judged.values()), default=0)
    if not all(seen.can_be_judged for seen in judged.values()):
        return False, [f"{rounds} rounds are not enough to judge: at least 7 are needed."]
    unclear = sum(seen.is_unclear for seen in judged.values())
    more = f" {unclear} of them are unclear: more ROUNDS would tell." if unclear else ""
    return False, [f"None of {len(judged)} judged rows is worse than {before}.{more}"]


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return f"{_shown(statistics.median(values))} ({_shown(min(values))}..{_shown(max(values))})"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
