"""The fuzz finds nothing today, and finds what is planted."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest

from conformance.__main__ import main
from conformance.fuzz import runner
from conformance.fuzz.case import Case, Inputs, command
from conformance.fuzz.inputs import build_inputs
from conformance.fuzz.judge import judged, wrong_with
from conformance.fuzz.runner import Outcome
from conformance.fuzz.worker import MAKERS, answers, chance_of, kind_of, warm_up
from reference_trainers import InputError, cli

SEED = 11
INPUTS = 300


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    """What others leave in the common one is no finding."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    made = build_inputs(tmp_path_factory.mktemp("fuzz") / "inputs")
    warm_up(made.rows.parent.parent, made)
    return made


def test_malformed_inputs_are_refused_in_one_sentence(tmp_path, inputs) -> None:
    """The long run is `python -m conformance fuzz --inputs 100000`."""
    refused = 0
    for number in range(INPUTS):
        _, ended = answers(number, SEED, tmp_path, inputs)
        again = f"python -m conformance fuzz --seed {SEED} --only {number}"
        assert not ended["problems"], f"{ended}\n{again}"
        refused += ended["status"] == 2
    assert refused > INPUTS // 2


@pytest.mark.parametrize("kind", MAKERS)
def test_an_input_is_made_again_from_its_number(tmp_path, inputs, kind) -> None:
    """What `--only` relies on."""
    make, share = MAKERS[kind]
    assert share > 0
    for number in range(20):
        made = []
        for name in ("first", "again"):
            folder = tmp_path / f"{name}-{number}"
            folder.mkdir()
            case = make(Random(number), folder, inputs)
            made.append((case, {p.name: p.is_file() for p in folder.rglob("*")}))
        assert made[0] == made[1]


def test_each_kind_has_its_share() -> None:
    kinds = [kind_of(chance_of(SEED, number)) for number in range(1000)]
    for kind, (_, share) in MAKERS.items():
        assert 0.7 * share < kinds.count(kind) / 10 < 1.3 * share


# What is planted, and what is to be found


def breaks(*_: Any) -> list[str]:
    raise KeyError("text")


def leaves_a_file(*_: Any) -> list[str]:
    Path("left-behind").write_text("")
    raise InputError("rows.csv: no such column.")


def leaves_a_temporary_file(*_: Any) -> list[str]:
    os.close(tempfile.mkstemp()[0])
    raise InputError("rows.csv: no such column.")


def changes_the_file(*_: Any) -> list[str]:
    Path("rows.csv").write_text("")
    raise InputError("rows.csv: no such column.")


def leaves_it_open(*_: Any) -> list[str]:
    os.open("rows.csv", os.O_RDONLY)
    raise InputError("rows.csv: no such column.")


def leaves_a_process(*_: Any) -> list[str]:
    LEFT.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1))
    raise InputError("rows.csv: no such column.")


def says_two_sentences(*_: Any) -> list[str]:
    print("Something is wrong.", file=sys.stderr)
    raise InputError("rows.csv: no such column.")


def says_nothing(*_: Any) -> list[str]:
    raise InputError("")


def says_a_class(*_: Any) -> list[str]:
    raise InputError("rows.csv: cannot be read: KeyError.")


def names_nothing(*_: Any) -> list[str]:
    raise InputError("There is no such column.")


def ends_well(*_: Any) -> list[str]:
    raise SystemExit(0)


def is_killed(*_: Any) -> list[str]:
    raise SystemExit(143)


LEFT: list[subprocess.Popen[bytes]] = []
PLANTED: dict[Callable[..., list[str]], str] = {
    breaks: "the exit status is 1, not 2",
    leaves_a_file: "changed or left behind: ['left-behind']",
    leaves_a_temporary_file: "left in the folder for temporary files",
    changes_the_file: "changed or left behind: ['rows.csv']",
    leaves_it_open: "left open: [",
    leaves_a_process: "processes are left: [",
    says_two_sentences: "2 lines on stderr, not one",
    says_nothing: "the sentence says nothing",
    says_a_class: "the sentence says nothing",
    names_nothing: "the sentence names none of --, rows.csv",
    ends_well: "it is malformed, and was not refused",
    is_killed: "the exit status is 143, not 2",
}


