"""The Flax and TensorFlow backends make the updates that torch makes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fixtures.float64_t5 import float64_t5
from reference_trainers.data.batches import Arrays, Batch, GlobalBatch
from reference_trainers.errors import InputError
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.recipe.decay import decays
from reference_trainers.recipe.randomness import dropout_seed
from reference_trainers.spec import TrainingSpec
from tests.leaves.t5_oracle import (
    FRAMEWORKS,
    filled,
    random_batch,
    source_of,
    torch_loss,
    torch_t5,
)

BOTH = pytest.mark.parametrize("framework", FRAMEWORKS)
ROWS = 4
SPEC = TrainingSpec(
    dtype="float64",
    learning_rate=1e-2,
    weight_decay=0.1,
    max_grad_norm=1.0,
    label_smoothing_factor=0.1,
    per_device_train_batch_size=ROWS,
    per_device_eval_batch_size=ROWS,
    gradient_accumulation_steps=2,
)
UPDATES = 20
ROOT = Path(__file__).parents[2]
ANSWER = GenerationSettings(8, 0, 0, (1,), num_beams=2)


def backend_class(framework):
    if framework == "flax":
        pytest.importorskip("flax")
        from reference_trainers.flax.backend import FlaxBackend

        return FlaxBackend
    pytest.importorskip("tensorflow")
    from reference_trainers.tensorflow.backend import TensorFlowBackend

    return TensorFlowBackend


def global_batch(step: int, seed: int = SPEC.seed) -> GlobalBatch:
    """Two micro-batches of differing lengths; every fifth is short of a row."""
    seeds = 2 * (step % 5), 2 * (step % 5) + 1
    last = ROWS - 1 if step % 5 == 4 else ROWS
    ragged = random_batch(ROWS, 12, 7, seeds[0]), random_batch(last, 9, 9, seeds[1])
    batches = tuple(
        filled(batch, ROWS, 12, 9, seed=dropout_seed(seed, step, place))
        for place, batch in enumerate(ragged)
    )
    tokens = sum(batch.target_tokens for batch in batches)
    return GlobalBatch(step, np.arange(ROWS + last), batches, tokens, ROWS)


def rate(step: int) -> float:
    return SPEC.learning_rate * (1 - step / UPDATES)


def torch_updates(model):
    """Losses, gradient norms, and torch's AdamW when all updates are done."""
    import torch

    groups: dict[float, list] = {SPEC.weight_decay: [], 0.0: []}
    for name, weight in model.named_parameters():
        groups[SPEC.weight_decay if decays(name) else 0.0].append(weight)
    adamw = torch.optim.AdamW(
        [{"params": group, "weight_decay": decay} for decay, group in groups.items()],
        eps=SPEC.adam_epsilon,
    )
    losses, norms = [], []
    for step in range(UPDATES):
        batch = global_batch(step)
        adamw.zero_grad()
        losses.append(0.0)
        for part in batch.micro_batches:
            loss = torch_loss(model, part, SPEC.label_smoothing_factor)
            loss = loss / batch.target_tokens
            loss.backward()
            losses[-1] += loss.item()
        clip = torch.nn.utils.clip_grad_norm_(model.parameters(), SPEC.max_grad_norm)
        norms.append(clip.item())
        for group in adamw.param_groups:
            group["lr"] = rate(step)
        adamw.step()
    return losses, norms, adamw


def updates(backend, steps=range(UPDATES), seed=SPEC.seed):
    """Losses and gradient norms; read when all is done, as the loop may do."""
    found = [backend.train_step(global_batch(s, seed), rate(s)) for s in steps]
    return [float(u.loss) for u in found], [float(u.grad_norm) for u in found]


def off(found, wanted) -> float:
    """Largest difference, relative to the largest wanted."""
    wanted = np.asarray(wanted)
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


@BOTH
@pytest.mark.parametrize("checkpointing", [False, True])
def test_updates_are_those_of_torch(framework, checkpointing):
    model = torch_t5(gated=True)
    spec = replace(SPEC, gradient_checkpointing=checkpointing)
    backend = backend_class(framework).load(spec, source_of(model))
    found = updates(backend)
    with float64_t5():
        *wanted, adamw = torch_updates(model)
    assert np.allclose(found[0], wanted[0], rtol=1e-9, atol=0)
    assert np.allclose(found[1], wanted[1], rtol=1e-8, atol=0)
    state = backend.state()
    assert state.updates == UPDATES
    for name, weight in model.named_parameters():
        moments = adamw.state[weight]
        assert off(state.parameters[name], weight.detach()) < 1e-8, name
        assert off(state.exp_avg[name], moments["exp_avg"]) < 1e-8, name
        assert off(state.exp_avg_sq[name], moments["exp_avg_sq"]) < 1e-8, name
    assert backend.compilations == 1


def test_the_first_float32_step_of_flax_is_whole():
    """As torch's is: a gradient of 1 gives a step of 1, to the last digit."""
    backend_class("flax")
    from reference_trainers.flax.run_summarization import adamw

    ones = {"a.weight": np.ones(3, np.float32)}
    optimizer = adamw(TrainingSpec(adam_epsilon=0.0))
    step, _ = optimizer.update(ones, optimizer.init(ones), ones)
    assert np.allclose(step["a.weight"], 1, rtol=0, atol=2e-7)


def test_flax_is_one_update_ahead_and_no_more():
    """A stop waits for what is under way, and JAX alone would queue dozens."""
    wide = source_of(torch_t5(gated=False, d_model=256, d_ff=1024))
    backend = backend_class("flax").load(SPEC, wide)
    made = [backend.train_step(global_batch(step), rate(step)) for step in range(6)]
    assert [update.loss.is_ready() for update in made[:-1]] == [True] * 5


