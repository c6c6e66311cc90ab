"""Memory stays flat, and a run starts as soon, however many rows there are.

pytest tests/test_memory.py -m slow -s
"""

from __future__ import annotations

import csv
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.models import tiny_t5
from fixtures.texts import ragged_rows
from reference_trainers.registry import find_trainer, listed
from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec
from reference_trainers.spec_file import flags_of_dict

pytestmark = pytest.mark.slow
FEW, MANY = 2_000, 200_000
MORE_MEMORY = 300e6  # bytes above the same run over few rows
PAIRS = 7
SLOWER = 1.5  # the slack of a busy machine; a walk through all rows takes many times it


@dataclass(frozen=True)
class Place:
    """Two files of rows, a model, and the cache that the first runs filled."""

    top: Path
    trainer: str
    peaks: dict[int, int]
    """Largest resident size of all processes together in the first run, by rows."""

    def flags(self, rows, steps, output):
        return {
            "model_name_or_path": str(self.top / "model"),
            "train_file": str(self.top / f"{rows}.csv"),
            "output_dir": str(self.top / output),
            "cache_dir": str(self.top / "cache"),
            "overwrite_output_dir": True,
            "do_train": True,
            "max_steps": steps,
            "max_source_length": 64,
            "max_target_length": 16,
            "preprocessing_num_workers": 2,
            "save_strategy": "no",
            "use_cpu": True,
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("not run: this system does not say what a process holds")
    able = [found.name for found in listed() if found.runs_here]
    if not able:
        pytest.skip("not run: no trainer can run here")
    trainer = "accelerate" if "accelerate" in able else able[0]
    place = Place(tmp_path_factory.mktemp("memory"), trainer, {})
    tiny_t5(place.top / "model", dropout_rate=0.0)
    for rows in (FEW, MANY):
        write_rows(place.top / f"{rows}.csv", rows)
        arguments = flags_of_dict(place.flags(rows, 20, f"first_{rows}"))
        program = ["-m", "reference_trainers", "--trainer", trainer]
        place.peaks[rows] = peak_of([sys.executable, *program, *arguments])
        report = RunReport.read(place.top / f"first_{rows}")
        assert report.splits["train"].rows == rows and len(report.steps) == 20
    return place


def write_rows(path, count):
    """Rows that all differ, from a thousand texts."""
    texts = ragged_rows(1000)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "summary"])
        for number in range(count):
            row = texts[number % len(texts)]
            writer.writerow([f"{number} {row['text']}", f"{number} {row['summary']}"])


def peak_of(command):
    """The largest resident size of a command and all its children, in bytes."""
    peak = 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(map(resident, tree(process.pid))))
        time.sleep(0.1)
    assert process.returncode == 0
    return peak


def tree(top):
    """The process numbers of a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [top]
    for process in found:  # grows while it is walked through
        found += children.get(process, [])
    return found


def resident(process):
    """Resident size, a page that n processes share counted as 1/n; in bytes."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (ProcessLookupError, FileNotFoundError):  # it has just ended
        return 0
    return sum(1024 * int(size) for size in re.findall(r"^Pss: +(\d+) kB", text, re.M))


def test_memory_does_not_grow_with_the_rows(place):
    """200,000 rows take at most 300 MB more than 2,000: two workers, twenty steps."""
    few, many = place.peaks[FEW], place.peaks[MANY]
    print(f"peak: {few / 1e6:.0f} MB over {FEW} rows, {many / 1e6:.0f} MB over {MANY}")
    assert few > 100e6, "the measurement misses most of the run"
    assert many - few <= MORE_MEMORY


def test_first_step_comes_as_soon_with_many_rows(place):
    """Once rows are in the cache, the time to the first step does not grow."""
    trainer = find_trainer(place.trainer)

    def seconds(rows):
        spec = TrainingSpec(**place.flags(rows, 1, "again"))
        started = time.perf_counter()
        trainer.run(spec)
        return time.perf_counter() - started

    seconds(FEW), seconds(MANY)  # libraries load and files reach memory
    pairs = [(seconds(FEW), seconds(MANY)) for _ in range(PAIRS)]
    few, many = map(statistics.median, zip(*pairs, strict=True))
    print(f"first step: {few:.2f} s over {FEW} rows, {many:.2f} s over {MANY}")
    assert many <= SLOWER * few