def bad_header(folder: Path, inputs: Inputs) -> Case:
    (folder / "rows.csv").write_text("text,text\na,b\n")
    flags = inputs.flags() | {"do_train": True, "train_file": "rows.csv"}
    return Case("a header", command(**flags), True, ("--", "rows.csv"))


def test_a_sound_refusal_is_no_finding(tmp_path, inputs) -> None:
    ended = judged(bad_header(tmp_path, inputs), tmp_path, inputs)
    assert (ended.status, ended.problems) == (2, [])


def test_a_process_that_was_there_before_is_no_finding(tmp_path, inputs) -> None:
    """Laws that ran earlier in this session keep templates to fork from."""
    waits = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waits, stdin=-1) as earlier:
        ended = judged(bad_header(tmp_path, inputs), tmp_path, inputs)
        earlier.kill()
    assert (ended.status, ended.problems) == (2, [])


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(tmp_path, inputs, fault) -> None:
    case = bad_header(tmp_path, inputs)
    with mock.patch("reference_trainers.data.columns.csv_header", fault):
        ended = judged(case, tmp_path, inputs)
    assert any(found.startswith(PLANTED[fault]) for found in ended.problems), ended
    while LEFT:
        LEFT[-1].kill()
        LEFT.pop().communicate()


def test_a_line_that_only_a_user_broke_is_found(tmp_path, inputs) -> None:
    """What `cli` does about names that hold line ends is needed."""
    case = Case(
        "a name",
        command(**inputs.flags() | {"do_train": True, "train_file": "a\nb"}),
        True,
    )
    with mock.patch.object(cli, "line_of", str):
        ended = judged(case, tmp_path, inputs)
    assert ended.problems


@pytest.mark.parametrize("said", ["x" * 6000, "Traceback (most recent call last):"])
def test_a_page_is_no_sentence(said) -> None:
    assert [*wrong_with(f"--seed {said}\n", ("--",))]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """`datasets` opens a socket in it, whose path may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Path(folder)


def test_a_process_that_dies_or_hangs_is_a_finding(short_folder, inputs, monkeypatch):
    """And the next input has a new one."""
    worker = runner.Worker(SEED, inputs.rows.parent, short_folder)
    try:
        assert worker.judge(0).problems == ()
        assert worker.process is not None
        worker.process.kill()
        worker.process.wait()
        dead = worker.judge(1)
        assert dead.status is None and dead.problems
        monkeypatch.setattr(runner, "FIRST_LIMIT", 0.0)
        slow = worker.judge(2)
        assert slow.status is None and "takes more than 0 s" in slow.problems[0]
    finally:
        worker.close()


def test_the_end_counts_and_repeats(capsys, monkeypatch) -> None:
    bad = Outcome(7, "flags", "--seed is x", 1, "Traceback", ("the exit status is 1",))
    good = [
        Outcome(n, "specs", "empty", status, "", ()) for n, status in ((1, 2), (2, 0))
    ]
    monkeypatch.setattr(runner, "outcomes", lambda *_: iter([*good, bad]))
    assert main(["fuzz", "--inputs", "3", "--seed", "5"]) == 1
    said = capsys.readouterr().out
    assert "python -m conformance fuzz --seed 5 --only 7" in said
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines()[-7:]}
    assert lines["flags"] == ["1", "0", "0", "1"]
    assert lines["specs"] == ["2", "1", "1", "0"]
    assert lines["all"] == ["3", "1", "1", "1"]
    monkeypatch.setattr(runner, "outcomes", lambda *_: iter(good))
    assert main(["fuzz"]) == 0


def test_a_number_of_inputs_below_one_is_refused(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fuzz", "--inputs", "0"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "--inputs 0: give 1 or more.\n"
