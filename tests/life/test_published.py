"""What stands in the output folder is one run's, true, and the user's files stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reference_trainers import InputError, RunReport
from tests.life.runs import FIRST_IS_BEST, Life


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_that_was_not_published_is_at_the_next_start(life: Life) -> None:
    life.run(max_steps=4)
    life.killed(when="generated_predictions.txt", max_steps=8, do_predict=True)
    assert (life.folder / "checkpoint-8").is_dir(), "it was to die after training"
    life.run(max_steps=8, do_predict=True)
    assert weights(life.folder) == weights(life.folder / "checkpoint-8")
    assert life.json("trainer_state.json")["global_step"] == 8
    assert len(life.report().steps) == 8


@pytest.mark.parametrize("add", ["do_eval", "do_predict"])
def test_a_finished_run_judges_what_it_published(life: Life, add: str) -> None:
    life.run(**FIRST_IS_BEST)
    losses = {e["step"]: e["eval_loss"] for e in life.report().evaluations}
    assert losses[2] != losses[6]
    before = life.report()
    life.run(**FIRST_IS_BEST, **{add: True})
    after = life.report()
    assert after.model_step == 2
    if add == "do_eval":
        assert after.metrics["eval_loss"] == losses[2]
    assert after.steps == before.steps
    assert after.metrics.keys() > before.metrics.keys()
    assert life.json("all_results.json") == after.metrics


def test_an_evaluation_alone_adds_to_a_finished_run(life: Life) -> None:
    life.run(**FIRST_IS_BEST)
    before = life.report()
    life.run(do_train=False, do_eval=True, per_device_eval_batch_size=3)
    after = life.report()
    assert after.steps == before.steps
    assert (after.spec, after.spec_hash) == (before.spec, before.spec_hash)
    best = next(e for e in after.evaluations if e["step"] == 2)
    assert after.metrics["eval_loss"] == pytest.approx(best["eval_loss"])
    (added,) = after.added
    assert added["flags"]["per_device_eval_batch_size"] == 3


def test_the_report_says_what_its_steps_ran_with(life: Life, capfd: Any) -> None:
    life.run()
    before = life.report()
    life.run(learning_rate=0.5, do_eval=True)
    after = life.report()
    assert (after.spec, after.spec_hash) == (before.spec, before.spec_hash)
    assert "learning_rate was 0.01, not 0.5" in capfd.readouterr().err


def test_files_of_the_user_stay(life: Life) -> None:
    life.run()
    for name in ("runs/exp1.txt", "vocab.json", "notes.txt"):
        (life.folder / name).parent.mkdir(exist_ok=True)
        (life.folder / name).write_text("mine")
    life.run(overwrite_output_dir=True, do_eval=True)
    for name in ("runs/exp1.txt", "vocab.json", "notes.txt"):
        assert (life.folder / name).read_text() == "mine"


@pytest.mark.parametrize(
    "flags",
    [
        {"overwrite_output_dir": True},
        {"overwrite_output_dir": True, "resume_from_checkpoint": "checkpoint-4"},
    ],
)
def test_a_users_file_in_a_checkpoint_is_not_removed_with_it(
    life: Life, flags: dict[str, Any]
) -> None:
    life.run()
    mine = life.folder / "checkpoint-2" / "mine.txt"
    mine.write_text("mine")
    if "resume_from_checkpoint" in flags:
        flags = flags | {"resume_from_checkpoint": str(life.folder / "checkpoint-4")}
    before = sorted(life.folder.rglob("*"))
    with pytest.raises(InputError, match=r"checkpoint-2/mine.txt was not written by"):
        life.run(**flags, max_steps=8)
    assert sorted(life.folder.rglob("*")) == before


def test_a_checkpoint_with_a_users_file_is_not_rotated_away(life: Life) -> None:
    life.run()
    mine = life.folder / "checkpoint-2" / "mine.txt"
    mine.write_text("mine")
    life.run(max_steps=8, save_total_limit=1)
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in life.folder.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-8",
    ]


@pytest.mark.parametrize("name", ["README.md", "config.json", "run_report.json"])
def test_a_name_that_a_users_file_has_is_refused_before_training(
    life: Life, name: str
) -> None:
    life.folder.mkdir()
    (life.folder / name).write_text("mine")
    with pytest.raises(InputError, match=name):
        life.run(overwrite_output_dir=True)
    assert [path.name for path in life.folder.iterdir()] == [name]
    assert (life.folder / name).read_text() == "mine"


def test_a_users_folder_named_as_a_checkpoint_is_refused(life: Life) -> None:
    (life.folder / "checkpoint-4").mkdir(parents=True)
    (life.folder / "checkpoint-4" / "mine").write_text("mine")
    with pytest.raises(InputError, match="checkpoint-4 there is no checkpoint"):
        life.run(overwrite_output_dir=True)
    assert (life.folder / "checkpoint-4" / "mine").read_text() == "mine"


def test_an_overwriting_run_is_not_taken_for_the_one_before(life: Life) -> None:
    life.run(learning_rate=3e-2)
    life.killed(when="checkpoint-4.writing", overwrite_output_dir=True)
    assert not (life.folder / "run_report.json").exists()
    report = life.run()
    assert report.resumed_at == 2
    assert report.spec["learning_rate"] == 1e-2
    assert weights(life.folder) == weights(life.folder / "checkpoint-4")


@pytest.mark.parametrize("save_strategy", ["steps", "no"])
def test_what_was_overwritten_does_not_come_back(
    life: Life, save_strategy: str
) -> None:
    """A kill just after something new stands: what is old goes at the next start."""
    life.run(learning_rate=3e-2, max_steps=6)
    anew: dict[str, Any] = {"overwrite_output_dir": True}
    life.killed(when="checkpoint-6", save_strategy=save_strategy, **anew)
    assert (life.folder / "checkpoint-6").is_dir(), "it was to die before"
    report = life.run(save_strategy=save_strategy)
    assert report.spec["learning_rate"] == 1e-2
    assert not (life.folder / "checkpoint-6").exists()
    assert report.steps[0].learning_rate == 1e-2


def test_nothing_old_goes_before_something_new_stands(life: Life) -> None:
    life.run(max_steps=6)
    life.killed(when="checkpoint-2.writing", overwrite_output_dir=True)
    report = life.run(max_steps=6)
    assert report.total_steps == 6
    assert (life.folder / "checkpoint-6").is_dir()


def test_what_the_earlier_run_published_goes_with_it(life: Life) -> None:
    life.run(do_eval=True, do_predict=True)
    assert (life.folder / "predictions.jsonl").is_file()
    life.run(overwrite_output_dir=True, seed=7)
    left = {path.name for path in life.folder.iterdir() if path.is_file()}
    assert left == set(life.report().files)
    assert "predictions.jsonl" not in left


def test_the_model_that_is_fine_tuned_is_not_replaced(life: Life) -> None:
    life.run()
    for model in (life.folder, life.folder / "checkpoint-2"):
        with pytest.raises(InputError, match="the model to fine-tune lies in it"):
            life.run(model_name_or_path=str(model), overwrite_output_dir=True)
    assert weights(life.folder) == weights(life.folder / "checkpoint-4")


def test_a_new_run_in_an_old_folder_needs_the_flag(life: Life, tmp_path: Path) -> None:
    other = Life(life.inputs, tmp_path / "other")
    other.run(seed=7)
    life.run()
    for source in ("checkpoint-2", "checkpoint-4"):
        with pytest.raises(InputError, match="holds another run"):
            life.run(resume_from_checkpoint=str(other.folder / source))
    assert {p.name for p in life.folder.glob("checkpoint-*")} == {
        "checkpoint-2",
        "checkpoint-4",
    }


def test_runs_of_two_rates_are_not_mixed(life: Life, tmp_path: Path) -> None:
    other = Life(life.inputs, tmp_path / "other")
    other.run(learning_rate=3e-2)
    life.run(max_steps=2)
    with pytest.raises(InputError, match="holds another run"):
        life.run(resume_from_checkpoint=str(other.folder / "checkpoint-4"), max_steps=6)
    assert weights(life.folder) == weights(life.folder / "checkpoint-2")


def test_newer_checkpoints_are_not_given_up_unasked(life: Life) -> None:
    life.run(max_steps=6)
    named: dict[str, Any] = {"resume_from_checkpoint": f"{life.folder}/checkpoint-2"}
    with pytest.raises(InputError, match="checkpoint-6, which is newer"):
        life.run(max_steps=6, **named)
    life.run(max_steps=6, **named, overwrite_output_dir=True)
    assert life.report().resumed_at == 2


def test_a_training_that_is_not_finished_is_not_judged(life: Life) -> None:
    life.killed(when="run_report.json")
    with pytest.raises(InputError, match="has not finished"):
        life.run(do_train=False, do_eval=True)
    at: dict[str, Any] = {"resume_from_checkpoint": f"{life.folder}/checkpoint-2"}
    found = Life(life.inputs, life.folder.with_name("judged"))
    metrics = found.run(do_train=False, do_eval=True, **at).metrics
    start = Life(life.inputs, life.folder.with_name("start"))
    untrained = start.run(do_train=False, do_eval=True).metrics
    assert metrics["eval_loss"] < untrained["eval_loss"]


def test_a_container_resumes(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of it has the same number."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    life.killed(when="checkpoint-4")
    life.run()
    assert life.report().resumed_at == 2
    assert not list(life.folder.glob(".*"))


def test_a_report_reads_back_with_its_steps(life: Life) -> None:
    made = life.run()
    assert RunReport.read(life.folder) == made
    assert life.json("run_report.json")["schema"] == 2
