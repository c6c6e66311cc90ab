"""What every benchmark gets: trainer, shape, lengths, and where its figures go.

    pytest benchmarks/suite --confcutdir benchmarks/suite --benchmark-json FILE

is what `python -m benchmarks run` does, in the environment of the profile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from benchmarks.door import Opened, Workshop
from benchmarks.machine import energy_meter, machine, matmul_peak
from benchmarks.measure import TIMES_ALONE, Effort, Measured, Tools
from benchmarks.record import SHARED, Played, Setting, record_of
from benchmarks.shapes import LENGTHS, ROWS, SHAPES, Shape
from conformance.profiles import PROFILES
from reference_trainers import (
    InputError,
    SharedTrainer,
    Trainer,
    TrainingSpec,
    find_trainer,
    listed,
)

PLAYED = Played()
PEAK = pytest.StashKey[dict[str, float]]()
# A step of the tiny shape takes milliseconds, one of T5-small's takes seconds
EFFORTS = {"tiny": Effort(40, 4, 3), "t5-small": Effort(5, 15, 3)}
QUICK = Effort(60, 2, 3)
FEW = {"tiny": Effort(3, 10, 2), "t5-small": Effort(2, 30, 1)}
QUICK_FEW = Effort(2, 1, 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmarks")
    group.addoption("--quick", action="store_true", help="the tiny shape, few rounds")
    group.addoption("--trainer", action="append", help="one of them; default: all here")
    group.addoption("--batch", type=int, default=ROWS, help="rows of a batch")
    group.addoption("--effort", type=float, default=1.0, help="so many times the usual")
    group.addoption("--profile", default="cpu", choices=sorted(PROFILES))


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--batch") < 1:
        raise pytest.UsageError("--batch: give a number of rows, 1 or more.")
    for name in config.getoption("--trainer") or ():
        try:
            find_trainer(name)
        except InputError as error:
            raise pytest.UsageError(str(error)) from error
    for prepare in PROFILES[config.getoption("--profile")].prepare:
        prepare()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test ids name trainer, shape and lengths, and stay the same between records."""
    quick = metafunc.config.getoption("--quick")
    if "trainer_name" in metafunc.fixturenames:
        metafunc.parametrize("trainer_name", trainers(metafunc.config))
    if "shape" in metafunc.fixturenames:
        known = [SHAPES["tiny"]] if quick else SHAPES.values()
        rows = metafunc.config.getoption("--batch")
        shapes = [shape.with_batch(rows) for shape in known]
        metafunc.parametrize("shape", shapes, ids=[shape.title for shape in shapes])
    if "lengths" in metafunc.fixturenames:
        metafunc.parametrize("lengths", ["ragged"] if quick else LENGTHS)


def trainers(config: pytest.Config) -> list[str]:
    """Those asked for, or all that can run here."""
    asked = config.getoption("--trainer")
    return asked or [found.name for found in listed() if found.runs_here]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pytest-benchmark plays back times that were taken with the device's answer."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=PLAYED.now))


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    on_gpu = not PROFILES[config.getoption("--profile")].flags.get("use_cpu")
    machine_info["node"] = ""  # a record may be shown to anybody
    machine_info |= machine(on_gpu)
    machine_info["peak_flops"] = config.stash.get(PEAK, {})


# ---- what benchmarks ask for ---------------------------------------------------------


@pytest.fixture(scope="session")
def workshop(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    """The models and the data of this session, on its profile."""
    profile = PROFILES[pytestconfig.getoption("--profile")]
    reason = profile.missing()
    if reason is not None:
        pytest.skip(f"not run: {reason}")
    top = tmp_path_factory.mktemp("benchmarks")
    on_gpu = not profile.flags.get("use_cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(top / "cache"))
        patch.setattr("datasets.config.HF_DATASETS_CACHE", top / "cache")
        quick, alone = pytestconfig.getoption("--quick"), TIMES_ALONE in os.environ
        tools = Tools(energy=energy_meter(on_gpu), floors=not alone)
        yield Workshop(profile, top, tools, quick)


@pytest.fixture(scope="session")
def peak(pytestconfig: pytest.Config, workshop: Workshop) -> float | None:
    """FLOP/s of the fastest matrix product here, in the precision of the profile."""
    if TIMES_ALONE in os.environ:
        return None
    spec = TrainingSpec(do_train=True, **workshop.profile.flags)
    on_gpu = not spec.use_cpu
    products = []
    for found in listed():
        trainer = find_trainer(found.name) if found.runs_here else None
        if isinstance(trainer, SharedTrainer) and (floor := trainer.floor_module()):
            products.append(partial(floor.matmul, spec))
    fastest = matmul_peak(products, on_gpu)
    told = {} if fastest is None else {spec.compute_dtype: fastest}
    pytestconfig.stash[PEAK] = told
    return fastest


@pytest.fixture
def trainer(trainer_name: str) -> Trainer:
    try:
        return find_trainer(trainer_name)
    except InputError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture
def opened(workshop: Workshop, trainer: Trainer, shape: Shape) -> Opened:
    """The trainer with the model of the shape; its runs alone: not run."""
    try:
        return workshop.open(trainer, shape)
    except InputError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture
def effort(request: pytest.FixtureRequest, shape: Shape) -> Effort:
    """How long the rounds of steps and searches go on."""
    return asked(request.config, QUICK, EFFORTS[shape.name])


@pytest.fixture
def few(request: pytest.FixtureRequest, shape: Shape) -> Effort:
    """The same of what takes long, each time."""
    return asked(request.config, QUICK_FEW, FEW[shape.name])


def asked(config: pytest.Config, quick: Effort, usual: Effort) -> Effort:
    """As the flags say."""
    chosen = quick if config.getoption("--quick") else usual
    return chosen.times(config.getoption("--effort"))


Record = Callable[..., None]


@pytest.fixture
def record(
    request: pytest.FixtureRequest,
    benchmark: Any,
    workshop: Workshop,
    shape: Shape,
    peak: float | None,
) -> Record:
    """Writes a benchmark's times and figures: ``record("step", measured, ...)``."""
    given = request.node.callspec.params
    profile = workshop.profile
    spec = workshop.spec(shape)

    def write(what: str, measured: Measured, **more: Any) -> None:
        setting = Setting(
            what,
            given.get("trainer_name", SHARED),
            profile.name,
            shape,
            given.get("lengths", "full"),
            spec.compute_dtype,
            more.pop("devices", 1),
        )
        more = {"work": None, "peak": peak} | more
        PLAYED.into(benchmark, measured, record_of(setting, measured, **more))

    return write
