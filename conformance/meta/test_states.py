"""Nothing passes silently: what becomes of a law under each kind of trainer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.meta.sessions import session
from conformance.plugin.states import worst

QUICK = "fixtures.numpy_backend:TRAINER"
KEPT, BROKEN = "order.few-rows", "arithmetic.clipping"  # numpy's trainer clips nothing
LIMIT = """\
[[limit]]
law = "{law}"
profile = "cpu"
reason = "Measured."
expires = {expires}
"""
STRANGE = """\
import os
import time

from fixtures.numpy_backend import TRAINER
from reference_trainers import RunReport


class Strange:
    def __init__(self, what):
        self.name, self.what = what, what

    def run(self, spec):
        print("This is no JSON.", flush=True)
        os.write(1, b"Nor is this.\\n")
        match self.what:
            case "raises":
                raise ZeroDivisionError("planted")
            case "exits":
                os._exit(0)
            case "hangs":
                time.sleep(600)
            case "garbage":
                return {"losses": "none"}
            case "empty":
                return RunReport(self.name, spec.as_dict(), spec.hash)
        return TRAINER.run(spec)


prints, raises, exits, hangs, garbage, empty = map(
    Strange, ("prints", "raises", "exits", "hangs", "garbage", "empty")
)
"""


def limits(folder: Path, law: str, expires: str = "2999-01-01") -> tuple[str, ...]:
    path = folder / "limits.toml"
    path.write_text(LIMIT.format(law=law, expires=expires))
    return "--profile", "cpu", "--limits", str(path)


def test_a_law_that_holds_passes(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    options = ("--profile", "cpu", "--record", str(record))
    found = session(QUICK, KEPT, options=options)
    assert (found.states, found.status) == (["pass"], 0)
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    (ended,) = [line for line in lines if line.get("when") == "teardown"]
    said = dict(ended["user_properties"])
    assert (said["law"], said["trainer"], said["profile"]) == (KEPT, QUICK, "cpu")
    assert "numpy" in said["versions"]


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("prints", "pass"),
        ("raises", "crash"),
        ("exits", "crash"),
        ("hangs", "timeout"),
        ("garbage", "crash"),
        ("empty", "fail"),
    ],
)
def test_a_stranger_disturbs_no_other(
    what: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange.py").write_text(STRANGE)
    monkeypatch.syspath_prepend(tmp_path)
    patience = "15" if what == "hangs" else "300"
    options = ("--trainer", QUICK, "--profile", "cpu", "--run-timeout", patience)
    found = session(f"strange:{what}", KEPT, options=options)
    states = {made["trainer"]: made["state"] for made in found.properties}
    assert states == {f"strange:{what}": state, QUICK: "pass"}


def test_what_is_skipped_is_not_run() -> None:
    found = session(QUICK, KEPT, options=("--profile", "gpu"))
    assert (found.states, found.status) == (["not run"], 0)


def test_a_trainer_that_is_not_there_is_no_pass() -> None:
    found = session("absent:TRAINER", KEPT, options=("--profile", "cpu"))
    assert (found.states, found.status) == ([], pytest.ExitCode.USAGE_ERROR)


def test_a_failure_under_a_limit_is_known(tmp_path: Path) -> None:
    found = session(QUICK, BROKEN, options=limits(tmp_path, BROKEN))
    assert (found.states, found.status) == (["known limit"], 0)


def test_a_limit_that_is_lifted_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = session(QUICK, KEPT, options=limits(tmp_path, KEPT))
    assert (found.states, found.status) == (["pass"], 1)
    said = capsys.readouterr().out
    assert f"limit lifted: {QUICK} keeps {KEPT} on cpu; remove --limits " in said


@pytest.mark.parametrize(
    ("law", "expires", "sentence"),
    [
        (KEPT, "2020-01-01", "expired on 2020-01-01"),
        ("order.of-nothing", "2999-01-01", "there is no law"),
        ("trace.steps", "2999-01-01", "matches nothing"),
    ],
)
def test_a_limit_that_says_nothing_true_fails_the_run(
    law: str,
    expires: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = session(QUICK, KEPT, options=limits(tmp_path, law, expires))
    assert (found.states, found.status) == ([], pytest.ExitCode.USAGE_ERROR)
    assert sentence in capsys.readouterr().err


def test_the_state_of_a_law_is_that_of_its_worst_part() -> None:
    assert worst(["pass", "not run"]) == "pass"
    assert worst(["not run"]) == "not run"
    assert worst(["pass", "known limit", "pass"]) == "known limit"
    assert worst(["fail", "crash", "pass"]) == "crash"
