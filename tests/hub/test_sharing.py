"""What a run shares, with a local Hub: all of it or nothing, and never at its price."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.hub import COMMIT, FAILING, Fault, Hub
from fixtures.numpy_backend import TRAINER
from reference_trainers import InputError, TrainingStopped, cli, flags_of_dict
from reference_trainers.__main__ import main
from reference_trainers.hub import sharing
from tests.life.runs import Life, untimed

PUSHED: dict[str, Any] = {"push_to_hub": True, "hub_strategy": "end"}
NAME = "user/output"


def titles(hub: Hub, name: str = NAME) -> list[str]:
    """Of the commits that were pushed, oldest first."""
    return [commit.said()["title"] for commit in hub.commits(name)[1:]]


def pushed_files(hub: Hub, name: str = NAME) -> dict[str, bytes]:
    found = hub.files(name)
    del found[".gitattributes"]  # the Hub's own
    return found


def assert_is_there(hub: Hub, folder: Path, name: str = NAME) -> None:
    """The repository holds what the report in `folder` lists, and nothing else."""
    report = sharing.RunReport.read(folder)
    found = pushed_files(hub, name)
    said = replace(report, push=None).as_json().encode()
    assert found.pop("run_report.json") == said
    listed = {file for file in report.files if file != "run_report.json"}
    assert found == {file: (folder / file).read_bytes() for file in listed}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({}, "user/output"),
        ({"push_to_hub_model_id": "mine"}, "user/mine"),
        ({"hub_model_id": "mine"}, "user/mine"),
        ({"hub_model_id": "team/ours"}, "team/ours"),
    ],
)
def test_a_run_is_one_commit(
    life: Life, hub: Hub, flags: dict[str, Any], name: str
) -> None:
    life.folder.mkdir()
    (life.folder / "notes.txt").write_text("the user's own")
    report = life.run(**PUSHED, **flags, overwrite_output_dir=True, do_predict=True)
    assert titles(hub, name) == ["End of training"]
    assert_is_there(hub, life.folder, name)
    assert {"README.md", "model.safetensors", "predict_results.json", "loss.png"} <= {
        *pushed_files(hub, name)
    }
    assert report.push is not None
    assert report.push["repository"] == name
    assert report.push["url"] == f"{hub.url}/{name}"
    assert report.push["commit"] == hub.commits(name)[-1].id
    assert report.push["problem"] is None


def test_pushing_again_makes_no_commit(life: Life, hub: Hub) -> None:
    life.run(**PUSHED)
    life.run(**PUSHED)
    sharing.push_folder(life.folder)
    assert titles(hub) == ["End of training"]
    assert_is_there(hub, life.folder)


def test_what_was_trained_without_a_push_is_pushed_later(
    life: Life, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    life.run()
    assert main(["push", str(life.folder), "--hub_model_id", "team/later"]) == 0
    assert capsys.readouterr().out == f"{hub.url}/team/later\n"
    assert_is_there(hub, life.folder, "team/later")
    life.run(**PUSHED)  # nothing is left to train
    assert_is_there(hub, life.folder)


def test_a_repository_is_private_if_that_is_asked_for(life: Life, hub: Hub) -> None:
    life.run(**PUSHED, hub_private_repo=True)
    found = hub.store.find("models", NAME)
    assert found is not None
    assert found.rights()["private"]


@pytest.mark.parametrize(
    ("token", "flags", "sentence"),
    [
        (
            None,
            {},
            "there is no token. Log in by `hf auth login`, or",
        ),
        ("hf_unknown", {}, "the Hub does not know the token of HF_TOKEN; give another"),
        ("hf_reads", {}, "the token may only read; give one that may write."),
        (
            "hf_writes",
            {"hub_model_id": "other/new"},
            "other is not yours; you may write to user, team. See --hub_model_id.",
        ),
        ("hf_writes", {"hub_model_id": "other/theirs"}, "other is not yours"),
        ("hf_writes", {"hub_model_id": "no good"}, "Repo id must use alphanumeric"),
    ],
)
def test_what_the_hub_would_refuse_is_refused_before_training(
    life: Life,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    flags: dict[str, Any],
    sentence: str,
) -> None:
    hub.store.create("models", "other/theirs")
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError) as caught:
        life.run(**PUSHED, **flags)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("--push_to_hub: ")
    assert not life.folder.exists()


def test_a_flag_wins_over_the_token_of_the_environment(
    life: Life, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    life.run(**PUSHED, hub_token="hf_writes")
    assert_is_there(hub, life.folder)


@pytest.mark.parametrize("what", FAILING)
def test_a_push_that_fails_costs_nothing(
    life: Life,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    """Exit status 3, the output whole, and one command that pushes it."""
    monkeypatch.setattr(sharing, "ANSWER_SECONDS", 6.0)
    whole = Life(life.inputs, life.folder.with_name("whole"))
    whole.run()
    hub.faults.append(replace(FAILING[what]))
    spec = flags_of_dict(life.spec(**PUSHED).as_dict())
    assert cli.main(TRAINER, spec) == 3
    said = capsys.readouterr().err
    assert f"python -m reference_trainers push {life.folder}" in said
    mine, theirs = untimed(life.folder), untimed(whole.folder)
    same = {name for name in theirs if not name.endswith((".md", "report.json"))}
    assert {name: mine[name] for name in same} == {name: theirs[name] for name in same}
    problem = life.report().push
    assert problem is not None
    assert problem["problem"] in said
    if what == "hangs":
        assert "no answer of the Hub within 6" in said
    assert titles(hub) == []
    hub.faults.clear()
    assert main(["push", str(life.folder)]) == 0
    assert titles(hub) == ["End of training"]
    assert_is_there(hub, life.folder)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(life: Life, hub: Hub) -> None:
    hub.faults.append(Fault(COMMIT, answer_lost=True))
    report = life.run(**PUSHED)
    assert report.push is not None
    assert report.push["problem"]
    sharing.push_folder(life.folder)
    assert titles(hub) == ["End of training"]


def test_an_upload_that_is_reset_once_is_made_again(life: Life, hub: Hub) -> None:
    hub.faults.append(Fault("PUT", reset_after=100))
    report = life.run(**PUSHED)
    assert report.push is not None
    assert report.push["problem"] is None
    assert_is_there(hub, life.folder)


def test_training_does_not_need_the_hub(
    life: Life, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is down before, and stays so."""
    hub.stop()
    report = life.run(**PUSHED)
    assert "It is tried again when all is written." in capsys.readouterr().err
    assert report.push is not None
    assert report.push["problem"]
    assert report.total_steps == 4


