"""Every figure, from synthetic work and times that are known exactly."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks import figures
from benchmarks.figures import ModelShape
from benchmarks.shapes import model_shape

# Each size a prime of its own, so that no product can be mistaken for another
ODD = ModelShape(
    d_model=7,
    d_kv=3,
    d_ff=11,
    num_heads=2,
    num_layers=1,
    num_decoder_layers=1,
    vocab_size=13,
)
T5_SMALL = ModelShape(512, 64, 2048, 8, 6, 6, 32128)
T5_SMALL_WEIGHTS = 60_506_624  # of transformers' model, tied embeddings once
EMBEDDINGS = 32128 * 512


# ---- work ----------------------------------------------------------------------------


def test_a_product_of_two_matrices():
    assert figures.matmul_flops(10) == 2 * 10 * 10 * 10


def test_the_work_of_a_row_counted_by_hand():
    source, target, inner = 5, 3, 6
    encoder = 4 * (2 * source * 7 * inner)  # queries, keys, values, outputs
    encoder += 2 * (2 * source * source * inner)  # scores and their weighted sums
    encoder += 2 * (2 * source * 7 * 11)
    own = 4 * (2 * target * 7 * inner) + 2 * (2 * target * target * inner)
    cross = 2 * (2 * target * 7 * inner) + 2 * (2 * source * 7 * inner)
    cross += 2 * (2 * target * source * inner)
    decoder = own + cross + 2 * (2 * target * 7 * 11)
    head = 2 * target * 7 * 13
    assert figures.forward_flops(ODD, source, target) == encoder + decoder + head


def test_training_is_three_forward_passes_over_the_true_lengths():
    rows = [(5, 3), (4, 2)]
    forward = sum(figures.forward_flops(ODD, *row) for row in rows)
    assert figures.evaluation_flops(ODD, rows) == forward
    assert figures.training_flops(ODD, rows) == 3 * forward


def test_a_long_model_does_six_operations_a_weight_and_token():
    """The rule of thumb: what attention adds is small in a short row."""
    weights = T5_SMALL_WEIGHTS - EMBEDDINGS  # the look-up is no work ...
    encoder = 6 * (4 * 512 * 512 + 2 * 512 * 2048)
    row = figures.training_flops(T5_SMALL, [(1, 1)])
    # ... but the head, which is the same matrix, is
    assert row == pytest.approx(6 * (weights + EMBEDDINGS), rel=1e-3)
    more = figures.training_flops(T5_SMALL, [(2, 1)]) - row
    cross = 6 * 2 * 512 * 512  # keys and values of each token of the source
    assert more == pytest.approx(6 * (encoder + cross), rel=2e-3)


@pytest.mark.parametrize("is_gated", [False, True])
def test_torch_counts_the_same_work(is_gated):
    """By its own counter, in the products that transformers' T5 makes."""
    torch = pytest.importorskip("torch", reason="not run: torch is not installed")
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=101,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=4,
        feed_forward_proj="gated-gelu" if is_gated else "relu",
    )
    model = T5ForConditionalGeneration(config)
    sources, targets = torch.ones(2, 24).long(), torch.ones(2, 10).long()
    with FlopCounterMode(display=False) as counter:
        logits = model(sources, decoder_input_ids=targets, use_cache=False).logits
        forward = counter.get_total_flops()
        logits.sum().backward()
    shape = model_shape(config)
    assert figures.evaluation_flops(shape, [(24, 10)] * 2) == forward
    # The first layer's input needs no gradient of its own in torch: a little less
    trained = figures.training_flops(shape, [(24, 10)] * 2)
    assert counter.get_total_flops() == pytest.approx(trained, rel=0.05)


@pytest.mark.parametrize("beams", [1, 4])
def test_generation_is_the_work_of_its_tokens_one_by_one(beams):
    source, tokens, inner = 5, 4, 6
    work = figures.encoder_flops(ODD, source) + 2 * (2 * source * 7 * inner)
    for place in range(1, tokens + 1):
        own = 4 * (2 * 7 * inner) + 2 * (2 * place * inner)
        cross = 2 * (2 * 7 * inner) + 2 * (2 * source * inner)
        work += beams * (own + cross + 2 * (2 * 7 * 11) + 2 * 7 * 13)
    assert figures.generation_flops(ODD, source, tokens, beams) == work


# ---- speed ---------------------------------------------------------------------------


def test_a_speed_is_all_that_was_done_over_all_the_time():
    assert figures.per_second([4, 4, 4], [0.1, 0.1, 0.1]) == pytest.approx(40)
    # Rows of one token, and of a hundred: not the mean of 10 and 100 tokens a second
    assert figures.per_second([1, 100], [0.1, 1.0]) == pytest.approx(101 / 1.1)


def test_each_amount_has_its_time():
    with pytest.raises(ValueError, match="2 amounts, but 1 times"):
        figures.per_second([1, 2], [0.5])


def test_utilization_is_a_share_of_the_peak():
    assert figures.utilization(5e9, 2e10) == 0.25
    assert figures.utilization(5e9, None) is None


def test_energy_is_that_of_the_rounds_alone():
    assert figures.joules_between([0.0, 10.0], [2.0, 13.0]) == 5.0
    assert figures.joules_between([0.0, None], [2.0, 13.0]) is None
    assert figures.joules_between([], []) is None


# ---- against a floor -----------------------------------------------------------------


def test_twice_as_fast_is_2():
    ratio = figures.ratio_of([0.1, 0.2, 0.3], [0.2, 0.4, 0.6])
    assert ratio.value == pytest.approx(2)
    assert ratio.low == pytest.approx(2) == ratio.high


def test_pairs_are_of_one_moment():
    """What slows both of a pair changes nothing."""
    calm = figures.ratio_of([1.0, 1.1, 1.0], [2.0, 2.0, 2.1])
    slowed = figures.ratio_of([1.0, 5.5, 1.0], [2.0, 10.0, 2.1])
    assert slowed.value == pytest.approx(calm.value)
    assert slowed.low == pytest.approx(calm.low)


def test_the_interval_is_students():
    """Two pairs, whose logarithms are 0 and 2: 1 +- 12.706 x sqrt(2) / sqrt(2)."""
    ratio = figures.ratio_of([1.0, 1.0], [1.0, math.e**2])
    assert math.log(ratio.value) == pytest.approx(1)
    assert math.log(ratio.high or 0) == pytest.approx(1 + 12.7062, rel=1e-4)
    assert math.log(ratio.low or 0) == pytest.approx(1 - 12.7062, rel=1e-4)


def test_one_pair_has_no_interval():
    ratio = figures.ratio_of([1.0], [3.0])
    assert ratio.value == pytest.approx(3) and ratio.low is ratio.high is None


# ---- is it so? -----------------------------------------------------------------------


@pytest.mark.parametrize("factor", [100, 20, 2, 0.5, 0.01])
def test_a_wrong_speed_is_caught(factor):
    """Once a tool for comparing hardware told 100 times the samples of each second."""
    figures.require_agreement(40.0, counted=400, elapsed=10.0)
    with pytest.raises(ValueError, match="400 rows went by in 10 s: 40 a second"):
        figures.require_agreement(factor * 40.0, counted=400, elapsed=10.0)
