"""transformers' T5 in PyTorch, and ours on the same weights: what the parity tests say.

Tiny models: seconds, not minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reference_trainers.data.batches import NO_TARGET, Arrays, Batch
from reference_trainers.spec import TrainingSpec

VOCABULARY = 101
FRAMEWORKS = ["flax", "tensorflow"]


def torch_t5(gated: bool, dtype: str = "float64", seed: int = 0, **fields: Any) -> Any:
    """A T5 1.0, or a gated one with a head of its own (1.1); in eval mode."""
    torch = pytest.importorskip("torch")
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4}
    depths = {"num_layers": 2, "num_decoder_layers": 2}
    config = T5Config(
        vocab_size=VOCABULARY,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated,
        decoder_start_token_id=0,
        **sizes | depths | {"dropout_rate": 0.0} | fields,
    )
    model = T5ForConditionalGeneration(config)
    if gated:
        head = torch.randn_like(model.lm_head.weight)
        model.lm_head.weight = torch.nn.Parameter(head)
    return model.to(getattr(torch, dtype)).eval()


def talkative(model: Any, gated: bool) -> Any:
    """`model` with weights so large that its answers differ in text and length."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" not in name and "bias" not in name:
                weight.mul_(2.5 if "EncDec" in name else 1.3)
        model.lm_head.weight.mul_(1 / 5 if gated else 1.2)
        model.lm_head.weight[1].mul_(3.0)  # the end comes up in many places
    return model


def weights_of(model: Any) -> dict[str, np.ndarray]:
    """Every parameter once, by name."""
    return {
        name: weight.detach().numpy().copy()
        for name, weight in model.named_parameters()
    }


def source_of(model: Any) -> Any:
    """What a backend loads."""
    return SimpleNamespace(config=model.config, weights=lambda: weights_of(model))


def random_batch(rows: int, source: int, target: int, seed: int = 0) -> Batch:
    """Rows of differing lengths, padded; the first fills the batch."""
    draw = np.random.default_rng(seed)

    def lengths(longest: int) -> np.ndarray:
        found = draw.integers(1, longest + 1, rows)
        found[0] = longest
        return found[:, None]

    input_ids = draw.integers(2, VOCABULARY, (rows, source))
    attention_mask = np.arange(source) < lengths(source)
    labels = draw.integers(2, VOCABULARY, (rows, target))
    labels = np.where(np.arange(target) < lengths(target), labels, NO_TARGET)
    before = np.pad(labels[:, :-1], ((0, 0), (1, 0)))
    decoder_input_ids = np.where(before == NO_TARGET, 0, before)
    columns = (input_ids * attention_mask, attention_mask, decoder_input_ids, labels)
    return Batch(Arrays(*(column.astype(np.int32) for column in columns)), rows)


def filled(batch: Batch, rows: int, source: int, target: int, seed: int = 0) -> Batch:
    """`batch` with empty rows and columns up to these sizes, as compiled ones get."""

    def larger(array: np.ndarray, length: int, value: int) -> np.ndarray:
        missing = rows - array.shape[0], length - array.shape[1]
        return np.pad(array, ((0, missing[0]), (0, missing[1])), constant_values=value)

    lengths = (source, source, target, target)
    values = (0, 0, 0, NO_TARGET)
    return Batch(Arrays(*map(larger, batch.arrays, lengths, values)), batch.rows, seed)


def torch_inputs(batch: Batch) -> dict[str, Any]:
    import torch

    arrays = batch.arrays._asdict()
    values = {name: torch.tensor(array).long() for name, array in arrays.items()}
    del values["labels"]
    return values


def torch_loss(model: Any, batch: Batch, smoothing: float) -> Any:
    """Summed loss by the formula of transformers' LabelSmoother."""
    import torch

    labels = torch.tensor(batch.arrays.labels).long()
    log_probs = torch.log_softmax(model(**torch_inputs(batch)).logits, -1)
    nll = -log_probs.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    loss = (1 - smoothing) * nll - smoothing * log_probs.mean(-1)
    return loss.masked_fill(labels == NO_TARGET, 0.0).sum()


@dataclass(frozen=True)
class Ours:
    """One of our networks, numpy at its boundary."""

    logits: Any
    """(batch) -> logits"""
    gradients: Any
    """(batch, smoothing) -> gradient of the summed loss by name"""
    generate: Any
    """(ids, mask, settings) -> tokens"""


def ours(framework: str, model: Any, dtype: str, **options: Any) -> Ours:
    """`model` in `framework`, which may be absent: then the test is skipped."""
    build = {"flax": in_flax, "tensorflow": in_tensorflow}[framework]
    return build(model.config, weights_of(model), dtype, options)


def in_flax(config, weights, dtype, options) -> Ours:
    jax = pytest.importorskip("jax")
    pytest.importorskip("flax")
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    from reference_trainers.flax import backend, run_summarization, t5

    network = t5.T5(config, weights, dtype, **options)
    build, values = backend.builder(network), backend.parameters(network)
    forward = jax.jit(lambda values, *inputs: build(values)(*inputs))

    @partial(jax.jit, static_argnums=2)
    def gradient(values, batch, smoothing):
        spec = TrainingSpec(label_smoothing_factor=smoothing)
        seed = np.int32(0)
        return run_summarization.gradient(values, batch, seed, build=build, spec=spec)[
            1
        ]

    generate_step = jax.jit(
        partial(run_summarization.generate_step, build=build), static_argnums=3
    )

    def generate(ids, mask, settings):
        tokens, length = generate_step(values, ids, mask, settings)
        return np.asarray(tokens)[:, : int(length)]

    def gradients(batch, smoothing):
        found = gradient(values, batch.arrays, smoothing)
        return {name: np.asarray(value) for name, value in found.items()}

    return Ours(
        lambda batch: np.asarray(forward(values, *batch.arrays[:3])),
        gradients,
        generate,
    )


def in_tensorflow(config, weights, dtype, options) -> Ours:
    tf = pytest.importorskip("tensorflow")
    from reference_trainers.tensorflow import backend, run_summarization, t5

    network = t5.T5(config, weights, dtype, **options)
    inputs = [tf.TensorSpec((None, None), "int32")] * 2
    compiled: dict[Any, Any] = {}  # for all lengths, as in the backend

    def gradients(batch, smoothing):
        spec = TrainingSpec(label_smoothing_factor=smoothing)
        arrays = Arrays(*map(tf.constant, batch.arrays))
        seed = tf.constant(0)
        found = run_summarization.gradient(network, arrays, seed, spec=spec)[1:]
        names = backend.parameters(network)
        pairs = zip(names, found, strict=True)
        return {name: value.numpy() for name, value in pairs}

    def generate(ids, mask, settings):
        if settings not in compiled:
            step = partial(
                run_summarization.generate_step, network, settings, spec=TrainingSpec()
            )
            compiled[settings] = tf.function(step, inputs, autograph=False)
        tokens, length = compiled[settings](ids, mask)
        return tokens.numpy()[:, : int(length)]

    def logits(batch):
        return network(*map(tf.constant, batch.arrays[:3])).numpy()

    return Ours(logits, gradients, generate)
