"""What a run brought, as numbers that can be added to those of other runs, and as a table a person reads."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tests.faults.checker import KINDS
from tests.faults.run import Interval, Outcome

OTHER_TIMES = "between faults"


@dataclass(slots=True)
class Tally:
    """What came of one kind of fault. Times are counted in milliseconds: how many took so long."""

    count: int = 0
    acknowledged: int = 0
    cut: int = 0
    found: Counter[str] = field(default_factory=Counter)
    healed: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    late: Counter[int] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count another's in."""
        self.count += other.count
        self.acknowledged += other.acknowledged
        self.cut += other.cut
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        counters = {name: sorted(getattr(self, name).items()) for name in _COUNTERS}
        return {"count": self.count, "acknowledged": self.acknowledged, "cut": self.cut, **counters}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The reverse."""
        counters = {name: Counter(dict(values[name])) for name in _COUNTERS}
        return cls(values["count"], values["acknowledged"], values["cut"], **counters)


_COUNTERS = ("found", "healed", "answered", "late")


def percentile(milliseconds: Counter[int], share: float) -> float | None:
    """The smallest of the counted times, in seconds, that at least `share` of all do not exceed; None without any."""
    needed, passed = share * milliseconds.total(), 0
    for value in sorted(milliseconds):
        passed += milliseconds[value]
        if passed >= needed - 1e-9:
            return value / 1000
    return None


def tallies(outcome: Outcome) -> dict[str, Tally]:
    """By kind of fault, in order, those of the times between the faults last."""
    found: dict[str, Tally] = defaultdict(Tally)
    intervals = outcome.intervals
    for interval in intervals:
        tally = found[interval.step.kind]
        tally.count += 1
        if interval.heal_seconds is not None:
            tally.healed[round(interval.heal_seconds * 1000)] += 1
    for write in outcome.history.writes:
        if write.acknowledged_at is not None:
            found[_kind_at(intervals, write.acknowledged_at)].acknowledged += 1
    for finding in outcome.findings:
        found[_kind_at(intervals, finding.at)].found[finding.kind] += 1
    for at, seconds in outcome.answered:
        found[_kind_at(intervals, at)].answered[round(seconds * 1000)] += 1
    for at, seconds in outcome.delivered:
        found[_kind_at(intervals, at)].late[round(seconds * 1000)] += 1
    for at in outcome.lost_at:
        found[_kind_at(intervals, at)].cut += 1
    between = found.pop(OTHER_TIMES, Tally())
    return {**dict(sorted(found.items())), OTHER_TIMES: between}


def together(runs: Iterable[Mapping[str, Tally]]) -> dict[str, Tally]:
    """The tallies of several runs as those of one."""
    found: dict[str, Tally] = defaultdict(Tally)
    for run in runs:
        for kind, tally in run.items():
            found[kind].add(tally)
    between = found.pop(OTHER_TIMES, Tally())
    return {**dict(sorted(found.items())), OTHER_TIMES: between}


def total(found: Mapping[str, Tally]) -> Tally:
    """All of them as one."""
    sum_of_all = Tally()
    for tally in found.values():
        sum_of_all.add(tally)
    return sum_of_all


_HEADER = [
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


def table(found: Mapping[str, Tally]) -> list[list[str]]:
    """Header, a row per kind of fault, a row for the times between, and a last one for all."""
    return rows_of([*found.items(), ("all", total(found))], "fault")


def rows_of(found: Iterable[tuple[str, Tally]], of: str) -> list[list[str]]:
    """Header, and a row for each; `of` is what stands above their names."""
    return [[of, *_HEADER], *(_row(name, tally) for name, tally in found)]


def _row(name: str, tally: Tally) -> list[str]:
    found = tally.found
    lost, doubled = found["lost"] + found["undelivered"], found["doubled"] + found["delivered twice"]
    other = sum(found.values()) - lost - doubled - found["out of order"] - found["phantom"]
    return [
        name,
        str(tally.count or ""),
        str(tally.acknowledged),
        str(lost),
        str(doubled),
        str(found["out of order"]),
        str(found["phantom"]),
        str(other),
        _seconds(percentile(tally.healed, 0.5)),
        _seconds(percentile(tally.healed, 0.99)),
        _seconds(percentile(tally.answered, 0.99)),
        _seconds(percentile(tally.late, 0.99)),
        str(tally.cut),
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


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