def test_each_save_is_a_commit_in_order(life: Life, hub: Hub) -> None:
    life.run(**PUSHED | {"hub_strategy": "every_save"}, max_steps=6)
    saves = [f"Training in progress, step {n}" for n in (2, 4)]  # and 6, the end
    assert titles(hub) == [*saves, "End of training"]
    first = hub.commits(NAME)[1].files()
    saved = (life.folder / "checkpoint-2" / "model.safetensors").read_bytes()
    assert first["model.safetensors"].read_bytes() == saved
    assert "optimizer.safetensors" not in first
    assert_is_there(hub, life.folder)


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
def test_a_push_that_fails_while_training_is_made_up_for(
    life: Life, hub: Hub, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    hub.faults.append(Fault(COMMIT, status=500, nth=2))
    report = life.run(**PUSHED | {"hub_strategy": strategy}, max_steps=6)
    said = capsys.readouterr().err
    lost = "Training in progress, step 4"
    assert f"{lost}: not pushed to {NAME}: the Hub answered 500" in said
    last = [] if strategy == "every_save" else ["Training in progress, step 6"]
    first = "Training in progress, step 2"
    assert titles(hub) == [first, *last, "End of training"]
    assert report.push is not None
    problems = {push["message"]: push["problem"] for push in report.push["earlier"]}
    assert [message for message, problem in problems.items() if problem] == [lost]
    folders = {name.split("/")[0] for name in pushed_files(hub) if "/" in name}
    everything = {"checkpoint-2", "checkpoint-4", "checkpoint-6"}
    there = {
        "every_save": set(),
        "checkpoint": {"last-checkpoint"},
        "all_checkpoints": everything,
    }
    assert folders == there[strategy]


def test_a_users_file_in_a_checkpoint_is_not_pushed(life: Life) -> None:
    life.run()
    (life.folder / "checkpoint-2" / "mine.txt").write_text("mine")
    pushed = sharing.own_files(life.folder / "checkpoint-2")
    assert {"manifest.json", "model.safetensors"} <= pushed.keys()
    assert "mine.txt" not in pushed


def test_what_is_pushed_is_not_rotated_away(life: Life, hub: Hub) -> None:
    hub.faults.append(Fault("PUT", delay=1))
    flags = PUSHED | {"hub_strategy": "all_checkpoints", "save_total_limit": 1}
    report = life.run(**flags, max_steps=6)
    assert report.push is not None
    assert not [push for push in report.push["earlier"] if push["problem"]]


def test_a_run_resumes_elsewhere_from_what_is_on_the_hub(
    life: Life, hub: Hub, tmp_path: Path
) -> None:
    whole = Life(life.inputs, tmp_path / "elsewhere" / "whole")
    whole.run(max_steps=6)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingStopped):
        stop_in_step(patch, 6)
        life.run(**PUSHED | {"hub_strategy": "checkpoint"}, max_steps=6)
    there = tmp_path / "downloaded" / "last-checkpoint"
    there.mkdir(parents=True)
    for name, content in hub.files(NAME).items():
        if name.startswith("last-checkpoint/"):
            (there.parent / name).write_bytes(content)
    other = Life(life.inputs, tmp_path / "other")
    report = other.run(max_steps=6, resume_from_checkpoint=str(there))
    assert report.resumed_at == 4
    for name in ("model.safetensors", "checkpoint-6/optimizer.safetensors"):
        mine, theirs = other.folder / name, whole.folder / name
        assert mine.read_bytes() == theirs.read_bytes(), name


