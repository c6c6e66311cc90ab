"""The machine's facts, from files of a kernel that is made up, and a fake clock."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks.figures import matmul_flops
from benchmarks.machine import SIZES, PeakMemory, RaplMeter, machine, matmul_peak


def zone(top: Path, number: int, name: str, **files: str) -> Path:
    """A zone of the kernel's power capping."""
    folder = top / f"intel-rapl:{number}"
    folder.mkdir(exist_ok=True)
    for file, text in {"name": name, **files}.items():
        (folder / file).write_text(text + "\n")
    return folder


def test_energy_is_that_of_all_packages(tmp_path):
    first = zone(tmp_path, 0, "package-0", energy_uj="1000000")
    second = zone(tmp_path, 1, "package-1", energy_uj="5000000")
    zone(tmp_path, 2, "psys", energy_uj="7")  # it has the packages in it
    meter = RaplMeter(tmp_path)
    began = meter()
    (first / "energy_uj").write_text("3000000\n")
    (second / "energy_uj").write_text("5500000\n")
    now = meter()
    assert began is not None and now is not None
    assert now - began == pytest.approx(2.5)


def test_a_counter_that_begins_anew(tmp_path):
    most = {"max_energy_range_uj": "10000000"}
    folder = zone(tmp_path, 0, "package-0", energy_uj="9000000", **most)
    meter = RaplMeter(tmp_path)
    began = meter()
    (folder / "energy_uj").write_text("500000\n")
    now = meter()
    assert began is not None and now is not None
    assert now - began == pytest.approx(1.5)


def test_energy_that_is_not_told_is_none(tmp_path):
    assert RaplMeter(tmp_path)() is None
    zone(tmp_path, 0, "package-0")  # as where only root may read it
    assert RaplMeter(tmp_path)() is None


def test_peak_memory_counts_from_its_restart(tmp_path):
    memory = PeakMemory(tmp_path)
    memory.restart()
    (tmp_path / "status").write_text("VmPeak:\t 99 kB\nVmHWM:\t  2048 kB\n")
    assert memory.bytes() == 2048 * 1024
    assert (tmp_path / "clear_refs").read_text() == "5"


def test_peak_memory_is_not_told_where_it_cannot_restart(tmp_path):
    memory = PeakMemory(tmp_path / "nowhere")
    memory.restart()
    assert memory.bytes() is None


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="not run: glibc alone keeps what is freed"
)
def test_what_was_freed_before_is_not_counted():
    memory = PeakMemory()
    blocks = [bytearray(8192) for _ in range(40_000)]
    memory.restart()
    full, last = memory.bytes(), blocks[-1]
    if full is None:
        pytest.skip("not run: this kernel does not tell the peak of a process")
    blocks.clear()  # `last` lies above them all, so glibc gives nothing back unasked
    memory.restart()
    now = memory.bytes()
    assert now is not None and full - now > 250e6 and len(last) == 8192


def test_the_peak_is_the_fastest_product_of_any_framework():
    now = 0.0
    speeds = {"slow": 1e9, "fast": 4e9}

    def products(name):
        def of(size):
            def multiply():
                nonlocal now
                now += matmul_flops(size) / speeds[name]
                if size == SIZES[0]:  # small ones have a cost beside
                    now += 1.0

            return multiply

        return of

    found = matmul_peak(map(products, speeds), False, lambda: now)
    assert found == pytest.approx(4e9)
    assert matmul_peak([], False) is None


def test_who_a_machine_is():
    facts = machine(on_gpu=False)
    cores = len(os.sched_getaffinity(0))
    assert facts["cores"] == cores and facts["kind"].endswith(f", {cores} cores")
    assert facts["memory_bytes"] > 2**28
    assert {"python", "numpy", "transformers"} <= facts["versions"].keys()
