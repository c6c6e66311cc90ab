"""What the leaves do about a TPU, on a machine without one: nothing here needs one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from conformance.hardware import needs_a_tpu
from fixtures.write import write_csv
from reference_trainers.errors import InputError
from reference_trainers.spec import TrainingSpec

PACKAGE = Path(__file__).parents[2] / "reference_trainers"
ROWS = [{"text": "One. Two.", "summary": "One."}]


@pytest.fixture
def tensorflow():
    pytest.importorskip("tensorflow", reason="not run: TensorFlow is not installed")
    if needs_a_tpu() is None:
        pytest.skip("not run: there is a TPU here")
    from reference_trainers.tensorflow import backend

    return backend


@pytest.mark.parametrize("name", ["name_of_tpu_resource", "local"])
def test_tensorflow_says_that_no_tpu_answers(tensorflow, name):
    began = time.monotonic()
    with pytest.raises(InputError) as refused:
        tensorflow.TensorFlowBackend.reach(TrainingSpec(tpu=name))
    assert time.monotonic() - began < 60
    said = str(refused.value)
    assert said.startswith(f"--tpu {name}: no TPU answers: "), said
    assert said.endswith(" give the name of a TPU that this machine can reach."), said
    assert "\n" not in said and len(said) < 300, said
    assert socket.getdefaulttimeout() is None


def test_an_address_where_nobody_listens_is_not_tried_again_and_again(tensorflow):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        name = f"grpc://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(
            InputError, match=f"^--tpu {name}: no TPU answers: .*efused"
        ):
            tensorflow.tpu_system(name)


def test_the_script_ends_with_one_sentence_and_writes_nothing(tensorflow, tmp_path):
    rows = write_csv(tmp_path / "rows.csv", ROWS)
    output = tmp_path / "output"
    words = f"--tpu t --do_train --train_file {rows} --output_dir {output}"
    script = PACKAGE / "tensorflow/run_summarization.py"
    command = [sys.executable, str(script), "--model_name_or_path", "m", *words.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.startswith("--tpu t: no TPU answers: ")
    assert ended.stderr.count("\n") == 1 and ended.stdout == ""
    assert not output.exists()


def test_programs_for_a_tpu_have_fixed_shapes(tensorflow, monkeypatch):
    """`TPUStrategy` compiles by itself: tf.function is not to ask for it again."""
    import tensorflow as tf

    monkeypatch.setattr(
        tensorflow, "prepare", lambda spec: tf.distribute.get_strategy()
    )
    built = SimpleNamespace(trainable_variables=[])
    monkeypatch.setattr(tensorflow, "network_of", lambda spec, source: built)
    monkeypatch.setattr(tensorflow, "adamw", lambda spec, values: None)
    backend = tensorflow.TensorFlowBackend(TrainingSpec(tpu="t"), None)
    assert backend.xla and not backend.jit
    assert (backend.pad_to_multiple_of, backend.device_kind) == (64, "tpu")
