"""docs/add-a-trainer.md is true: its package is installed, found and tested."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
PAGE = CLONE / "docs" / "add-a-trainer.md"
BLOCK = re.compile(r"```\w+\n# (\S+)\n(.*?)```", re.DOTALL)
LAWS = {
    "order.few-rows": "pass",
    "input.unknown-flag": "pass",
    "arithmetic.learns": "known limit",
}
COMMAND = f"{sys.executable} -m reference_trainers run --trainer mine"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has put the package of the page."""
    for name in ("pip", "setuptools"):
        if find_spec(name) is None:
            pytest.skip(f"not run: {name} is not installed")
    package = tmp_path_factory.mktemp("package")
    for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        (package / name).write_text(text, encoding="utf-8")
    site = tmp_path_factory.mktemp("site")
    pip = "pip install --quiet --no-deps --no-index --no-build-isolation --target"
    words = [sys.executable, "-m", *pip.split(), str(site), str(package)]
    subprocess.run(words, check=True)
    (site / "limits.toml").write_text((package / "limits.toml").read_text())
    return site


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Of Python, in the clone, beside the package."""
    places = os.pathsep.join((str(site), str(CLONE)))
    return subprocess.run(
        [sys.executable, *words],
        cwd=CLONE,
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=300,
    )


def states(site: Path, *trainer: str) -> dict[str, str]:
    """What becomes of the laws, by the record."""
    laws = [word for law in LAWS for word in ("--law", law)]
    words = [
        "-m",
        "pytest",
        "conformance/laws",
        "-q",
        "-p",
        "no:cacheprovider",
        "--profile",
        "cpu",
    ]
    record = site / "run.json"
    limits = ("--limits", str(site / "limits.toml"))
    ended = run(
        site,
        *words,
        *laws,
        "--profile",
        "cpu",
        *trainer,
        *limits,
        "--record",
        str(record),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    found = (dict(x["user_properties"]) for x in lines if x.get("when") == "teardown")
    return {properties["law"]: properties["state"] for properties in found}


def test_the_package_is_found_by_its_entry_point(installed: Path) -> None:
    listed = run(installed, "-m", "reference_trainers", "list").stdout
    assert re.search("^mine +runs here", listed, re.MULTILINE), listed


@pytest.mark.parametrize(
    "trainer",
    [("--trainer", "mine"), ("--trainer-command", COMMAND)],
    ids=["by-name", "by-command"],
)
def test_its_laws_have_the_same_states(installed: Path, trainer: tuple[str]) -> None:
    assert states(installed, *trainer) == LAWS
