"""What is computed of measured times: speeds, work done, and how sure they are.

Pure: no clock is read here. Times are in seconds, work in floating-point operations (a
multiplication and an addition are two), energy in joules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

BACKWARD = 2  # a backward pass has two products for each of the forward pass
CONFIDENCE = 0.95
AGREEMENT = 1.5  # between two clocks around the same rounds, the outer one a bit longer


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a T5 that decide how much it computes, as its config names them."""

    d_model: int
    d_kv: int
    d_ff: int
    num_heads: int
    num_layers: int
    num_decoder_layers: int
    vocab_size: int
    is_gated: bool = False

    @property
    def inner(self) -> int:
        """Width of the heads of an attention together."""
        return self.num_heads * self.d_kv


# ---- work ----------------------------------------------------------------------------


def forward_flops(model: ModelShape, source: int, target: int) -> int:
    """The matrix products of a T5 on one row of so many tokens.

    Counted as in PaLM, appendix B (Chowdhery et al. 2022, arXiv 2204.02311): products
    alone, attention over the whole square of its scores; look-ups, norms, softmax and
    dropout are left out. The layers are those of Raffel et al. 2020 (arXiv 1910.10683).
    """
    decoder = model.num_decoder_layers * (
        attention_flops(model, target, target)
        + attention_flops(model, target, source)
        + feed_forward_flops(model, target)
    )
    return encoder_flops(model, source) + decoder + head_flops(model, target)


def encoder_flops(model: ModelShape, source: int) -> int:
    attention = attention_flops(model, source, source)
    return model.num_layers * (attention + feed_forward_flops(model, source))


def attention_flops(model: ModelShape, queries: int, keys: int) -> int:
    """Queries and outputs, keys and values, scores and their weighted sums."""
    width, inner = model.d_model, model.inner
    projections = 2 * (2 * queries + 2 * keys) * width * inner
    return projections + 2 * 2 * queries * keys * inner


def feed_forward_flops(model: ModelShape, tokens: int) -> int:
    return 2 * tokens * model.d_model * model.d_ff * (3 if model.is_gated else 2)


def head_flops(model: ModelShape, tokens: int) -> int:
    return 2 * tokens * model.d_model * model.vocab_size


def training_flops(model: ModelShape, lengths: Sequence[tuple[int, int]]) -> int:
    """Forward and backward on rows of these true lengths (source, target).

    Padding is no work: what is spent on it lowers the figure.
    """
    forward = sum(forward_flops(model, *length) for length in lengths)
    return (1 + BACKWARD) * forward


def evaluation_flops(model: ModelShape, lengths: Sequence[tuple[int, int]]) -> int:
    return sum(forward_flops(model, *length) for length in lengths)


def generation_flops(model: ModelShape, source: int, tokens: int, beams: int) -> int:
    """Of one row: its encoder once, and each token of each beam with a cache.

    The token at place i attends to i places; cross attention has its keys and values
    from the start, once for all beams.
    """
    width, inner = model.d_model, model.inner
    memory = 2 * 2 * source * width * inner
    own = 2 * 4 * tokens * width * inner + 2 * 2 * inner * tokens * (tokens + 1) // 2
    cross = 2 * 2 * tokens * width * inner + 2 * 2 * tokens * source * inner
    layer = memory + beams * (own + cross + feed_forward_flops(model, tokens))
    decoder = model.num_decoder_layers * layer
    return encoder_flops(model, source) + decoder + beams * head_flops(model, tokens)


def matmul_flops(size: int) -> int:
    """Of the product of two square matrices."""
    return 2 * size**3


# ---- speed ---------------------------------------------------------------------------


def per_second(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    """How much was done a second, over rounds of these amounts and times."""
    if len(amounts) != len(seconds):
        raise ValueError(f"{len(amounts)} amounts, but {len(seconds)} times")
    return sum(amounts) / sum(seconds)


def utilization(flops_per_second: float, peak: float | None) -> float | None:
    """MFU: of the fastest matrix product on this machine, the share that was useful."""
    return flops_per_second / peak if peak else None


def joules_between(
    before: Sequence[float | None], after: Sequence[float | None]
) -> float | None:
    """Energy of rounds between two readings each; None where one was not told."""
    spent = [
        None if a is None or b is None else b - a
        for a, b in zip(before, after, strict=True)
    ]
    told = [joules for joules in spent if joules is not None]
    return sum(told) if len(told) == len(spent) and told else None


# ---- against a floor -----------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """Speed over that of a floor: above 1, the trainer is the faster one."""

    value: float
    """Geometric mean over the pairs of floor seconds / trainer seconds."""
    low: float | None
    high: float | None
    """Between them with a confidence of 95 % (t, of the logarithms of the pairs); the
    pairs are of one process: another may differ by more. None: there is one pair."""


def ratio_of(trainer: Sequence[float], floor: Sequence[float]) -> Ratio:
    """How the seconds of a trainer compare with those of a floor, pair by pair."""
    logs = [math.log(b / a) for a, b in zip(trainer, floor, strict=True)]
    mean = math.fsum(logs) / len(logs)
    if len(logs) == 1:
        return Ratio(math.exp(mean), None, None)
    spread = math.fsum((x - mean) ** 2 for x in logs) / (len(logs) - 1)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)
    reach *= math.sqrt(spread / len(logs))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


# ---- is it so? -----------------------------------------------------------------------


def require_agreement(told: float, counted: int, elapsed: float) -> None:
    """Raises ValueError where samples/s are not what another count and clock say.

    `counted` rows were seen to go by in `elapsed` seconds of the measured rounds.
    """
    seen = counted / elapsed
    if not seen / AGREEMENT <= told <= seen * AGREEMENT:
        raise ValueError(
            f"{told:.4g} samples/s are told, but {counted} rows went by in "
            f"{elapsed:.4g} s: {seen:.4g} a second"
        )
