"""Trainer / floor of this run beside the recorded: figures, verdicts, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from scipy import stats

from benchmarks.gate.command import LOST, REGRESSED, UNDECIDED, main
from benchmarks.gate.floors import loss, mean_of
from benchmarks.reading import Floor
from tests.benchmarks.bench_records import benchmark, floor, write_bench_record


@pytest.fixture
def clone(tmp_path):
    (tmp_path / "benchmarks/records").mkdir(parents=True)
    return tmp_path


def record(path: Path, ratio: float, half: float = 0.01, **extra) -> Path:
    return write_bench_record(
        path, benchmark(floors={"eager": floor(ratio, half)}, **extra)
    )


def recorded(clone: Path, name: str, ratio: float, half: float = 0.01) -> Path:
    return record(clone / "benchmarks/records" / f"{name}.json", ratio, half)


def gate(clone: Path, *records: Path, flags: tuple[str, ...] = ()) -> int:
    return main(["--floor", *map(str, records), *flags], root=clone)


@pytest.mark.parametrize(
    ("ratio", "half", "status", "verdict"),
    [
        (1.0, 0.01, 0, "no regression"),
        (1.5, 0.01, 0, "no regression"),
        (0.8, 0.01, REGRESSED, "regression"),
        (0.98, 0.0001, 0, "no regression"),  # it is there, and too small to matter
        (0.9, 0.5, UNDECIDED, "inconclusive"),
    ],
)
def test_verdicts(ratio, half, status, verdict, clone, capsys):
    recorded(clone, "good", 1.0, half)
    file = clone / "floors.json"
    flags = ("--fail-on-inconclusive", "--json", str(file))
    assert gate(clone, record(clone / "now.json", ratio, half), flags=flags) == status
    (found,) = json.loads(file.read_text())["floors"]
    assert found["verdict"] == verdict
    assert found["name"].endswith("test_step[pytorch-tiny-full-1] over eager")
    assert (found["now"], found["recorded"]) == pytest.approx((ratio, 1.0))
    assert found["loss"] == pytest.approx(1 / ratio)
    assert found["interval"][0] < 1 / ratio < found["interval"][1]
    assert verdict in capsys.readouterr().out


def test_several_processes_count_by_their_spread(clone, capsys):
    """Each is sure of itself, and they do not agree: so none is to be believed."""
    for number, ratio in enumerate([0.8, 1.0, 1.2]):
        recorded(clone, str(number), ratio, 0.001)
    now = [record(clone / f"{n}.json", r, 0.001) for n, r in enumerate([0.7, 0.9, 1.1])]
    assert gate(clone, *now, flags=("--fail-on-inconclusive",)) == UNDECIDED
    # One process each would have been convicted
    for path in (clone / "benchmarks/records").glob("[02].json"):
        path.unlink()
    assert gate(clone, now[0]) == REGRESSED


def test_the_loss_is_welchs():
    ratios = [1.02, 0.98, 1.01, 1.05], [0.90, 0.99, 0.93]
    there, here = (
        [Floor((1.0,) * 5, r, (r * 0.9999, r * 1.0001)) for r in those]
        for those in ratios
    )
    found = loss("it", here, there)
    test = stats.ttest_ind(*map(np.log, ratios), equal_var=False, alternative="greater")
    assert found.p_slower() == pytest.approx(test.pvalue, rel=1e-6)
    both = stats.ttest_ind(*map(np.log, ratios), equal_var=False)
    low, high = both.confidence_interval(0.95)
    assert found.interval() == pytest.approx((math.exp(low), math.exp(high)), rel=1e-6)


def test_one_process_counts_by_its_pairs():
    pairs = np.random.default_rng(0).normal(0.1, 0.05, 6)
    interval = stats.ttest_1samp(pairs, 0).confidence_interval(0.95)
    found = mean_of(
        [
            Floor(
                (1.0,) * 6,
                math.exp(pairs.mean()),
                (math.exp(interval.low), math.exp(interval.high)),
            )
        ]
    )
    assert found.error == pytest.approx(stats.sem(pairs))
    assert found.mean == pytest.approx(pairs.mean())
    assert found.freedom == 5


def test_what_is_recorded_and_not_run_is_lost(clone, capsys):
    recorded(clone, "good", 1.0)
    other = benchmark("flax", floors={"compiled": floor(1.1)})
    assert gate(clone, write_bench_record(clone / "now.json", other)) == LOST
    assert "lost: benchmarks/suite/test_training.py" in capsys.readouterr().out


def test_another_spec_is_not_compared(clone, capsys):
    recorded(clone, "good", 1.0)
    assert gate(clone, record(clone / "now.json", 0.5, spec_hash="bbbb")) == LOST
    assert "is not the recorded one: record it anew" in capsys.readouterr().out


def test_refusals(clone, capsys):
    def refused(*records: Path) -> str:
        with pytest.raises(SystemExit) as ended:
            gate(clone, *records)
        assert ended.value.code == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        return said

    good = recorded(clone, "good", 1.0)
    assert "has no record of Linux x86_64, 2 cores, 2 threads; it has: none" in (
        refused(good)  # not beside itself
    )
    other = write_bench_record(clone / "other.json", cores=1)
    said = refused(other)
    assert "no record of Linux x86_64, 1 core, 2 threads; it has: Linux" in said
    assert "several machines made them" in refused(good, other)
    plain = write_bench_record(clone / "plain.json")
    good.write_text(plain.read_text())
    assert "no benchmark of this run has a recorded floor" in refused(plain)
    assert "nowhere.json: No such file" in refused(clone / "nowhere.json")
