"""A checkpoint's files may be whole and say what no trainer writes: told, not met."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.checkpoints import write_step
from reference_trainers.checkpoints.manifest import (
    CheckpointError,
    record_of,
    verify_checkpoint,
)
from reference_trainers.checkpoints.read import read_past, read_trainer_state
from reference_trainers.errors import InputError
from reference_trainers.files import json_of
from reference_trainers.folder import sweep

STEP = {
    "step": 0,
    "epoch": 0.5,
    "row_ids": [1, 2],
    "learning_rate": 1e-3,
    "loss": None,
    "grad_norm": 2,
    "target_tokens": 7,
    "seconds": 0.1,
}
PAST: dict[str, Any] = {
    "recipe": {"max_steps": 4},
    "changes": [{"step": 2, "max_steps": [3, 4]}],
    "steps": [STEP],
    "logged": 1,
    "evaluations": [{"step": 1, "eval_loss": None}],
    "event_files": ["runs/x"],
}


def sealed(folder: Path, **changes: Any) -> Path:
    """`folder` with a manifest that fits its files, and has these fields."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    listed = {*content["files"], *(p.name for p in folder.glob("steps.json"))}
    records = {name: vars(record_of(folder / name)) for name in listed}
    content = content | {"files": records} | changes
    del content["digest"]
    digest = hashlib.sha256(json_of(content).encode()).hexdigest()
    path.write_text(json_of(content | {"digest": digest}))
    return folder


def past_in(folder: Path, text: str) -> dict[str, Any]:
    (folder / "steps.json").write_text(text)
    return read_past(verify_checkpoint(sealed(folder)))


def test_what_a_trainer_writes_is_read(tmp_path: Path) -> None:
    found = past_in(write_step(tmp_path, 3), json.dumps(PAST))
    assert [step.as_dict() for step in found["steps"]] == [
        {**STEP, "compiled": False, "applied": True}
    ]
    assert {**found, "steps": PAST["steps"]} == PAST


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Expecting value"),
        ("3", "int"),
        ("{}", "'steps' is missing"),
        ("[" * 90_000, "recursion"),
        ({"steps": [3]}, "int"),
        ({"steps": [{**STEP, "epoch": "x"}]}, 'epoch is "x"'),
        ({"steps": [{**STEP, "row_ids": ["x"]}]}, 'row_ids is ["x"]'),
        ({"steps": [{**STEP, "more": 3}]}, "'more'"),
        ({"logged": True}, "logged is true"),
        ({"event_files": [3]}, "event_files is [3]"),
        ({"recipe": {"seed": 3}}, "seed is in recipe"),
        ({"evaluations": [{}]}, "'step' is missing"),
        ({"evaluations": [{"step": 1, "eval_loss": float("nan")}]}, "not JSON"),
        ({"changes": [{"step": "x"}]}, "step is x"),
        ({"changes": [{"step": 2, "max_steps": 3}]}, "max_steps is 3 in changes"),
        ({"more": 3}, "'more'"),
    ],
)
def test_steps_that_no_trainer_writes_are_refused(tmp_path, text, what) -> None:
    text = text if isinstance(text, str) else json.dumps(PAST | text)
    with pytest.raises(CheckpointError) as refused:
        past_in(write_step(tmp_path, 3), text)
    said = str(refused.value)
    assert "checkpoint-3: steps.json is not as a trainer writes it: " in said
    assert what in said.replace("JSON compliant", "not JSON")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("3", "int"),
        ("[]", "list"),
        ('{"log_history": 3}', "log_history is 3"),
        ('{"log_history": [3]}', "log_history is [3]"),
        ('{"best_metric": "x"}', 'best_metric is "x"'),
        ('{"best_global_step": 1.5}', "best_global_step is 1.5"),
    ],
)
def test_a_state_that_no_trainer_writes_is_refused(tmp_path, text, what) -> None:
    folder = write_step(tmp_path, 3)
    (folder / "trainer_state.json").write_text(text)
    with pytest.raises(CheckpointError) as refused:
        read_trainer_state(verify_checkpoint(sealed(folder)))
    assert what in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [{"identity": 3}, {"updates": {}}, {"step": True}, {"loss_scale": {"scale": "x"}}],
)
def test_a_manifest_of_other_types_is_damaged(tmp_path, changes) -> None:
    folder = sealed(write_step(tmp_path, 3), **changes)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged"):
        verify_checkpoint(folder)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        '{"by": 3, "sha256": "", "results": false, "checkpoints": []}',
        '{"by": "x", "sha256": "", "results": false, "checkpoints": [".."]}',
        '{"by": "x", "sha256": "", "results": false, "checkpoints": 3}',
    ],
)
def test_nothing_goes_on_the_word_of_a_damaged_note(tmp_path, note) -> None:
    (tmp_path / ".results.superseded-abc").write_text(note)
    with pytest.raises(InputError, match=r"superseded-abc there is damaged"):
        sweep(tmp_path)
