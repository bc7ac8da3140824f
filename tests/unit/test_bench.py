"""What `make bench` says of figures: who is dearer, against what, and that a commit is served by its own code."""

import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from collab_server.config import Config
from collab_server.web import CLIENTS, STATIC
from tests.bench import __main__ as bench
from tests.bench import report
from tests.bench.scenarios import Sample
from tests.bench.setups import NO_END, ROOT, SCRIPTS, Tree, busy_seconds, commit_tree, working_tree
from tests.bench.verdict import ROUNDS_TO_JUDGE, compare, interval
from tests.bench.writes import SECONDS, WARM_SECONDS, warm_latencies

WORLDS = 200
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="Git is not installed")


def measured(chance: random.Random, times: float, *, rounds: int, noise: float = 0.03) -> list[list[float]]:
    """Figures before and now, as a shared machine gives them: both of a round drift together, by a quarter and more,
    each has noise of its own, and one run in thirty is a third dearer than it should be."""
    before: list[float] = []
    now: list[float] = []
    for _ in range(rounds):
        drift = chance.lognormvariate(0, 0.25)
        for figures, cost in ((before, 13.0), (now, 13.0 * times)):
            accident = 1.33 if chance.random() < 1 / 30 else 1.0
            figures.append(cost * drift * chance.lognormvariate(0, noise) * accident)
    return [before, now]


def share_worse(times: float, *, rounds: int = ROUNDS_TO_JUDGE, noise: float = 0.03) -> float:
    verdicts = []
    for seed in range(WORLDS):
        verdicts.append(compare(*measured(random.Random(seed), times, rounds=rounds, noise=noise)).is_worse)
    return sum(verdicts) / WORLDS


def test_a_commit_that_is_8_percent_dearer_is_found() -> None:
    """In seven rounds where single figures are good to 1.5 %, in more where they are worse."""
    assert share_worse(1.08, noise=0.015) > 0.95
    assert share_worse(1.08, rounds=21) > 0.95


def test_an_equal_commit_is_not_called_worse() -> None:
    assert share_worse(1.0) < 0.01
    assert share_worse(1.0, rounds=15, noise=0.06) < 0.05


def test_a_cheaper_commit_is_never_called_worse() -> None:
    assert share_worse(0.9) == 0


def test_a_difference_that_is_tolerated_is_not_called_worse_however_sure_it_is() -> None:
    assert share_worse(1.03, rounds=31, noise=0.005) == 0


def test_drift_of_the_machine_alone_is_not_called_worse() -> None:
    """Figures twice as high in the second half of the run, for both."""
    seen = compare([10, 10, 10, 20, 20, 20, 20], [10, 10, 10, 20, 20, 20, 20])
    assert (seen.median, seen.low, seen.high, seen.is_worse) == (1, 1, 1, False)


@pytest.mark.parametrize("rounds", range(1, ROUNDS_TO_JUDGE))
def test_too_few_rounds_are_not_judged(rounds: int) -> None:
    seen = compare([1.0] * rounds, [2.0] * rounds)
    assert not seen.can_be_judged
    assert not seen.is_worse
    assert "not judged" in seen.words


def test_dear_in_the_median_but_not_surely_is_not_worse_and_said_to_be_unclear() -> None:
    seen = compare([1.0] * 7, [0.9, 0.95, 0.99, 1.1, 1.2, 1.2, 1.3])
    assert seen.median > 1.05
    assert not seen.is_worse
    assert seen.is_unclear


@pytest.mark.parametrize("rounds", [5, 7, 15])
def test_the_interval_holds_the_true_median_nine_times_in_ten(rounds: int) -> None:
    chance = random.Random(rounds)
    hits = 0
    for _ in range(2000):
        low, high = interval([chance.lognormvariate(0, 0.1) for _ in range(rounds)])
        hits += low <= 1 <= high
    assert 0.87 < hits / 2000 < 0.94


