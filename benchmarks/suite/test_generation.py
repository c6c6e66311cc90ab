"""Summaries by greedy and beam search, beside transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from benchmarks.door import Opened, oracle_floor
from benchmarks.figures import generation_flops
from benchmarks.measure import Effort, Lengths, measure_calls
from benchmarks.shapes import model_shape
from benchmarks.suite.conftest import Record
from reference_trainers import GenerationSettings


@pytest.mark.parametrize("beams", [1, 4], ids=["greedy", "beams"])
def test_generation(
    opened: Opened,
    lengths: str,
    beams: int,
    effort: Effort,
    record: Record,
) -> None:
    """A batch of summaries, each as long as may be: no end token is allowed before."""
    shape, ragged = opened.shape, lengths == "ragged"
    longest = shape.new_tokens + 1  # the start token is one
    settings = GenerationSettings(
        max_length=longest,
        min_length=longest,
        num_beams=beams,
        decoder_start_token_id=opened.source.decoder_start_token_id,
        pad_token_id=opened.source.pad_token_id,
        eos_token_ids=(1,),
    )
    rows = shape.batch * opened.devices
    (batch,) = opened.batches(ragged, rows)

    def generate() -> int:
        found = opened.backend.generate(batch, settings)  # numpy's: it has waited
        assert found.shape[1] == longest, "a summary ended before its time"
        return len(found)

    def floors() -> dict[str, Callable[[], object]]:
        oracle = oracle_floor() if opened.devices == 1 else None
        made = oracle.SEARCHES if oracle else {}
        return {
            name: partial(make(opened.spec, opened.source), batch, settings)
            for name, make in made.items()
        }

    def work(lengths: Lengths) -> int:
        model = model_shape(opened.source.config)
        new = shape.new_tokens
        return sum(generation_flops(model, source, new, beams) for source, _ in lengths)

    measured = measure_calls(
        generate,
        tuple(shape.lengths(ragged, row) for row in range(rows)),
        effort,
        compilations=lambda: opened.backend.compilations,
        floors=floors,
        tools=opened.tools,
    )
    record(
        f"generation-{'beams' if beams > 1 else 'greedy'}",
        measured,
        work=work,
        new_tokens=shape.new_tokens,
        device_bytes=opened.backend.peak_memory_bytes(),
        devices=opened.devices,
    )
