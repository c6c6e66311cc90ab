"""Laws of sharing: a push is whole, made once, and never at the price of the run.

tests/hub has the rest of it, with a backend in numpy: every fault of the Hub is in code
that all trainers share. With `--law hub.faults` each trainer meets each.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from conformance.law import law
from conformance.profiles import CPU
from conformance.runs import Runs
from conformance.workers import environment_of
from fixtures.hub import COMMIT, FAILING, Fault, Hub
from fixtures.hub.seed import contents
from reference_trainers import InputError, RunReport, flags_of_dict

MODULE = (sys.executable, "-m", "reference_trainers")
FAULTS = FAILING | {"answer-lost": Fault(COMMIT, answer_lost=True)}


@pytest.fixture
def hub(run: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that the pushes of this process go to, as `user`."""
    refused = run.subject.refuses.get("push_to_hub")
    if refused:
        pytest.skip(f"not run: {refused}")
    with Hub(tmp_path / "hub") as running:
        for name, value in running.environment(tmp_path / "home", "hf_writes").items():
            monkeypatch.setenv(name, value)
        yield running


def titles(hub: Hub, name: str) -> list[str]:
    """Of the commits that were pushed, oldest first."""
    return [commit.said()["title"] for commit in hub.commits(name)[1:]]


def assert_is_there(hub: Hub, name: str, folder: Path) -> None:
    """The repository holds what the report lists, and nothing else."""
    report = RunReport.read(folder)
    found = hub.files(name)
    assert {*found} == {".gitattributes", *report.files}
    assert found["run_report.json"] == replace(report, push=None).as_json().encode()
    for file in {*report.files} - {"run_report.json"}:
        same = found[file] == (folder / file).read_bytes()
        assert same, file


@law("hub.one-commit", profiles=CPU)
def test_a_run_is_one_commit(run: Runs, hub: Hub, tmp_path: Path) -> None:
    """What a run wrote is one commit, its last save included; again it makes none."""
    flags = {"push_to_hub": True, "do_eval": True, "save_strategy": "epoch"}
    report = run.into(tmp_path / "mine", **flags).report
    assert report.push is not None and report.push["problem"] is None, report.push
    assert report.push["repository"] == "user/mine"
    run.into(tmp_path / "mine", **flags)
    assert titles(hub, "user/mine") == ["End of training"]
    assert_is_there(hub, "user/mine", tmp_path / "mine")


@law("hub.saves", profiles=CPU)
def test_each_save_is_a_commit(run: Runs, hub: Hub, tmp_path: Path) -> None:
    """Every save is a commit, in order, and one that fails is made up for."""
    hub.faults.append(Fault(COMMIT, status=500, nth=2))
    made = run.into(
        tmp_path / "mine",
        push_to_hub=True,
        hub_strategy="checkpoint",
        save_strategy="steps",
        save_steps=2,
        max_steps=6,
    )
    saves = [f"Training in progress, step {step}" for step in (2, 6)]
    assert titles(hub, "user/mine") == [*saves, "End of training"]
    assert made.report.push is not None
    problems = [push["problem"] is not None for push in made.report.push["earlier"]]
    assert problems == [False, True, False]
    found = hub.files("user/mine")
    for path in (tmp_path / "mine" / "checkpoint-6").iterdir():
        same = found[f"last-checkpoint/{path.name}"] == path.read_bytes()
        assert same, path.name


@law("hub.faults", profiles=CPU)
@pytest.mark.parametrize("what", FAULTS)
def test_a_push_that_fails_costs_nothing(
    run: Runs, hub: Hub, tmp_path: Path, what: str, request: pytest.FixtureRequest
) -> None:
    """A push that fails leaves the output whole, and is made up for by one command."""
    asked = "hub.faults" in (request.config.getoption("--law") or ())
    if not asked and what != "500":
        pytest.skip("not run: every fault with --law hub.faults")
    hub.faults.append(replace(FAULTS[what]))
    folder = tmp_path / "mine"
    made = run.into(folder, push_to_hub=True, hub_strategy="end")
    assert made.report.push is not None and made.report.push["problem"]
    assert made.report.total_steps == len(made.steps)
    hub.faults.clear()
    push = [sys.executable, "-m", "reference_trainers", "push", str(folder)]
    subprocess.run(push, check=True, env=environment_of(run.profile))
    assert titles(hub, "user/mine") == ["End of training"]
    assert_is_there(hub, "user/mine", folder)


@law("hub.refused", profiles=CPU)
def test_what_the_hub_would_refuse_is_refused_first(
    run: Runs, hub: Hub, tmp_path: Path
) -> None:
    """A name that is another's is refused before anything is written."""
    folder = tmp_path / "mine"
    with pytest.raises(InputError, match="other is not yours"):
        run.into(folder, push_to_hub=True, hub_model_id="other/theirs")
    assert not folder.exists()


@law("hub.named", profiles=CPU)
def test_a_push_goes_where_the_flags_say(run: Runs, hub: Hub, tmp_path: Path) -> None:
    """The repository has the name and the privacy asked for, by either flag."""
    flags: dict[str, Any] = {"push_to_hub": True, "hub_strategy": "end", "max_steps": 1}
    run.into(
        tmp_path / "one", hub_model_id="user/named", hub_private_repo=True, **flags
    )
    run.into(tmp_path / "two", push_to_hub_model_id="short", **flags)
    for name, is_private in (("user/named", True), ("user/short", False)):
        assert titles(hub, name) == ["End of training"]
        repository = hub.store.find("models", name)
        assert repository is not None
        assert repository.rights()["private"] is is_private, name


@law("hub.token", profiles=CPU)
def test_a_token_that_is_given_is_used(
    run: Runs, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token of the machine's own, hub_token pushes; no file shows it."""
    monkeypatch.delenv("HF_TOKEN")
    flags: dict[str, Any] = {"push_to_hub": True, "hub_strategy": "end", "max_steps": 1}
    made = run.into(tmp_path / "mine", hub_token="hf_writes", **flags)
    assert titles(hub, "user/mine") == ["End of training"]
    for name in made.files:
        assert b"hf_writes" not in (made.folder / name).read_bytes(), name


@law("hub.reads", profiles=CPU)
def test_a_model_is_read_as_the_flags_say(run: Runs, hub: Hub, tmp_path: Path) -> None:
    """A private model is read at the revision asked for, by token, into cache_dir."""
    repository = hub.store.create("models", "user/secret", private=True)
    first = repository.commit("First", contents(run.inputs.model))
    repository.commit("Second", contents(run.inputs.deep_model))
    spec = run.spec(
        model_name_or_path="user/secret",
        model_revision=first.id,
        cache_dir=str(tmp_path / "cache"),
        output_dir=str(tmp_path / "output"),
        max_steps=1,
    )
    start = run.subject.command or (*MODULE, "--trainer", run.subject.text)
    environment = environment_of(run.profile)
    environment.pop("HF_TOKEN")
    ended = subprocess.run(
        [*start, *flags_of_dict(spec.as_dict()), "--token=hf_writes"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = load_file(tmp_path / "output" / "model.safetensors").keys()
    wanted = load_file(run.inputs.model / "model.safetensors").keys()
    assert found == wanted, "another revision is read"
    assert [*(tmp_path / "cache").rglob("*secret*")], "it lies elsewhere"