def test_the_interval_lies_within_the_values_and_around_their_median() -> None:
    values = [random.Random(3).random() for _ in range(4)] + [0.1, 0.9, 0.5]
    low, high = interval(values)
    assert min(values) <= low <= statistics.median(values) <= high <= max(values)
    assert interval([1.0]) == (1.0, 1.0)


@pytest.mark.parametrize(("before", "now"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_figures_that_have_no_ratio_are_refused(before: list[float], now: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pair|above zero"):
        compare(before, now)


def found(times: float, rounds: int = 7) -> report.Found:
    def runs(us: float) -> list[dict[str, float]]:
        return [{"us": us + number / 100, "p99": us * 2} for number in range(rounds)]

    return {"s100": {"abc": runs(10), "ours": runs(10 * times)}, "hot": {"abc": runs(2), "ours": runs(2)}}


def test_a_judged_row_that_is_worse_is_said_in_a_sentence() -> None:
    is_worse, sentences = report.verdict(found(1.08), "abc")
    assert is_worse
    assert sentences[0].startswith("Worse than abc: CPU us per delivery, 10 topics of 100")
    assert len(sentences) == 1
    assert "**worse**" in report.before_table(found(1.08), "abc")


def test_equal_rows_and_too_few_rounds_are_not_worse() -> None:
    assert report.verdict(found(1.0), "abc") == (False, ["None of 2 judged rows is worse than abc."])
    is_worse, sentences = report.verdict(found(3.0, rounds=6), "abc")
    assert not is_worse
    assert "not enough to judge" in sentences[0]


def test_latencies_and_rates_are_reported_and_not_judged() -> None:
    slow = {"add": {"abc": [{"p99": 1.0, "rate": 9.0}] * 7, "ours": [{"p99": 5.0, "rate": 1.0}] * 7}}
    assert not report.verdict(slow, "abc")[0]
    assert report.before_table(slow, "abc").count("| reported |") == 2


def test_slices_count_by_what_they_delivered() -> None:
    both = Sample(100, 0.001, 1.0, waited=[0.2]) + Sample(300, 0.001, 1.0, waited=[0.1])
    assert both.figures()["us"] == pytest.approx(5)
    assert both.figures()["rate"] == 200
    assert both.waited == [0.1, 0.2]


def test_the_processor_time_of_a_process_is_read() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        first = busy_seconds(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert 0 <= first < 60


def log(clients: dict[int, tuple[float, float]], until: float) -> list[str]:
    """pgbench's log: each client's commits, the first at a time and then one in so many seconds."""
    lines = []
    for client, (first, every) in clients.items():
        count = int((until - first) / every) + 1
        for number in range(count):
            at = first + number * every
            lines.append(f"{client} {number} {int(every * 1e6)} 0 {int(at)} {int(at % 1 * 1e6)}")
    return lines


def test_pgbench_is_counted_from_when_all_its_clients_are_warm() -> None:
    """The second client connects 3 s after the first: nothing before its second commit counts, nor is missed."""
    latencies = warm_latencies(log({0: (10.0, 0.01), 1: (13.0, 0.02)}, 30.0), 2)
    assert latencies is not None
    assert len(latencies) / SECONDS == pytest.approx(150, rel=0.01)
    assert set(latencies) == {10.0, 20.0}


def test_a_run_of_pgbench_that_ends_before_all_are_warm_is_not_counted() -> None:
    assert warm_latencies(log({0: (10.0, 0.01)}, 30.0), 2) is None
    assert warm_latencies(log({0: (10.0, 0.01), 1: (15.0, 0.01)}, 15.0 + SECONDS), 2) is None
    assert warm_latencies(log({0: (10.0, 0.01)}, 10.0 + WARM_SECONDS + SECONDS / 2), 1) is None


def test_every_limit_on_connections_and_rates_is_out_of_the_loads_way() -> None:
    """One person at one address makes the whole load: a new limit of this kind belongs into `NO_END`."""
    limits = Config.model_fields["limits"].annotation
    assert limits is not None
    words = ("connectionsPer", "PerSecond", "PerMinute", "Burst", "PerAddress", "handshakes")
    in_the_way = {name for name in limits.model_fields if any(word in name for word in words)}
    assert in_the_way - {"topicsPerConnection"} <= set(NO_END)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits; what the second says is changed again, and not committed."""
    folder = tmp_path / "repository"
    package, migrations = folder / "collab_server", folder / "migrations"
    package.mkdir(parents=True)
    migrations.mkdir()

    def git(*arguments: str) -> None:
        names = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        subprocess.run(["git", *names, "-C", folder, *arguments], check=True, capture_output=True)

    git("init")
    for number, text in enumerate(["VERSION = 'old'", "VERSION = 'new'"], 1):
        (package / "__init__.py").write_text(text)
        (migrations / f"000{number}_words.sql").write_text("-- migrate:up")
        git("add", ".")
        git("commit", "-m", "One more")
    (package / "__init__.py").write_text("VERSION = 'not committed'")
    return folder


@needs_git
def test_a_commit_and_the_working_tree_are_laid_out_as_they_are(repository: Path, tmp_path: Path) -> None:
    old = commit_tree("HEAD~1", tmp_path / "old", repository=repository)
    now = working_tree(tmp_path / "now", repository=repository)
    assert "old" in (old.folder / "collab_server" / "__init__.py").read_text()
    assert old.migrations == ["0001"]
    assert "not committed" in (now.folder / "collab_server" / "__init__.py").read_text()
    assert now.migrations == ["0001", "0002"]


def test_the_working_tree_is_laid_out_with_all_that_a_node_serves(tmp_path: Path) -> None:
    folder = working_tree(tmp_path / "now").folder
    assert all((folder / place.relative_to(ROOT)).is_dir() for place in [STATIC, *CLIENTS.values()])


def served(tree: Path, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(SCRIPTS / "served.py"), str(tree), "--version"]
    environ = Tree("some", path).environ()
    return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tree, timeout=60)


@needs_git
def test_a_node_serves_the_tree_it_was_told_and_no_other(repository: Path, tmp_path: Path) -> None:
    old = commit_tree("HEAD~1", tmp_path / "old", repository=repository).folder
    assert served(old, old).returncode == 0
    wrong = served(old, tmp_path / "missing")  # the environment's own collab_server would answer
    assert wrong.returncode == 1
    assert "was to be served" in wrong.stderr


def test_without_git_a_commit_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as left:
        bench.main(["--before", "HEAD", "--peers", "none"])
    assert left.value.code == 2
    assert "Git is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            ["--before", "no-such-commit", "--peers", "none"],
            "is no commit of this repository",
            marks=needs_git,
        ),
        (["--rows", "s100,s10"], "there is no row 's10'"),
        (["--peers", "deno"], "there is no peer 'deno'"),
        (["--rounds", "0"], "expected a number above zero"),
        (["--limit", "many"], "expected NAME=NUMBER"),
    ],
)
def test_a_wrong_command_line_is_refused_in_words(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        bench.main(arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("times", "status", "said"), [(1.08, 1, "Worse than abc"), (1.0, 0, "None of 2 judged rows")]
)
def test_the_command_ends_with_1_where_a_row_is_worse(
    times: float,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def run(names: list[str], *_: object) -> report.Found:
        assert names == ["abc", "ours"]
        return found(times)

    (tmp_path / "collab_server").mkdir()
    monkeypatch.setattr(bench, "commit_tree", lambda *_: Tree("abc", tmp_path))
    monkeypatch.setattr(bench, "working_tree", lambda *_: Tree("ours", tmp_path))
    monkeypatch.setattr(bench, "run", run)
    assert bench.main(["--before", "abc", "--peers", ""]) == status
    assert said in capsys.readouterr().out