def stop_in_step(patch: pytest.MonkeyPatch, step: int) -> None:
    from fixtures.numpy_backend import NumpyBackend

    real, calls = NumpyBackend.train_step, iter(range(1, 1000))

    def stopped(self: NumpyBackend, *given: Any) -> Any:
        if next(calls) == step:
            time.sleep(3)  # what was saved has been pushed by then
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *given)

    patch.setattr(NumpyBackend, "train_step", stopped)


def test_a_stop_ends_a_push(life: Life, hub: Hub) -> None:
    hub.faults.append(Fault(COMMIT, delay=3600))

    def stop_the_push() -> None:
        while not any("/commit/" in request for request in hub.requests):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_the_push, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(TrainingStopped, match=r"Stopped while pushing; .* is whole"):
        life.run(**PUSHED)
    assert time.monotonic() - began < 60
    hub.faults.clear()
    life.run(**PUSHED)
    assert_is_there(hub, life.folder)


def test_the_token_is_nowhere(
    life: Life,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither that of the environment, nor of `hf auth login`, nor of a flag."""
    secret = "hf_sentinel_of_this_test"
    monkeypatch.setenv("HF_TOKEN", secret)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(secret)
    spec = flags_of_dict(life.spec(**PUSHED).as_dict())
    told = ["--hub_token", secret, "--token", secret, "--traceback"]
    assert cli.main(TRAINER, [*spec, *told]) == 2  # the Hub does not know it
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    hub.faults.append(Fault(COMMIT, status=500, times=None))
    flags = ["--hub_token", "hf_writes", "--token", secret, "--traceback"]
    assert cli.main(TRAINER, [*spec, *flags]) == 3
    said = "".join(capfd.readouterr())
    files = [path for path in life.folder.rglob("*") if path.is_file()]
    assert life.folder / "README.md" in files
    for token in (secret, "hf_writes"):
        assert token not in said
        assert [p for p in files if token.encode() in p.read_bytes()] == []


def test_a_card_has_what_the_hub_understands(life: Life, hub: Hub) -> None:
    from huggingface_hub import ModelCard

    life.run(**PUSHED, do_eval=True)
    card = ModelCard.load(life.folder / "README.md")
    assert card.data.pipeline_tag == "summarization"
    assert card.data.library_name == "transformers"
    assert card.data.model_name == "output"
    found = {result.metric_name: result for result in card.data.eval_results}
    metrics = json.loads((life.folder / "eval_results.json").read_text())
    assert found["rouge2"].metric_value == metrics["eval_rouge2"]
    assert found["rouge2"].metric_type == "rouge"
    assert found["loss"].dataset_split == "validation"
    assert "--learning_rate 0.01" in card.text
    assert "![Loss by step](loss.png)" in card.text


@pytest.mark.parametrize("flag", ["hub_token", "use_auth_token"])
def test_a_secret_is_not_repeated(
    capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert cli.main(TRAINER, [f"--{flag}", "hf_secret"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"--{flag}: ")
    assert "hf_secret" not in said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"hub_model_id": "x"}, "--hub_model_id x: has no effect without --push_to"),
        (
            {"push_to_hub": True, "hub_model_id": "x", "push_to_hub_model_id": "y"},
            "--push_to_hub_model_id and --hub_model_id name two repositories",
        ),
        (
            {"push_to_hub": True, "push_to_hub_model_id": "team/x"},
            "--push_to_hub_model_id team/x: is a name in your own namespace",
        ),
        (
            PUSHED | {"hub_strategy": "checkpoint", "save_strategy": "no"},
            "--hub_strategy checkpoint: there are no checkpoints",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    life: Life, flags: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        life.spec(**flags)
    assert str(caught.value).startswith(sentence)


def test_nothing_trained_is_nothing_to_push(life: Life) -> None:
    with pytest.raises(InputError, match="--push_to_hub: no model is trained"):
        life.run(**PUSHED, do_train=False, do_eval=True)


@pytest.mark.parametrize(
    ("there", "sentence"),
    [(False, "no such folder."), (True, "no run has left its results there.")],
)
def test_push_needs_results(
    life: Life, capsys: pytest.CaptureFixture[str], there: bool, sentence: str
) -> None:
    if there:
        life.folder.mkdir()
    assert main(["push", str(life.folder)]) == 2
    assert capsys.readouterr().err == f"{life.folder}: {sentence}\n"


def test_a_result_takes_the_place_of_the_one_before(life: Life, hub: Hub) -> None:
    """What an earlier result left is gone, what a user has put there stays."""
    life.run(**PUSHED, do_eval=True)
    repository = hub.store.find("models", NAME)
    assert repository is not None
    there = dict(hub.commits(NAME)[-1].files())
    repository.commit("of the user", {**there, "notes.txt": b"mine"})
    assert "eval_results.json" in pushed_files(hub)
    life.run(**PUSHED, overwrite_output_dir=True, learning_rate=0.5)
    assert "notes.txt" in pushed_files(hub)
    assert pushed_files(hub).keys() - {"notes.txt"} == {*life.report().files}


def test_a_hub_that_is_silent_does_not_hold_up_training(
    life: Life, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push is waited for once; later saves go on, and are made up for."""
    monkeypatch.setattr(sharing, "PATIENCE", 0.5)
    hub.faults.append(Fault(COMMIT, delay=8, times=1))
    flags = PUSHED | {"hub_strategy": "checkpoint", "save_total_limit": 1}
    began = time.monotonic()
    saved = []
    right = sharing.Sharing.saved

    def seen(self: sharing.Sharing, *given: Any) -> None:
        saved.append(time.monotonic() - began)
        right(self, *given)

    monkeypatch.setattr(sharing.Sharing, "saved", seen)
    report = life.run(**flags, max_steps=8)
    assert saved[-1] < 6, "the saves waited for the push"
    assert report.push is not None
    problems = [push["problem"] for push in report.push["earlier"]]
    late = "the push before it is still under way."
    assert problems.count(late) == 3
    assert not any(problem for problem in problems if problem != late)
    newest = (life.folder / "checkpoint-8" / "model.safetensors").read_bytes()
    assert pushed_files(hub)["last-checkpoint/model.safetensors"] == newest


def test_a_run_that_was_stopped_is_to_be_started_again(life: Life, hub: Hub) -> None:
    life.killed(when="checkpoint-4")
    with pytest.raises(InputError, match="has not ended: start it again to end and"):
        sharing.push_folder(life.folder)
