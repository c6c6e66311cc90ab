"""The README's table of versions is what pyproject.toml, constraints/, tox.ini say."""

import configparser
import subprocess
import sys
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TOX = configparser.ConfigParser()
TOX.read_string((ROOT / "tox.ini").read_text("utf-8"))
# By framework, the constraints with its newest libraries
NEWEST = {"pytorch": "cpu", "tensorflow": "cpu", "flax": "flax-newest"}
NEWEST_PYTHON = "3.13"
# Not at its lower bound in pytorch-oldest.txt, which says why
OLDEST_ELSEWHERE = {"torch": "2.13.0"}
# Another name of tensorflow-cpu, which the table has
OTHER_NAMES = {"tensorflow"}


def requirements(group):
    """Of a framework, or of all for the name "all"."""
    texts = PROJECT["dependencies"] if group == "all" else EXTRAS[group]
    return [
        requirement
        for requirement in map(Requirement, texts)
        if requirement.name not in OTHER_NAMES
    ]


def lower_bound(requirement):
    (bound,) = requirement.specifier
    assert bound.operator == ">=", requirement
    return bound.version


def pins(name):
    """Versions by library, of a file of constraints."""
    lines = (ROOT / "constraints" / f"{name}.txt").read_text("utf-8").splitlines()
    found = map(Requirement, (line for line in lines if not line.startswith("#")))
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in found
        if not each.marker or each.marker.evaluate({"python_version": NEWEST_PYTHON})
    }


def python_of(environment):
    """The first of a tox environment: 3.13 for py313, py312."""
    first = TOX[f"testenv:{environment}"]["base_python"].partition(",")[0]
    return first.replace("py3", "3.")


def expected_rows():
    """Library, oldest supported, newest tested with each framework."""
    oldest, newest = python_of("pytorch-oldest"), python_of("flax-newest")
    yield ["Python", PROJECT["requires-python"][2:], oldest, oldest, newest]
    for group in ("all", *NEWEST):
        for requirement in requirements(group):
            name = requirement.name
            tested = [
                pins(file)[canonicalize_name(name)] if group in ("all", key) else ""
                for key, file in NEWEST.items()
            ]
            yield [name, lower_bound(requirement), *tested]


def test_the_table_is_what_the_project_says():
    text = (ROOT / "README.md").read_text("utf-8")
    _, _, table = text.partition("\n| library | oldest supported |")
    lines = takewhile(lambda line: line.startswith("|"), table.splitlines()[2:])
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]
    assert rows == list(expected_rows())


@pytest.mark.parametrize("group", ["all", "pytorch"])
def test_the_oldest_that_are_supported_are_tested(group):
    tested = pins("pytorch-oldest")
    for requirement in requirements(group):
        name = requirement.name
        oldest = Version(OLDEST_ELSEWHERE.get(name, lower_bound(requirement)))
        found = Version(tested[canonicalize_name(name)])
        assert found.release[: len(oldest.release)] == oldest.release, name


def test_the_newest_are_no_older_than_the_usual():
    usual, newest = pins("cpu"), pins("flax-newest")
    for requirement in (*requirements("all"), *requirements("flax")):
        name = canonicalize_name(requirement.name)
        assert Version(newest[name]) >= Version(usual[name]), name


def test_each_file_of_constraints_is_of_an_environment():
    used = {TOX[section].get("constraints") for section in TOX.sections()}
    files = (ROOT / "constraints").glob("*.txt")
    assert used - {None} == {f"constraints/{path.name}" for path in files}


def test_each_tox_environment_asks_for_extras_that_there_are(tmp_path):
    command = [sys.executable, "-m", "tox", "config", "-k", "extras"]
    command += ["--workdir", str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    asked = configparser.ConfigParser()
    asked.read_string(said.stdout)
    extras = {name: asked[name]["extras"].split("\n")[1:] for name in asked.sections()}
    frameworks = ["flax", "pytorch", "tensorflow"]
    assert extras["testenv:all"] == sorted(["bench", "test", *frameworks])
    assert all(extras[f"testenv:{name}"] == [name, "test"] for name in frameworks)
    assert {each for found in extras.values() for each in found} <= EXTRAS.keys()
