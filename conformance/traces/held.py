"""Holds a run to a trace: the first divergence, step by step, then by parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from conformance.differences import Difference, first_difference
from conformance.runs import Finished
from conformance.tolerances import QUANTITIES, Tolerance
from conformance.traces.trace import SAMPLES, Trace, Weights, weights_after

COUNTED = ("row_ids", "target_tokens")


def assert_same_rows(made: Finished, trace: Trace) -> None:
    """Row ids and target tokens of each step; the tokens' digest, where one is told."""
    difference = first_difference(made.steps, trace.steps, {}, COUNTED)
    split = made.report.splits.get("train")
    digest = split.digest if split else ""
    if difference is None and digest and digest != trace.data_digest:
        what = "digest of the tokens"
        difference = Difference(0, "digest", digest, trace.data_digest, what=what)
    assert difference is None, str(difference)


def assert_same_as_traced(
    made: Finished,
    trace: Trace,
    tolerances: Callable[[int], Mapping[str, Tolerance]],
) -> None:
    """Every step; with the first step that differs, the parameter that did before."""
    difference = first_difference(made.steps, trace.steps, tolerances, QUANTITIES)
    if difference is None:
        return
    told = [str(difference)]
    allowed = tolerances(difference.step).get("weights")
    early = trace.early
    # What is off after an update spoils the step that follows, never the one before
    if allowed and early and early <= difference.step:
        try:
            before = first_parameter(made, trace, early, allowed)
        except FileNotFoundError:  # a trainer without checkpoints has told all it can
            before = None
        told = [f"{before}", f"then {difference}"] if before else told
    raise AssertionError("; ".join(told))


def envelope_used(made: Finished, trace: Trace) -> float:
    """How far a run within the envelope comes, as a part of what is allowed."""
    return max(
        abs(getattr(found, quantity) / getattr(wanted, quantity) - 1)
        / trace.float32_envelope.at(wanted.step)[quantity].relative
        for found, wanted in zip(made.steps, trace.steps, strict=True)
        for quantity in ("loss", "grad_norm")
    )


def assert_same_weights(
    made: Finished, trace: Trace, updates: int, allowed: Tolerance
) -> None:
    """The samples of every parameter after so many updates."""
    difference = first_parameter(made, trace, updates, allowed)
    assert difference is None, str(difference)


def first_parameter(
    made: Finished, trace: Trace, updates: int, allowed: Tolerance
) -> Difference | None:
    """The first that differs after an update, from embedding to head."""
    found, expected = weights_after(made, updates), trace.weights[updates]
    return next(_differences(found, expected, updates - 1, allowed), None)


def _differences(
    found: Weights, expected: Weights, step: int, allowed: Tolerance
) -> Iterator[Difference]:
    for name, wanted in expected.items():
        if name not in found:
            yield Difference(step, "weights", "absent", "there", allowed, name)
            continue
        for sample, a, b in zip(SAMPLES, found[name], wanted, strict=True):
            if not allowed.allows(a, b):
                what = f"after its update, {sample} of {name}"
                yield Difference(step, "weights", a, b, allowed, what)
    for name in sorted(found.keys() - expected.keys()):
        yield Difference(step, "weights", "there", "absent", allowed, name)
