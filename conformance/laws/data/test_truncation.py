"""Laws of sample limits and lengths: what is cut, and what is left whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from transformers import AutoTokenizer

from conformance.law import law
from conformance.laws.data.reading import (
    SPLITS,
    assert_same_rows,
    assert_two_alike,
    plain,
    read_two,
    split,
)
from conformance.laws.properties import for_all
from conformance.profiles import ALL
from conformance.runs import Runs
from fixtures.custom_files import GOOD_FILES, ROWS, rows
from fixtures.texts import ragged_rows
from fixtures.write import write_text
from reference_trainers import SplitReport


def summary_tokens(run: Runs, most: int) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(run.inputs.model)
    tokens = tokenizer([row["summary"] for row in rows()])["input_ids"]
    return [min(len(row), most) for row in tokens]


@law("truncation.samples", profiles=ALL)
@pytest.mark.parametrize("name", SPLITS)
def test_max_samples_takes_the_first_rows(run: Runs, files: Path, name: str) -> None:
    """max_*_samples takes the first min(n, rows) rows, before any is dropped."""
    action, limit, flag = SPLITS[name]
    file = GOOD_FILES["gaps.jsonl"].write_in(files)
    lines = file.read_text("utf-8").splitlines(True)

    def of(file: Path, most: int | None) -> SplitReport:
        flags: dict[str, Any] = {"do_train": False, action: True, "max_steps": 1}
        made = run(**{**flags, limit: most, flag: str(file)})
        return split(made, name)

    first = files / "first_five.jsonl"
    first.write_text("".join(lines[:5]), encoding="utf-8")
    cut, expected = of(file, 5), of(first, None)
    # A good row and a bad one take turns: five rows hold three usable ones
    assert (cut.rows, cut.dropped) == (3, 2), "rows were dropped before the cut"
    assert cut.digest == expected.digest, "these are not the first rows"
    more, whole = of(file, 1000), of(file, None)
    assert (more.rows, more.digest) == (ROWS, whole.digest)


@law("truncation.target", profiles=ALL)
@pytest.mark.parametrize("most", [3, 128])
def test_summaries_are_truncated(run: Runs, files: Path, most: int) -> None:
    """max_target_length counts the tokens of a summary, its end token included."""
    file = GOOD_FILES["plain.jsonl"].write_in(files)
    made = run(
        train_file=str(file),
        max_target_length=most,
        per_device_train_batch_size=ROWS,
        max_steps=1,
        max_train_samples=None,
    )
    lengths = summary_tokens(run, most)
    assert made.steps[0].target_tokens == sum(lengths)


@law("truncation.source", profiles=ALL)
def test_sources_are_truncated(run: Runs, files: Path) -> None:
    """max_source_length cuts longer texts, and leaves those that fit as they are."""
    tokenizer = AutoTokenizer.from_pretrained(run.inputs.model)
    lengths = [len(tokenizer(row["text"])["input_ids"]) for row in rows()]
    longest = plain(run, files, max_source_length=1024)
    fits = plain(run, files, max_source_length=max(lengths))
    cut = plain(run, files, max_source_length=max(lengths) - 1)
    assert_same_rows(fits, longest)
    assert split(cut).digest != split(longest).digest, "nothing was cut"
    one = {"max_source_length": 1, "source_prefix": "another "}
    # Of one token, the end of the text is all that is left: all texts are the same
    assert (
        split(plain(run, files, **one)).digest
        == split(plain(run, files, max_source_length=1)).digest
    )


@law("truncation.evaluation", profiles=ALL)
def test_evaluation_has_its_own_target_length(run: Runs, files: Path) -> None:
    """val_max_target_length rules evaluation; without it max_target_length does."""
    short = plain(run, files, max_target_length=4)
    own = plain(run, files, max_target_length=128, val_max_target_length=4)
    assert_same_rows(own, short)
    assert split(own).digest != split(plain(run, files, max_target_length=128)).digest


@law("truncation.training", profiles=ALL)
def test_training_ignores_the_evaluation_length(run: Runs, files: Path) -> None:
    """val_max_target_length changes no row that is trained on."""
    flags = {"max_steps": 1, "max_train_samples": 8}
    without, having = run(**flags), run(val_max_target_length=2, **flags)
    assert split(without, "train").digest == split(having, "train").digest
    assert without.losses == having.losses


USABLE = st.lists(st.booleans(), min_size=5, max_size=8)  # the simplest: no, five times


@law("truncation.any-samples", profiles=ALL)
@for_all(usable=USABLE, most=st.just(4) | st.integers(1, 9))
def test_any_limit_is_the_first_rows(
    run: Runs, files: Path, usable: list[bool], most: int
) -> None:
    """A limit of n samples is the file's first n rows, whichever of them are empty."""
    lines = [
        json.dumps(row if good else {**row, "summary": ""}) + "\n"
        for row, good in zip(ragged_rows(9, seed=5), [True, *usable], strict=False)
    ]
    name = "".join("01"[good] for good in usable)
    whole = write_text(files / f"{name}.jsonl", "".join(lines))
    first = write_text(files / f"{name}_{most}.jsonl", "".join(lines[:most]))
    made = read_two(run, whole, first, max_eval_samples=most)
    assert_two_alike(made, f"the first {most} of {len(lines)} rows are asked for")
    assert split(made).dropped == split(made, "test").dropped
