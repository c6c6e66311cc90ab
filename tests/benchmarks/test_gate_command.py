"""The gate from end to end, on a small repository whose clock is made up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")
pytest.importorskip(
    "pytest_benchmark", reason="not run: pytest-benchmark is not installed"
)

from benchmarks.gate import command, processes
from benchmarks.gate.command import main
from benchmarks.gate.processes import SUITE
from benchmarks.gate.statistics import Rules
from tests.benchmarks.small_repository import change, commit, git, name_of, repository


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where the gate's folders are made; none may stay."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch):
    """The made-up clock has little noise."""
    rules = partial(Rules, looks=(3, 5), shares=(0.5, 0.5))
    monkeypatch.setattr(command, "Rules", rules)


def gate(root: Path, *flags: str) -> int:
    return main(flags, root=root)


def refusal(root: Path, capsys, *flags: str) -> str:
    """The one line on stderr."""
    with pytest.raises(SystemExit) as ended:
        gate(root, *flags)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


def test_a_slowdown_a_loss_and_a_benchmark_that_is_as_it_was(tmp_path, capsys):
    steps = {"slow": 0.1, "same": 0.1, "broken": 0.1, "gone": 0.1}
    root = repository(tmp_path / "clone", **steps)
    # Not committed: the working tree is judged
    change(root, slow=0.15, same=0.1, broken=None, added=0.1)
    file = tmp_path / "gate.json"
    assert gate(root, "--base", "main", "--json", str(file)) == command.REGRESSED
    found = json.loads(file.read_text())
    judged = {b["name"]: b for b in found["benchmarks"]}
    assert {name: b["verdict"] for name, b in judged.items()} == {
        name_of("slow"): "regression",
        name_of("same"): "no regression",
    }
    slow = judged[name_of("slow")]
    assert slow["ratio"] == pytest.approx(1.5, rel=2e-3)
    assert slow["interval"][0] < 1.5 < slow["interval"][1]
    assert slow["pairs"] == found["pairs"] == 3
    assert 0.03 < slow["smallest_seen"] < 0.04
    assert found["lost"] == {
        name_of("broken"): "ValueError: it is broken",
        name_of("gone"): "head does not run it",
    }
    assert found["new"] == [name_of("added")]
    said = capsys.readouterr().out
    assert "the working tree" in said
    assert f"lost: {name_of('broken')}: ValueError: it is broken" in said
    assert "1 regression, 0 inconclusive, 1 no regression, 2 lost" in said
    assert "--budget" not in said
    assert git(root, "worktree", "list").count("\n") == 0


def test_the_same_commit_twice_and_a_benchmark_that_is_lost(tmp_path, capsys):
    root = repository(tmp_path / "clone", a=0.1, b=0.2)
    # The working tree is neither base nor head, but its suite is the yardstick
    change(root, a=5.0, b=5.0)
    suite = root / "benchmarks/suite/test_fake.py"
    suite.write_text(suite.read_text().replace("list(reference_trainers.STEPS)", "'a'"))
    asked = ["--base", "HEAD", "--head", "HEAD"]
    assert gate(root, *asked) == command.LOST
    said = capsys.readouterr().out
    assert "0 regression, 0 inconclusive, 1 no regression, 1 lost" in said
    assert f"lost: {name_of('b')}: it is in base's own suite" in said
    # It is not asked for, so it is not missed
    assert gate(root, *asked, "-k", "a]") == 0
    capsys.readouterr()
    # And what stands after -- reaches pytest: nothing is left
    asked += ["--", "--deselect", str(SUITE)]
    assert "no benchmark matches" in refusal(root, capsys, *asked)


def test_a_budget_that_ends_leaves_it_open(tmp_path, capsys):
    root = repository(tmp_path / "clone", a=0.1)
    asked = ["--base", "HEAD", "--head", "HEAD", "--budget", "1e-9"]
    assert gate(root, *asked) == 0
    said = capsys.readouterr().out
    assert "1 pair of processes" in said
    assert "0 regression, 1 inconclusive, 0 no regression, 0 lost" in said
    assert "--budget ended it: the next look is after 3 pairs" in said
    asked.append("--fail-on-inconclusive")
    assert gate(root, *asked) == command.UNDECIDED


def test_a_profile_brings_its_flag_and_its_environment(tmp_path, capsys):
    root = repository(tmp_path / "clone", a=0.1)
    (root / "benchmarks/suite/conftest.py").write_text(
        "import os\n"
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--profile')\n"
        "def pytest_configure(config):\n"
        "    assert config.getoption('--profile') == 'cpu-x4'\n"
        "    assert os.environ['JAX_NUM_CPU_DEVICES'] == '4'\n"
    )
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a profile")
    asked = ["--base", "HEAD", "--budget", "1e-9"]
    assert gate(root, *asked, "--profile", "cpu-x4") == 0
    assert "pytest failed on base" in refusal(root, capsys, *asked)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--base", "nowhere"], "--base nowhere: there is no such commit here"),
        (["--base", "HEAD", "--head", "-x"], "--head: expected one argument"),
        (["--base", "HEAD", "--head=--all"], "--head --all: there is no such commit"),
        (["--base", "HEAD", "-k", "nothing"], "-k nothing: no benchmark matches"),
        (["--base", "HEAD", "-k", "a or"], "-k a or: pytest failed"),
        (["--base", "HEAD", "--alpha", "0.5"], "--alpha 0.5: give a chance between"),
        (["--base", "HEAD", "--budget", "0"], "--budget 0.0: give seconds"),
        (["--base", "HEAD", "--smallest", "3"], "--smallest 3.0: give a share"),
        (
            ["--base", "HEAD", "--json", "no/x"],
            "--json no/x: there is no folder no; make it.",
        ),
        (["--base", "HEAD", "--json", "/"], "--json /: it is a folder; name a file."),
        ([], "one of the arguments --base --floor --simulate is required"),
        (["--simulate", "9", "-k", "a"], "-k says nothing of --simulate"),
        (["--base", "HEAD", "--profile", "x"], "--profile x: no such profile; there"),
        (["--simulate", "9", "--", "-x"], "-- says nothing of --simulate"),
        (["--simulate", "0"], "--simulate 0: give 1 or more runs"),
        (["--floor", "x.json", "--seed", "1"], "--seed says nothing of --floor"),
    ],
)
def test_bad_input_is_one_sentence(flags, said, tmp_path, capsys):
    root = repository(tmp_path / "clone", a=0.1)
    assert said in refusal(root, capsys, *flags)


def test_a_folder_without_git_and_a_commit_without_the_package(tmp_path, capsys):
    root = repository(tmp_path / "clone", a=0.1)
    git(root, "rm", "-r", "--quiet", "reference_trainers")
    git(root, "commit", "--quiet", "--message", "none")
    assert "holds no package reference_trainers" in refusal(
        root, capsys, "--base", "HEAD"
    )
    (root / ".git").rename(root / "git")
    assert "is no clone of a git repository" in refusal(root, capsys, "--base", "HEAD")
    assert "has no folder benchmarks/suite" in refusal(
        tmp_path, capsys, "--base", "HEAD"
    )


def test_nothing_that_runs_on_both_is_an_error(tmp_path, capsys):
    root = repository(tmp_path / "clone", a=0.1)
    change(root, a=None)
    said = refusal(root, capsys, "--base", "HEAD")
    assert "no benchmark ran on both versions" in said
    assert f"{name_of('a')}: ValueError: it is broken" in said


def test_another_version_than_the_one_asked_for_is_refused(tmp_path, capsys):
    """Here: the suite's own folder comes first, as pytest's default has it."""
    root = repository(tmp_path / "clone", a=0.1)
    commit(root, a=0.3)
    (root / "benchmarks/suite/conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(root)!r})\n"
        "sys.modules.pop('reference_trainers', None)\n"
        "import gate_witness, reference_trainers\n"
        "gate_witness.reference_trainers = reference_trainers\n"
    )
    said = refusal(root, capsys, "--base", "HEAD~1")
    assert f"{root / 'reference_trainers'} was measured instead of" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_and_no_folder(number, tmp_path, temporary):
    root = repository(tmp_path / "clone", a=0.1)
    suite = root / "benchmarks/suite/test_fake.py"
    mark = tmp_path / "running"
    suite.write_text(
        "import os, pathlib, subprocess, time\n"
        "def test_step(benchmark):\n"
        "    child = subprocess.Popen(['sleep', '300'])\n"
        f"    mark = pathlib.Path({str(mark)!r})\n"
        "    mark.with_suffix('.part').write_text(f'{os.getpid()} {child.pid}')\n"
        "    mark.with_suffix('.part').rename(mark)\n"
        "    time.sleep(300)\n"
    )
    code = (
        # A shell's background job is deaf to SIGINT, and so would its children be
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pathlib import Path; from benchmarks.gate.command import main"
        f"; sys.exit(main(['--base', 'HEAD'], root=Path({str(root)!r})))"
    )
    gate = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(temporary)},
        cwd=processes.HERE,
    )
    try:
        deadline = time.monotonic() + 60
        while not mark.exists():
            assert gate.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        gate.send_signal(number)
        assert gate.wait(timeout=60) == 128 + number
    finally:
        gate.kill()
    for process in map(int, mark.read_text().split()):
        assert _ended(process)
    assert git(root, "worktree", "list").count("\n") == 0


def _ended(process: int) -> bool:
    """Or a zombie, which nobody has waited for."""
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
