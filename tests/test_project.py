"""What pyproject.toml promises: extras, entry points, pinned versions."""

import tomllib
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

try:  # before a test imports distutils, which setuptools then refuses to replace
    from setuptools import find_packages  # type: ignore[import-untyped]
except ImportError:
    find_packages = None

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]
FRAMEWORKS = ("pytorch", "tensorflow", "flax")


def requirements(path: Path) -> list[Requirement]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_requirements_file_is_the_extra(framework):
    listed = requirements(ROOT / "reference_trainers" / framework / "requirements.txt")
    assert listed == [Requirement(line) for line in EXTRAS[framework]]


def test_only_what_a_user_runs_is_packaged():
    """`conformance`, `benchmarks` and `fixtures` are others' names on PyPI."""
    if find_packages is None:
        pytest.skip("not run: setuptools is not installed")
    asked = SETTINGS["tool"]["setuptools"]["packages"]["find"]
    found = find_packages(str(ROOT), include=asked["include"])
    assert {name.partition(".")[0] for name in found} == {"reference_trainers"}
    sources = (ROOT / "reference_trainers").rglob("*.py")
    folders = {source.parent.relative_to(ROOT) for source in sources}
    assert {".".join(folder.parts) for folder in folders} == set(found)
    shipped = SETTINGS["tool"]["setuptools"]["package-data"]["*"]
    assert shipped == ["requirements.txt"]


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


def test_no_two_test_files_share_a_name():
    """`tests` holds no packages, so a name that stands twice stops pytest there."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    del names["conftest.py"]
    assert [name for name, count in names.items() if count > 1] == []
