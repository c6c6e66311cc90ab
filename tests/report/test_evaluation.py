"""What an evaluation asks of a backend, with a backend in plain numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.models import tiny_t5
from fixtures.numpy_backend import NumpyBackend
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers.registry import SharedTrainer
from reference_trainers.spec import TrainingSpec


class NoSearch(NumpyBackend):
    """Dies where it is asked for an answer without a token, as a search may."""

    def generate(self, batch: Any, settings: Any) -> np.ndarray:
        raise ValueError("Input length of decoder_input_ids is 1")


@pytest.mark.parametrize("beams", [1, 2])
def test_the_longest_answer_may_be_the_start_token_alone(
    tmp_path: Path, beams: int
) -> None:
    rows = str(write_jsonl(tmp_path / "rows.jsonl", ragged_rows(5)))
    spec = TrainingSpec(
        model_name_or_path=str(tiny_t5(tmp_path / "model", num_layers=1)),
        test_file=rows,
        output_dir=str(tmp_path / "output"),
        do_predict=True,
        predict_with_generate=True,
        val_max_target_length=1,
        num_beams=beams,
    )
    report = SharedTrainer("numpy", NoSearch).run(spec)
    assert report.metrics["predict_rouge1"] == 0
    lines = (tmp_path / "output" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == [""] * 5
