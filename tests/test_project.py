"""What pyproject.toml promises: extras, entry points, pinned versions."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS = PROJECT["optional-dependencies"]
FRAMEWORKS = ("pytorch", "tensorflow", "flax")


def requirements(path: Path) -> list[Requirement]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_requirements_file_is_the_extra(framework):
    listed = requirements(ROOT / "reference_trainers" / framework / "requirements.txt")
    assert listed == [Requirement(line) for line in EXTRAS[framework]]


def test_base_needs_no_framework():
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    extras = {Requirement(r).name for name in FRAMEWORKS for r in EXTRAS[name]}
    assert not base & extras


def test_each_trainer_names_its_extra():
    trainers = PROJECT["entry-points"]["reference_trainers.trainers"]
    for name, value in trainers.items():
        (extra,) = EntryPoint(name, value, "reference_trainers.trainers").extras
        assert extra in EXTRAS


def test_every_dependency_is_pinned_within_its_bounds():
    pins = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in requirements(ROOT / "constraints" / "cpu.txt")
    }
    wanted = [*PROJECT["dependencies"]]
    for name in (*FRAMEWORKS, "test", "bench"):
        wanted += EXTRAS[name]
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate():
            pinned = pins[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(pinned), requirement