@BOTH
def test_a_state_resumes_in_another_backend(framework):
    source = source_of(torch_t5(gated=False))
    first = backend_class(framework).load(SPEC, source)
    assert not first.state().exp_avg
    updates(first, range(3))
    state = first.state()
    kept = {name: weight.copy() for name, weight in state.parameters.items()}
    after = updates(first, range(3, 5))
    for name, weight in state.parameters.items():
        assert (weight == kept[name]).all(), "a state changes with the next update"
    for other in FRAMEWORKS:
        second = backend_class(other).load(SPEC, source)
        second.restore(state)
        assert np.allclose(updates(second, range(3, 5)), after, rtol=1e-9, atol=0)
        assert second.state().updates == 5


@BOTH
def test_evaluation_and_answers_do_not_see_empty_rows(framework):
    model = torch_t5(gated=False)
    backend = backend_class(framework).load(SPEC, source_of(model))
    batch = random_batch(ROWS, 12, 7)
    cut = Arrays(*(array[: ROWS - 1] for array in batch.arrays))
    short = filled(Batch(cut, ROWS - 1), ROWS, 12, 7)
    loss, tokens = backend.evaluate(short)
    assert tokens == short.target_tokens
    with float64_t5():
        assert np.isclose(loss, torch_loss(model, short, 0.1).item(), rtol=1e-12)
    whole, some = backend.generate(batch, ANSWER), backend.generate(short, ANSWER)
    assert (some == whole[: ROWS - 1, : some.shape[1]]).all()


def summands(graph) -> set[int]:
    """How many tensors each AddN of a graph, and of the functions in it, adds up."""
    graph = graph.as_graph_def()
    inner = [node for function in graph.library.function for node in function.node_def]
    nodes = (*graph.node, *inner)
    return {len(node.input) for node in nodes if node.op == "AddN"}


def test_tensorflow_sums_gradients_in_pairs():
    """AddN of three or more starts with the tensor whose memory is free first."""
    backend = backend_class("tensorflow")
    import tensorflow as tf

    spec = replace(SPEC, gradient_checkpointing=True)
    backend = backend.load(spec, source_of(torch_t5(gated=False, dropout_rate=0.1)))
    backend.train_step(global_batch(0), rate(0))
    (program,) = backend.programs.values()
    assert summands(program.get_concrete_function().graph) == {2}
    # The arithmetic optimizer would make one AddN of two that follow one another.
    options = tf.config.optimizer.get_experimental_options()
    assert options["arithmetic_optimization"] is False


def test_tensorflow_sums_the_gradient_of_gelu_in_pairs():
    tf = pytest.importorskip("tensorflow")
    from reference_trainers.tensorflow.layers import gelu_new

    @tf.function(input_signature=[tf.TensorSpec([3])])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = gelu_new(x)
        return tape.gradient(y, x)

    assert summands(gradient.get_concrete_function().graph) == {2}


def with_dropout(framework):
    model = torch_t5(True, dropout_rate=0.1, num_layers=1, num_decoder_layers=1)
    return backend_class(framework).load(SPEC, source_of(model))


@BOTH
def test_dropout_repeats_and_depends_on_the_seed(framework):
    backend = with_dropout(framework)
    start = backend.state()

    def losses(seed):
        backend.restore(start)
        return updates(backend, range(3), seed)[0]

    first = losses(1)
    assert losses(1) == first
    assert not np.allclose(losses(2), first, rtol=1e-4)


@BOTH
def test_dropout_is_the_same_in_every_framework(framework):
    """PyTorch's layer norm computes in float32, whatever the model's type."""
    pytest.importorskip("accelerate")
    from reference_trainers.pytorch.run_summarization_no_trainer import (
        AccelerateBackend,
    )

    model = torch_t5(True, dropout_rate=0.1, num_layers=1, num_decoder_layers=1)
    oracle = AccelerateBackend(replace(SPEC, use_cpu=True), model, "cpu")
    expected = updates(oracle, range(3))[0]
    assert np.allclose(
        updates(with_dropout(framework), range(3))[0], expected, rtol=1e-7
    )


def test_dropout_is_the_same_bits_but_for_rounding():
    flax, keras = (updates(with_dropout(name), range(3))[0] for name in FRAMEWORKS)
    assert np.allclose(flax, keras, rtol=1e-9, atol=0)


@BOTH
def test_another_architecture_is_refused(framework):
    config = SimpleNamespace(model_type="bart")
    source = SimpleNamespace(config=config, weights=dict)
    with pytest.raises(InputError, match=r"bart is not known .* supports t5, mt5"):
        backend_class(framework).load(SPEC, source)


WITHOUT_TORCH = """
import importlib.util
import sys
from types import SimpleNamespace

found = importlib.util.find_spec
sys.modules["torch"] = None  # an import of it fails
importlib.util.find_spec = lambda name, *rest: (
    None if name.split(".")[0] == "torch" else found(name, *rest)
)
from tests.leaves.test_backends import *
from transformers import T5Config
from reference_trainers.models.t5 import t5_initial_weights

config = T5Config(vocab_size=101, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
weights = t5_initial_weights(config, 0)
source = SimpleNamespace(config=config, weights=lambda: weights)
backend = backend_class({framework!r}).load(SPEC, source)
updates(backend, range(1))
backend.generate(random_batch(2, 4, 4), ANSWER)
"""


@BOTH
def test_torch_is_not_needed(framework):
    backend_class(framework)
    script = WITHOUT_TORCH.format(framework=framework)
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
