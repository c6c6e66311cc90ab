"""A trace says of a fault at which step it shows, in what, and where to look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.profiles import PROFILES
from conformance.runs import Finished, Inputs, Runs, build_inputs
from conformance.subject import Subject
from conformance.tolerances import SHORT, allowed
from conformance.traces.held import (
    assert_same_as_traced,
    assert_same_rows,
    assert_same_weights,
)
from conformance.traces.recipes import flags_of
from conformance.traces.trace import Trace
from conformance.workers import close

pytest.importorskip("torch", reason="not run: the mutants are made of PyTorch")

from conformance.mutants import traced

HERE = "conformance.mutants"
UNDECAYED = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
FLOAT64 = allowed(SHORT, "float64")
Make = Callable[[str, str, Trace], Finished]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return build_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def make(inputs: Inputs, tmp_path: Path) -> Iterator[Make]:
    """The run of a trace by a mutant."""
    used = []

    def made(mutant: str, profile: str, trace: Trace) -> Finished:
        used.append((Subject.of(f"{HERE}.{mutant}"), PROFILES[profile]))
        runs = Runs(*used[-1], inputs, tmp_path / "runs")
        return runs(**flags_of(trace.spec, inputs))

    yield made
    for subject, profile in used:
        close(subject, profile)


def message(check: Callable[[], None]) -> str:
    with pytest.raises(AssertionError) as raised:
        check()
    return str(raised.value)


@pytest.mark.parametrize(
    ("mutant", "name", "begin", "chapter"),
    [
        # 22 rows make epochs of six steps
        ("traced:repeats_the_first_epoch", "epochs", "step 6: row ids [", "order"),
        ("traced:cuts_a_token_late", "epochs", "step 0: target tokens ", "truncation"),
        ("traced:is_a_step_ahead", "epochs", "step 0: learning rate ", "arithmetic"),
        ("arithmetic:AveragesMicroBatches", "gated", "step 0: loss ", "arithmetic"),
        ("arithmetic:ClipsNothing", "recipe", "step 2: loss ", "arithmetic"),
    ],
)
def test_a_step_that_differs(
    mutant: str, name: str, begin: str, chapter: str, make: Make
) -> None:
    """In float32 they are run here, without a worker: the words are the same."""
    trace = Trace.read(name)
    made = make(mutant, "cpu", trace)
    said = message(
        lambda: assert_same_as_traced(made, trace, trace.float32_envelope.at)
    )
    assert said.startswith(begin), said
    assert "allowed" in said
    assert said.endswith(f"(likely chapter: {chapter})"), said
    if chapter in ("order", "truncation"):
        assert message(lambda: assert_same_rows(made, trace)) == said


def test_the_norm_after_clipping(make: Make) -> None:
    """Nothing else differs: it is taken at the wrong place."""
    trace = Trace.read("recipe")
    first = next(step.step for step in trace.steps if step.grad_norm > 1.5)
    made = make("traced:TellsTheClippedNorm", "cpu", trace)
    said = message(
        lambda: assert_same_as_traced(made, trace, trace.float32_envelope.at)
    )
    assert said.startswith(f"step {first}: gradient norm 1.5, expected "), said


def test_other_tokens_of_the_same_number(make: Make) -> None:
    trace = Trace.read("epochs")
    made = make("data:reads_other_tokens", "cpu", trace)
    said = message(lambda: assert_same_rows(made, trace))
    assert said.startswith("step 0: digest of the tokens "), said
    made.report.splits.clear()  # a trainer that tells none
    assert_same_rows(made, trace)


@pytest.mark.parametrize(
    ("mutant", "parameter"),
    [
        ("traced:FreezesOne", traced.FROZEN),
        ("traced:SparesTheHead", "lm_head.weight"),
        ("arithmetic:DecaysAll", UNDECAYED),
    ],
)
def test_a_parameter_that_is_updated_otherwise(
    mutant: str, parameter: str, make: Make
) -> None:
    """Its name comes first, and then the step whose loss it spoils."""
    trace = Trace.read("gated")
    assert trace.early == 2
    made = make(mutant, "cpu-float64", trace)
    begin = f"step 1: after its update, norm of {parameter} "
    said = message(lambda: assert_same_weights(made, trace, 2, FLOAT64["weights"]))
    assert said.startswith(begin), said
    assert "(off by " in said
    said = message(lambda: assert_same_as_traced(made, trace, lambda step: FLOAT64))
    assert said.startswith(begin), said
    assert "; then step 2: loss " in said
