"""What the leaves do about a TPU, on a machine without one: nothing here needs one."""

from __future__ import annotations

import os
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
        tensorflow, "prepare", lambda spec, world: tf.distribute.get_strategy()
    )
    built = SimpleNamespace(trainable_variables=[])
    monkeypatch.setattr(tensorflow, "network_of", lambda spec, source: built)
    monkeypatch.setattr(tensorflow, "adamw", lambda spec, values: None)
    backend = tensorflow.TensorFlowBackend(TrainingSpec(tpu="t"), None)
    assert backend.xla and not backend.jit
    assert (backend.pad_to_multiple_of, backend.device_kind) == (64, "tpu")


@pytest.fixture
def pytorch(monkeypatch):
    """The leaf, where torch-tpu has named its device and there is no GPU."""
    torch = pytest.importorskip("torch", reason="not run: PyTorch is not installed")
    from reference_trainers.pytorch import backend

    found = SimpleNamespace(type="tpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return backend


def test_pytorch_takes_the_tpu_that_torch_names(pytorch, monkeypatch):
    assert pytorch.device_of(TrainingSpec()) == "tpu"
    assert pytorch.device_of(TrainingSpec(use_cpu=True)) == "cpu"
    with pytest.raises(InputError, match=r"^--fp16: a TPU .*give --bf16\.$"):
        pytorch.device_of(TrainingSpec(fp16=True))
    monkeypatch.setattr(pytorch.torch.cuda, "is_available", lambda: True)
    assert pytorch.device_of(TrainingSpec(fp16=True)) == "cuda"


@pytest.mark.parametrize("found", [None, SimpleNamespace(type="mps")])
def test_pytorch_takes_the_cpu_where_there_is_no_tpu(pytorch, monkeypatch, found):
    accelerator = pytorch.torch.accelerator
    monkeypatch.setattr(accelerator, "current_accelerator", lambda: found)
    assert pytorch.device_of(TrainingSpec(fp16=True)) == "cpu"


def test_accelerate_computes_where_it_is_told_to():
    """It knows no torch-tpu: as on a CPU it counts processes, elsewhere it computes."""
    pytest.importorskip("accelerate", reason="not run: accelerate is not installed")
    code = (
        "import os; os.environ['ACCELERATE_TORCH_DEVICE'] = 'meta'\n"
        "from accelerate import Accelerator\n"
        "made = Accelerator(cpu=True)\n"
        "print(made.device, made.num_processes, made.distributed_type.value)\n"
    )
    own = {
        "WORLD_SIZE": "1",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        own["MASTER_PORT"] = str(free.getsockname()[1])
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | own, check=True
    )
    assert ended.stdout == "meta 1 MULTI_CPU\n"
