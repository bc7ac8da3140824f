"""What a run brought, as a table a person reads."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tests.faults.checker import KINDS
from tests.faults.run import Interval, Outcome

OTHER_TIMES = "between faults"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]


def table(outcome: Outcome) -> list[list[str]]:
    """Header, a row per kind of fault, a row for the times between, and a last one for all."""
    by_kind: dict[str, list[Interval]] = defaultdict(list)
    for interval in outcome.intervals:
        by_kind[interval.step.kind].append(interval)
    acknowledged = Counter(
        _kind_at(outcome.intervals, write.acknowledged_at)
        for write in outcome.history.writes
        if write.acknowledged_at is not None
    )
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for finding in outcome.findings:
        found[_kind_at(outcome.intervals, finding.at)][finding.kind] += 1

    answered, delivered, cut = (
        _by_kind(outcome.intervals, timed)
        for timed in (outcome.answered, outcome.delivered, [(at, 0.0) for at in outcome.lost_at])
    )

    def row(name: str, intervals: Sequence[Interval], acked: int, findings: Counter[str]) -> list[str]:
        lost, doubled = (
            findings["lost"] + findings["undelivered"],
            findings["doubled"] + findings["delivered twice"],
        )
        other = sum(findings.values()) - lost - doubled - findings["out of order"] - findings["phantom"]
        heals = [interval.heal_seconds for interval in intervals if interval.heal_seconds is not None]
        return [
            name,
            str(len(intervals) or ""),
            str(acked),
            str(lost),
            str(doubled),
            str(findings["out of order"]),
            str(findings["phantom"]),
            str(other),
            *_p50_and_p99(heals),
            *_p50_and_p99(answered[name])[1:],
            *_p50_and_p99(delivered[name])[1:],
            str(len(cut[name])),
        ]

    rows = [
        [
            "fault",
            "count",
            "acknowledged",
            "lost",
            "doubled",
            "out of order",
            "phantom",
            "other",
            "heal p50 s",
            "heal p99 s",
            "answer p99 s",
            "late p99 s",
            "cut",
        ]
    ]
    for kind in sorted(by_kind):
        rows.append(row(kind, by_kind[kind], acknowledged[kind], found[kind]))
    rows.append(row(OTHER_TIMES, (), acknowledged[OTHER_TIMES], found[OTHER_TIMES]))
    for timed in (answered, delivered, cut):
        timed["all"] = [seconds for of_kind in timed.values() for seconds in of_kind]
    rows.append(row("all", outcome.intervals, acknowledged.total(), sum(found.values(), Counter())))
    return rows


def _by_kind(intervals: Sequence[Interval], timed: Iterable[tuple[float, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for at, seconds in timed:
        found[_kind_at(intervals, at)].append(seconds)
    return found


def _p50_and_p99(values: Sequence[float]) -> list[str]:
    return [f"{percentile(values, share):.2f}" if values else "" for share in (0.5, 0.99)]


def _kind_at(intervals: Sequence[Interval], at: float | None) -> str:
    if at is not None:
        last = bisect_right(intervals, at, key=lambda interval: interval.began_at) - 1
        healed_at = intervals[last].healed_at if last >= 0 else 0.0
        if healed_at is None or at < healed_at:
            return intervals[last].step.kind
    return OTHER_TIMES


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    header, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([header, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *others])


def summary(outcome: Outcome) -> str:
    """The run in some lines."""
    found = Counter(finding.kind for finding in outcome.findings)
    lines = [
        f"seed {outcome.seed}: {len(outcome.intervals)} faults in {outcome.seconds:.0f} s, "
        f"{len(outcome.history.writes)} writes, {outcome.acknowledged} acknowledged, "
        f"{outcome.deliveries} events read over {outcome.connections} connections",
        "what writers met on the way: "
        + (", ".join(f"{name} {count}" for name, count in outcome.trouble.most_common()) or "nothing"),
        "findings: " + (", ".join(f"{kind} {found[kind]}" for kind in KINDS if found[kind]) or "none"),
    ]
    return "\n".join(lines)
