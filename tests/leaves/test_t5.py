"""T5 in Flax and in Keras says what transformers' T5 says, to the last digits."""

from types import SimpleNamespace

import numpy as np
import pytest

from fixtures.float64_t5 import float64_t5
from reference_trainers.errors import InputError
from reference_trainers.models.t5 import distance_buckets, t5_weights
from reference_trainers.recipe.randomness import kept
from tests.leaves.t5_oracle import (
    FRAMEWORKS,
    ours,
    random_batch,
    torch_inputs,
    torch_loss,
    torch_t5,
    weights_of,
)

SHAPES = [(1, 1, 1), (4, 130, 150), (1, 512, 64)]
KINDS = pytest.mark.parametrize("gated", [False, True], ids=["1.0", "1.1"])
BOTH = pytest.mark.parametrize("framework", FRAMEWORKS)


def torch_logits(model, batch):
    import torch

    with torch.no_grad(), float64_t5():
        return model(**torch_inputs(batch)).logits.numpy()


@BOTH
@KINDS
@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-10), ("float32", 2e-5)])
def test_logits(framework, gated, dtype, allowed):
    # Depths that differ, either way round; each first block's bias serves its stack.
    depths = {"num_layers": 2 + gated, "num_decoder_layers": 3 - gated}
    model = torch_t5(gated, dtype, **depths)
    network = ours(framework, model, dtype)
    for number, shape in enumerate(SHAPES):
        batch = random_batch(*shape, seed=number)
        logits = network.logits(batch)
        assert logits.dtype == dtype
        assert np.abs(logits - torch_logits(model, batch)).max() <= allowed, shape


@BOTH
@KINDS
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_of_every_parameter(framework, gated, checkpointing):
    model = torch_t5(gated)
    batch = random_batch(4, 37, 21)
    with float64_t5():
        torch_loss(model, batch, smoothing=0.1).backward()
    network = ours(framework, model, "float64", gradient_checkpointing=checkpointing)
    gradients = network.gradients(batch, 0.1)
    wanted = {name: weight.grad.numpy() for name, weight in model.named_parameters()}
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        off = np.abs(gradient - wanted[name]).max() / np.abs(wanted[name]).max()
        assert off <= 1e-9, name


@BOTH
def test_bfloat16_computes_roughly_the_same(framework):
    model = torch_t5(gated=True, dtype="float32")
    batch = random_batch(4, 16, 8)
    network = ours(framework, model, "float32", compute_dtype="bfloat16")
    logits, wanted = network.logits(batch), torch_logits(model, batch)
    off = np.abs(logits - wanted).max() / np.abs(wanted).max()
    assert logits.dtype == "float32"
    assert 1e-5 < off < 3e-2


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20), (64, 1000)])
def test_buckets_of_distances(bidirectional, buckets, farthest):
    torch = pytest.importorskip("torch")
    from transformers.models.t5.modeling_t5 import T5Attention

    config = SimpleNamespace(
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=farthest,
    )
    distances = torch.arange(-4000, 4001)
    bucket = T5Attention._relative_position_bucket
    wanted = bucket(distances, bidirectional, buckets, farthest).numpy()
    table = distance_buckets(config, bidirectional)
    reach = len(table) // 2
    found = table[np.clip(distances.numpy(), -reach, reach) + reach]
    assert (found == wanted).all()


def test_weights_go_by_any_of_their_names():
    model = torch_t5(gated=False)
    weights = weights_of(model)
    embedding = weights.pop("shared.weight")
    renamed = weights | {"encoder.embed_tokens.weight": embedding}
    assert t5_weights(model.config, renamed).keys() == weights_of(model).keys()
    assert "lm_head.weight" not in t5_weights(
        model.config, weights_of(model) | {"lm_head.weight": embedding}
    )
    with pytest.raises(InputError, match=r"shared\.weight: no such weight"):
        t5_weights(model.config, weights)
    wrong = weights_of(model) | {"shared.weight": embedding[:-1]}
    with pytest.raises(InputError, match=r"shared\.weight: its shape"):
        t5_weights(model.config, wrong)


def test_dropout_keeps_its_share_and_repeats():
    shape = (4, 8, 64, 63)
    mask = kept(shape, seed=5, place=2, rate=0.1)
    assert abs(mask.mean() - 0.9) < 0.002
    assert (mask == kept(shape, 5, 2, 0.1)).all()
    smaller = kept((2, 8, 32, 31), 5, 2, 0.1)
    assert (mask[:2, :, :32, :31] == smaller).all(), "padding changes a mask"
    for other in (kept(shape, 6, 2, 0.1), kept(shape, 5, 3, 0.1)):
        assert abs(np.corrcoef(mask.ravel(), other.ravel())[0, 1]) < 0.01


@BOTH
@pytest.mark.parametrize("shape", [(3, 5), (2, 7, 33), (2, 3, 16, 64)])
def test_dropout_is_numpys_definition(framework, shape):
    if framework == "flax":
        jax = pytest.importorskip("jax")
        from reference_trainers.flax.layers import levels

        found = np.asarray(levels(shape, jax.numpy.int32(77), 9))
    else:
        tf = pytest.importorskip("tensorflow")
        from reference_trainers.tensorflow.layers import levels

        found = levels(
            tf.constant(shape), tf.constant([77, 0]), tf.constant(9, "uint32")
        ).numpy()
    assert ((found >= round(0.3 * 65536)) == kept(shape, 77, 9, 0.3)).all()
