"""What stands in records, and what a row of the report makes of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from scipy import stats

from benchmarks.reading import read_record
from benchmarks.report.history import histories, scalings
from benchmarks.report.rows import points_of, rows_of
from reference_trainers import InputError
from tests.benchmarks.bench_records import benchmark, floor, write_bench_record


def rows(*paths):
    points, _ = points_of([read_record(path) for path in paths])
    return rows_of(points)


def test_one_record_is_shown_as_it_stands(tmp_path):
    rounds = (0.4, 0.5, 0.6)
    path = write_bench_record(tmp_path / "a", benchmark(seconds=rounds, joules=8.0))
    (row,) = rows(path)
    values = {name: figure.value for name, figure in row.figures.items()}
    assert values == {
        "seconds": pytest.approx(0.5),
        "samples_per_second": 8.0,
        "tokens_per_second": 800.0,
        "flops_per_second": 2e9,
        "mfu": 0.02,
        "tokens_per_joule": 50.0,
        "peak_host_bytes": 3 * 2**20,
    }
    low, high = stats.ttest_1samp(rounds, 0).confidence_interval(0.95)
    assert row.figures["seconds"].interval == pytest.approx((low, high))
    slow, fast = 8 * 0.5 / high, 8 * 0.5 / low
    assert row.figures["samples_per_second"].interval == pytest.approx((slow, fast))
    assert row.figures["tokens_per_joule"].interval is None
    assert row.processes == 1


def test_several_processes_count_by_their_spread(tmp_path):
    times = [0.5, 0.6, 0.55]
    paths = [
        write_bench_record(tmp_path / f"{n}", benchmark(seconds=(time,) * 3), day=n)
        for n, time in enumerate(times, start=1)
    ]
    (row,) = rows(*paths)
    assert row.processes == 3
    test = stats.ttest_1samp(np.log(times), 0).confidence_interval(0.95)
    interval = (math.exp(test.low), math.exp(test.high))
    seconds = row.figures["seconds"]
    assert seconds.interval == pytest.approx(interval)
    assert seconds.value == pytest.approx(stats.gmean(times))
    speed = row.figures["samples_per_second"]
    assert speed.value == pytest.approx(4 / seconds.value)
    assert speed.interval == pytest.approx((4 / interval[1], 4 / interval[0]))


def test_a_floor_of_a_single_pair_has_no_interval(tmp_path):
    once = {"seconds": [0.1], "ratio": 1.2, "interval": [None, None]}
    path = write_bench_record(tmp_path / "one", benchmark(floors={"stock": once}))
    (row,) = rows(path)
    told = row.figures["floor_stock"]
    assert (told.value, told.interval) == (1.2, None)


def test_floors_are_shown_as_recorded_and_joined_over_processes(tmp_path):
    ratios = [1.1, 1.2, 1.15]
    paths = [
        write_bench_record(
            tmp_path / f"{n}", benchmark(floors={"eager": floor(ratio, 0.001)}), day=n
        )
        for n, ratio in enumerate(ratios, start=1)
    ]
    (row,) = rows(paths[0])
    told = row.figures["floor_eager"]
    assert (told.value, told.interval) == (1.1, (1.1 * 0.999, 1.1 * 1.001))
    (row,) = rows(*paths)
    test = stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    joint = row.figures["floor_eager"]
    assert joint.value == pytest.approx(stats.gmean(ratios))
    assert joint.interval == pytest.approx((math.exp(test.low), math.exp(test.high)))


def test_only_the_newest_commit_counts(tmp_path):
    old = write_bench_record(tmp_path / "a", benchmark(seconds=(9.0,)), commit="old")
    new = write_bench_record(tmp_path / "b", benchmark(), day=2, commit="new")
    (row,) = rows(new, old)
    assert (row.processes, row.commit) == (1, "new")
    # Without a commit nobody knows that two records are of one version
    for path in (old, new):
        path.write_text(path.read_text().replace(f'"{path.name}"', "null"))
    unknown = [
        write_bench_record(tmp_path / f"{n}", day=n, commit=None) for n in (3, 4)
    ]
    assert [row.processes for row in rows(*unknown)] == [1]


def test_what_was_not_told_is_missing(tmp_path):
    bare = benchmark(samples=None, flops=None, flops_per_second=None, mfu=None)
    (row,) = rows(write_bench_record(tmp_path / "a", bare))
    assert set(row.figures) == {"seconds", "peak_host_bytes"}
    single = benchmark(seconds=(0.5,))
    (row,) = rows(write_bench_record(tmp_path / "b", single))
    assert row.figures["seconds"].interval is None
    assert row.figures["samples_per_second"].interval is None


def test_devices_are_beside_the_fewest(tmp_path):
    made = [
        benchmark(seconds=(time,) * 3, devices=devices, batch=4 * devices, samples=8)
        for devices, time in [(2, 1.0), (4, 0.625), (8, 0.5)]
    ]
    (scaling,) = scalings(rows(write_bench_record(tmp_path / "a", *made)))
    told = [(s.row.devices, s.speed_up, s.ideal, s.efficiency) for s in scaling.steps]
    assert told == [
        (2, 1.0, 1.0, 1.0),
        (4, pytest.approx(1.6), 2.0, pytest.approx(0.8)),
        (8, pytest.approx(2.0), 4.0, pytest.approx(0.5)),
    ]
    assert scalings(rows(write_bench_record(tmp_path / "b", made[0]))) == []


def test_a_history_has_its_steps_and_ends_where_versions_change(tmp_path):
    paths = [
        write_bench_record(
            tmp_path / f"{day}",
            benchmark(seconds=((0.5 if day < 6 else 0.6) + day / 1e4,)),
            day=day,
            commit=f"c{day}",
            versions={"torch": "2" if day < 11 else "3"},
        )
        for day in range(1, 13)
    ]
    points, versions = points_of([read_record(path) for path in reversed(paths)])
    assert versions == [{"torch": "2"}, {"torch": "3"}]
    whole, rest = histories(points, across_versions=False)
    assert [len(whole.points), len(rest.points)] == [10, 2]
    (change,) = whole.changes
    assert (change.at.commit, rest.changes) == ("c6", ())
    assert change.ratio == pytest.approx(0.6008 / 0.5003)
    (whole,) = histories(points, across_versions=True)
    assert len(whole.points) == 12


# ---- bad records --------------------------------------------------------------------


def broken(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def extra(key, value):
    return lambda content: content["benchmarks"][0]["extra_info"].update({key: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.clear(), "this is no record of benchmarks"),
        (lambda c: c["benchmarks"].clear(), "no benchmark was run"),
        (lambda c: c.pop("machine_info"), "has no machine_info"),
        (lambda c: c["machine_info"].pop("kind"), "machine_info has no kind"),
        (lambda c: c["machine_info"].update(cores="2"), "cores is '2'"),
        (lambda c: c.update(datetime="today"), "datetime is 'today'"),
        (lambda c: c["benchmarks"][0].pop("fullname"), "benchmark 1 has no fullname"),
        (lambda c: c["benchmarks"][0]["stats"].update(data=[0]), "no list of seconds"),
        (lambda c: c["benchmarks"][0]["stats"].pop("data"), "no list of seconds"),
        (lambda c: c["benchmarks"][0].pop("extra_info"), "has no extra_info"),
        (lambda c: c["benchmarks"][0]["extra_info"].pop("what"), "has no what"),
        (extra("mfu", -1), "mfu is -1, and no number from 0"),
        (extra("mfu", "much"), "mfu is 'much'"),
        (extra("mfu", float("nan")), "mfu is nan"),
        (extra("devices", 0), "devices is 0, and no whole number"),
        (extra("floors", [1]), "floors is no table"),
        (extra("floors", {"eager": {**floor(1.0), "ratio": 0}}), "no ratio above 0"),
        (extra("floors", {"eager": {**floor(1.0), "ratio": 3}}), "lies outside"),
        (extra("floors", {"eager": {**floor(1.0), "seconds": []}}), "list of seconds"),
    ],
)
def test_a_bad_record_is_one_sentence(change, said, tmp_path):
    path = write_bench_record(tmp_path / "bad.json")
    broken(path, change)
    with pytest.raises(InputError) as refused:
        read_record(path)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_no_record_at_all(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: No such file"):
        read_record(tmp_path / "nowhere")
    (tmp_path / "text").write_text("{")
    with pytest.raises(InputError, match="this is no JSON"):
        read_record(tmp_path / "text")


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ({}, "Linux x86_64, 2 cores, 2 threads"),
        ({"cores": 1, "threads": 1}, "Linux x86_64, 1 core, 1 thread"),
        ({"kind": "EPYC, 2 cores", "threads": None}, "EPYC, 2 cores"),
        ({"threads": {"B": "2", "A": "1"}}, "Linux x86_64, 2 cores, A=1 B=2"),
    ],
)
def test_a_machine_has_a_name(machine, name, tmp_path):
    path = write_bench_record(tmp_path / "a", **machine)
    assert read_record(path).machine.name == name
