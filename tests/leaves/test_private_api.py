"""The private names of libraries that we can't do without: a new version may drop one.

Each is used in one place; where it goes, this says which, before a run does.
"""

from __future__ import annotations

import pytest


def test_keras_optimizer_keeps_its_moments_where_we_look() -> None:
    """tensorflow/run_summarization.py: AdamW writes them in one pass over memory."""
    keras = pytest.importorskip("keras", reason="not run: Keras is not installed")
    pytest.importorskip("tensorflow", reason="not run: TensorFlow is not installed")
    variable = keras.Variable([1.0, 2.0], name="w")
    adamw = keras.optimizers.AdamW()
    adamw.build([variable])
    assert [m.shape for m in adamw._momentums] == [variable.shape]
    assert [v.shape for v in adamw._velocities] == [variable.shape]
    assert adamw._get_variable_index(variable) == 0


def test_jax_counts_the_programs_of_a_function() -> None:
    """flax/backend.py: `compilations`."""
    jax = pytest.importorskip("jax", reason="not run: JAX is not installed")
    double = jax.jit(lambda x: 2 * x)
    for value in (1, 2, 1.0):
        double(value)
    assert double._cache_size() == 2


def test_seq2seq_trainer_loads_a_checkpoint_where_we_stop_it() -> None:
    """pytorch/run_summarization.py: the backend has the weights already."""
    pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import Seq2SeqTrainer

    from reference_trainers.pytorch.run_summarization import ContractTrainer

    assert callable(Seq2SeqTrainer._load_from_checkpoint)
    assert "_load_from_checkpoint" in vars(ContractTrainer)


def test_torch_gives_its_compiler_by_name() -> None:
    """pytorch/floor.py: what `torch.compile` compiles is counted."""
    torch = pytest.importorskip("torch", reason="not run: torch is not installed")
    pytest.importorskip("accelerate", reason="not run: accelerate is not installed")
    assert callable(torch._dynamo.lookup_backend("inductor"))


def test_tensorflow_counts_the_programs_of_a_function() -> None:
    """tensorflow/floor.py: `compilations`."""
    tf = pytest.importorskip(
        "tensorflow", reason="not run: TensorFlow is not installed"
    )
    double = tf.function(lambda x: 2 * x, autograph=False)
    for value in (1, 2, 1.0):
        double(tf.constant(value))
    assert double.experimental_get_tracing_count() == 2
