"""Plugs trainers and profiles into the suite: `--trainer NAME --profile NAME`.

A trainer that cannot run here, and a profile whose hardware is absent, are shown as not
run, with the reason; they never pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.profiles import PROFILES, Profile
from conformance.runs import Inputs, MakeRuns, Runs, build_inputs
from reference_trainers.errors import InputError
from reference_trainers.protocols import Trainer
from reference_trainers.registry import find_trainer, listed


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--trainer",
        action="append",
        metavar="NAME",
        help="a registered trainer, or package.module:attribute of your own; "
        "may be given more than once; default: every registered one",
    )
    group.addoption(
        "--profile",
        action="append",
        choices=sorted(PROFILES),
        help="hardware and precision; may be given more than once; default: cpu",
    )
    group.addoption(
        "--kills",
        type=int,
        default=2,
        help="how often a run is killed and gone on with; default: 2",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    if "trainer" in metafunc.fixturenames:
        names = config.getoption("--trainer") or [found.name for found in listed()]
        metafunc.parametrize("trainer", names, indirect=True, scope="session")
    if "profile" in metafunc.fixturenames:
        names = config.getoption("--profile") or ["cpu"]
        metafunc.parametrize("profile", names, indirect=True, scope="session")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is tested, in the first lines of the output."""
    lines = []
    for found in listed():
        versions = ", ".join(f"{name} {v}" for name, v in found.versions.items())
        state = "tested" if found.runs_here else f"not run: {found.reason}"
        lines.append(f"trainer {found.name}: {state} ({versions or 'no versions'})")
    return lines


def _found(name: str) -> Trainer:
    try:
        return find_trainer(name)
    except InputError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture(scope="session")
def trainer(request: pytest.FixtureRequest) -> Trainer:
    return _found(request.param)


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Profile:
    profile = PROFILES[request.param]
    reason = profile.absent()
    if reason is not None:
        pytest.skip(f"not run: {reason}")
    return profile


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    """A tiny T5 and ragged rows, built from a seed; a cache of their own."""
    top = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", top / "cache")
        yield build_inputs(top)


_RUNS: dict[tuple[str, str], Runs] = {}  # standard runs are shared by all laws


@pytest.fixture
def run(
    trainer: Trainer,
    profile: Profile,
    inputs: Inputs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """Makes runs of the trainer under test: ``run(max_steps=3).losses``."""
    key = (trainer.name, profile.name)
    if key not in _RUNS:
        _RUNS[key] = Runs(trainer, profile, inputs, tmp_path_factory.mktemp("runs"))
    return _RUNS[key]


@pytest.fixture
def runs_of(
    profile: Profile, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory
) -> MakeRuns:
    """Runs of any trainer by name, for laws between two of them."""

    def make(name: str) -> Runs:
        key = (name, profile.name)
        if key not in _RUNS:
            top = tmp_path_factory.mktemp("runs")
            _RUNS[key] = Runs(_found(name), profile, inputs, top)
        return _RUNS[key]

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder that does not exist yet."""
    return tmp_path / "output"
