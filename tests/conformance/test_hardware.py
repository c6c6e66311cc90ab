"""Accelerators are found by what the driver lists, and their absence is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import hardware
from conformance.profiles import PROFILES

LISTING = """#!/bin/sh
echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'
echo 'GPU 1: NVIDIA H100 (UUID: GPU-2)'
"""


@pytest.fixture(autouse=True)
def looked_up_anew() -> None:
    hardware.gpu_names.cache_clear()


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.gpus() == 0
    assert hardware.needs_gpus(1) == "needs 1 GPU, and nvidia-smi lists 0"


def test_gpus_are_those_that_the_driver_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nvidia-smi").write_text(LISTING)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert hardware.gpus() == 2
    assert hardware.needs_gpus(2) is None
    assert hardware.needs_gpus(3) == "needs 3 GPUs, and nvidia-smi lists 2"
    hardware.gpu_names.cache_clear()


def test_a_tpu_is_a_device_file(tmp_path: Path) -> None:
    assert "needs a TPU" in str(hardware.needs_a_tpu(tmp_path))
    (tmp_path / "accel0").touch()
    assert hardware.needs_a_tpu(tmp_path) is None


def test_every_kind_of_hardware_has_its_profile() -> None:
    kinds = {name.rstrip("0123456789") for name in PROFILES}
    assert {"cpu", "cpu-x", "cpu-p", "gpu", "gpu-x", "gpu-p", "tpu"} <= kinds
