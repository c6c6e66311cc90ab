"""A tokenizer with more tokens than the model: every trainer does the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from fixtures.models import tiny_t5
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers.registry import find_trainer
from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec

NEEDS = {
    "pytorch": "torch",
    "accelerate": "accelerate",
    "tensorflow": "tensorflow",
    "flax": "flax",
}
NEW = "[DATE]"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def inputs(request, tmp_path_factory) -> dict[str, str]:
    """A model, and rows whose texts and summaries hold a token that it lacks."""
    return made(tmp_path_factory.mktemp("inputs"), tied=request.param)


@pytest.fixture(scope="module")
def untied(tmp_path_factory) -> dict[str, str]:
    """The same with a head of its own, which must grow too."""
    return made(tmp_path_factory.mktemp("inputs"), tied=False)


def made(top: Path, tied: bool) -> dict[str, str]:
    model = tiny_t5(
        top / "model", tied=tied, gated=True, dropout_rate=0.0, num_layers=1
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens([NEW, "[PLACE]"])
    tokenizer.save_pretrained(model)
    rows = [
        {column: f"{NEW} {text}" for column, text in row.items()}
        for row in ragged_rows(12)
    ]
    file = str(write_jsonl(top / "rows.jsonl", rows))
    return {
        "model_name_or_path": str(model),
        "train_file": file,
        "validation_file": file,
    }


def run(name: str, inputs: dict[str, str], folder: Path, **flags) -> RunReport:
    pytest.importorskip(NEEDS[name], reason=f"not run: {NEEDS[name]} is not installed")
    given: dict[str, Any] = {"max_steps": 3, "save_strategy": "no"} | inputs | flags
    spec = TrainingSpec(
        do_train=True,
        do_eval=True,
        lr_scheduler_type="constant",
        learning_rate=1e-2,
        max_source_length=32,
        max_target_length=8,
        per_device_train_batch_size=4,
        use_cpu=True,
        output_dir=str(folder),
        **given,
    )
    return find_trainer(name).run(spec)


@pytest.fixture(scope="module")
def expected(inputs, tmp_path_factory) -> RunReport:
    """What the trainer does whose model is transformers' own."""
    return run("pytorch", inputs, tmp_path_factory.mktemp("expected") / "out")


@pytest.mark.parametrize("name", NEEDS)
def test_every_trainer_adds_the_same_rows(name, inputs, expected, tmp_path, capfd):
    found = run(name, inputs, tmp_path / "found")
    assert "its embeddings get 2 rows more" in capfd.readouterr().err
    assert any("2 rows more" in warning for warning in found.warnings)
    losses = [step.loss for step in found.steps]
    assert losses == pytest.approx([step.loss for step in expected.steps], rel=1e-5)
    assert found.metrics["eval_loss"] == pytest.approx(
        expected.metrics["eval_loss"], rel=1e-5
    )


@pytest.mark.parametrize("name", NEEDS)
def test_its_output_and_its_checkpoints_open(name, untied, tmp_path):
    folder = tmp_path / "whole"
    every = {"save_strategy": "steps", "save_steps": 1}
    whole = run(name, untied, folder, max_steps=2, **every)
    # Of the model that was given, and of what came of it: neither grows again
    first = {"resume_from_checkpoint": str(folder / "checkpoint-1")}
    resumed = run(name, untied, tmp_path / "resumed", max_steps=2, **first)
    assert resumed.resumed_at == 1
    assert resumed.steps[-1].loss == whole.steps[-1].loss
    given = untied | {"model_name_or_path": str(folder)}
    more = run(name, given, tmp_path / "more", max_steps=1)
    assert not any("rows more" in warning for warning in more.warnings)


def test_transformers_opens_the_output(inputs, tmp_path):
    pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import AutoModelForSeq2SeqLM

    run("accelerate", inputs, tmp_path)
    model, loading = AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(loading.values())
    size = len(AutoTokenizer.from_pretrained(tmp_path))
    assert model.get_input_embeddings().weight.shape[0] == size
    assert model.get_output_embeddings().weight.shape[0] == size
