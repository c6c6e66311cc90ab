"""Rows into rectangles: labels, decoder inputs, padding, micro-batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reference_trainers.data.batches import (
    NO_TARGET,
    Batch,
    eval_batches,
    global_batch,
    padded,
)
from reference_trainers.recipe.plan import Padding, plan_of
from reference_trainers.recipe.sampling import rows_at
from reference_trainers.spec import TrainingSpec
from reference_trainers.world import World

PAD, START, END = 0, 9, 1
PADDING = Padding(pad_token_id=PAD, decoder_start_token_id=START)


class ListedRows:
    """Ragged rows in memory; row k of the set is row 10 k of its file."""

    def __init__(self, count):
        generator = np.random.default_rng(0)
        self.sources = [self._tokens(generator, 12) for _ in range(count)]
        self.targets = [self._tokens(generator, 7) for _ in range(count)]

    @staticmethod
    def _tokens(generator, longest):
        length = int(generator.integers(1, longest))
        return [*generator.integers(10, 99, length).tolist(), END]

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, ids):
        return {
            "input_ids": [self.sources[row] for row in ids],
            "labels": [self.targets[row] for row in ids],
            "row": [10 * row for row in ids],
        }


ROWS = ListedRows(11)


def plan(batch=4, accumulation=1, devices=1, padding=PADDING):
    spec = TrainingSpec(
        per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation
    )
    return plan_of(spec, len(ROWS), devices, padding)


def test_a_batch_to_the_letter():
    sources, targets = [[11, 12, END], [13, END]], [[21, END], [22, 23, END]]
    batch = padded(sources, targets, PADDING, 3, 3, 2)
    assert batch.input_ids.tolist() == [[11, 12, END], [13, END, PAD]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.labels.tolist() == [[21, END, NO_TARGET], [22, 23, END]]
    assert batch.decoder_input_ids.tolist() == [[START, 21, END], [START, 22, 23]]
    assert Batch(batch, 2).target_tokens == 5
    assert all(array.dtype == np.int32 for array in batch)


@pytest.mark.parametrize("make", ["tiny_t5", "tiny_bart"])
def test_decoder_inputs_are_those_of_transformers(make, tmp_path):
    torch = pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import AutoModelForSeq2SeqLM

    import fixtures.models

    model = AutoModelForSeq2SeqLM.from_pretrained(
        getattr(fixtures.models, make)(tmp_path)
    )
    config = model.config
    ours = Padding(config.pad_token_id, config.decoder_start_token_id)
    columns = ROWS[range(6)]
    batch = padded(columns["input_ids"], columns["labels"], ours, 12, 8, 6)
    labels = torch.from_numpy(batch.labels.astype(np.int64))
    theirs = model.prepare_decoder_input_ids_from_labels(labels=labels)
    assert theirs.tolist() == batch.decoder_input_ids.tolist()


@pytest.mark.parametrize("multiple", [1, 2, 8, 64])
def test_lengths_are_multiples(multiple):
    wide = replace(PADDING, multiple_of=multiple)
    for step in range(3):
        batch = global_batch(ROWS, plan(padding=wide), step).micro_batches[0]
        narrow = global_batch(ROWS, plan(), step).micro_batches[0]
        for name, array in narrow.arrays._asdict().items():
            found = getattr(batch.arrays, name)
            length = array.shape[1]
            assert found.shape[1] == -(-length // multiple) * multiple
            if name != "decoder_input_ids":
                assert np.array_equal(found[:, :length], array)
        source, target = narrow.arrays.input_ids.shape[1], narrow.arrays.labels.shape[1]
        assert not batch.arrays.attention_mask[:, source:].any()
        assert (batch.arrays.labels[:, target:] == NO_TARGET).all()
        assert batch.target_tokens == narrow.target_tokens


def test_padding_to_the_largest_length():
    full = replace(PADDING, source_length=20, target_length=15)
    batch = global_batch(ROWS, plan(padding=full), 0)
    assert batch.micro_batches[0].arrays.input_ids.shape == (4, 20)
    assert batch.micro_batches[0].arrays.labels.shape == (4, 15)
    assert batch.target_tokens == global_batch(ROWS, plan(), 0).target_tokens


@pytest.mark.parametrize("step", range(6))
def test_a_step_is_a_function_of_its_number(step):
    epoch, index = divmod(step, 3)
    first = 4 * index
    rows = rows_at(42, epoch, 11, np.arange(first, min(first + 4, 11)))
    batch = global_batch(ROWS, plan(), step)
    assert batch.step == step
    assert batch.row_ids.tolist() == (10 * rows).tolist()
    (only,) = batch.micro_batches
    for row, tokens, mask in zip(
        rows, only.arrays.input_ids, only.arrays.attention_mask, strict=True
    ):
        assert tokens[mask == 1].tolist() == ROWS.sources[row]
    for row, labels in zip(rows, only.arrays.labels, strict=True):
        assert labels[labels != NO_TARGET].tolist() == ROWS.targets[row]


CUTS = [(8, 1, 1), (4, 2, 1), (2, 4, 1), (1, 8, 1), (2, 2, 2), (1, 2, 4)]


@pytest.mark.parametrize(("batch", "accumulation", "devices"), CUTS)
@pytest.mark.parametrize("pads_are_targets", [False, True])
@pytest.mark.parametrize("multiple", [1, 8])
def test_a_cut_changes_no_target(
    batch, accumulation, devices, pads_are_targets, multiple
):
    """Rows and targets of a step do not depend on how it is cut."""
    padding = replace(PADDING, pads_are_targets=pads_are_targets, multiple_of=multiple)
    for step in range(2):
        whole = global_batch(ROWS, plan(8, padding=padding), step)
        cut = global_batch(ROWS, plan(batch, accumulation, devices, padding), step)
        assert cut.row_ids.tolist() == whole.row_ids.tolist()
        assert cut.target_tokens == whole.target_tokens
        assert counted(cut) == counted(whole)
        sizes = [part.rows for part in cut.micro_batches]
        assert all(size == batch * devices for size in sizes[:-1])
        assert sum(sizes) == len(whole.row_ids)


def counted(batch):
    """Row by row, what the loss counts."""
    return [
        labels[labels != NO_TARGET].tolist()
        for part in batch.micro_batches
        for labels in part.arrays.labels[: part.rows]
    ]


def test_pads_that_are_targets_reach_to_the_longest_summary():
    padding = replace(PADDING, pads_are_targets=True, multiple_of=8)
    batch = global_batch(ROWS, plan(1, 4, padding=padding), 0)
    rows = rows_at(42, 0, 11, np.arange(4))
    longest = max(len(ROWS.targets[row]) for row in rows)
    assert longest % 8, "the multiple would hide what is to be seen"
    assert [len(row) for row in counted(batch)] == [longest] * 4


def test_pads_that_are_targets_fill_the_largest_length():
    padding = replace(PADDING, pads_are_targets=True, target_length=15)
    batch = global_batch(ROWS, plan(padding=padding), 0)
    assert batch.target_tokens == 4 * 15


@pytest.mark.parametrize("size", [1, 3, 4, 11, 50])
def test_evaluation_takes_every_row_the_longest_first(size):
    batches = list(eval_batches(ROWS, size, PADDING))
    ids = [row // 10 for numbers, _ in batches for row in numbers.tolist()]
    assert sorted(ids) == [*range(11)]
    lengths = [len(ROWS.sources[row]) for row in ids]
    assert lengths == sorted(lengths, reverse=True)
    assert {len(numbers) for numbers, _ in batches[:-1]} <= {size}
    tokens = sum(batch.target_tokens for _, batch in batches)
    assert tokens == sum(map(len, ROWS.targets))


def test_evaluation_sorts_a_window_at_a_time(monkeypatch):
    """So that it holds no more of a long split than that."""
    monkeypatch.setattr("reference_trainers.data.batches.WINDOW", 2)
    batches = list(eval_batches(ROWS, 2, PADDING))
    ids = [row // 10 for numbers, _ in batches for row in numbers.tolist()]
    assert [{*ids[at : at + 4]} for at in (0, 4, 8)] == [
        {0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10}
    ]  # fmt: skip


@pytest.mark.parametrize("step", [0, 2])
def test_uniform_batches_have_one_shape_and_the_same_targets(step):
    """Empty rows and columns hold no token, no target, and change no count."""
    uniform = replace(PADDING, uniform=True)
    ragged = global_batch(ROWS, plan(2, 2), step)
    filled = global_batch(ROWS, plan(2, 2, padding=uniform), step)
    assert {part.arrays.labels.shape for part in filled.micro_batches} == {
        filled.stacked().labels.shape[1:]
    }
    assert filled.stacked().input_ids.shape[:2] == (len(ragged.micro_batches), 2)
    assert [part.rows for part in filled.micro_batches] == [
        part.rows for part in ragged.micro_batches
    ]
    assert counted(filled) == counted(ragged)
    assert filled.target_tokens == ragged.target_tokens
    for part in filled.micro_batches:
        assert not part.arrays.attention_mask[part.rows :].any()
        assert (part.arrays.labels[part.rows :] == NO_TARGET).all()


def test_each_micro_batch_has_a_seed_of_its_own():
    seeds = [global_batch(ROWS, plan(2, 2), step).seeds.tolist() for step in range(3)]
    flat = [seed for step in seeds for seed in step]
    assert len(set(flat)) == len(flat)
    again = global_batch(ROWS, plan(1, 4), 0).seeds.tolist()
    assert again[:2] == seeds[0], "a seed depends on more than step and place"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("uniform", [False, True])
def test_shares_add_up_to_the_whole(size, uniform):
    """Each row is in one share; every share divides by the tokens of the whole."""
    padding = replace(PADDING, uniform=uniform)
    whole = global_batch(ROWS, plan(4, 1, padding=padding), 2)  # three rows are left
    shares = [whole.share(World(rank, size)) for rank in range(size)]
    assert {share.target_tokens for share in shares} == {whole.target_tokens}
    rows = [row for share in shares for row in counted(share)]
    assert rows == counted(whole)
    assert all(len(share.micro_batches) == 1 for share in shares)
    for share in shares:  # a share without a row still has something to compute on
        assert len(share.micro_batches[0].arrays.labels) > 0
    held = sum(part.target_tokens for s in shares for part in s.micro_batches)
    assert held == whole.target_tokens


def test_a_short_batch_is_shared_as_accumulation_cuts_it():
    """So that the same gradients are summed."""
    several = global_batch(ROWS, plan(2, devices=2), 2)  # three rows
    shares = [several.share(World(rank, 2)) for rank in range(2)]
    parts = global_batch(ROWS, plan(2, accumulation=2), 2).micro_batches
    assert [share.micro_batches[0].rows for share in shares] == [2, 1]
    assert [part.rows for part in parts] == [2, 1]


def test_one_process_has_the_whole():
    whole = global_batch(ROWS, plan(), 0)
    assert whole.share(World()) is whole


@pytest.mark.parametrize("size", [1, 3, 6, 16])
def test_counted_pads_do_not_depend_on_how_a_split_is_cut(size):
    padding = replace(PADDING, pads_are_targets=True)
    rows = ListedRows(16)
    batches = [batch for _, batch in eval_batches(rows, size, padding)]
    longest = max(map(len, rows.targets))
    assert sum(batch.target_tokens for batch in batches) == 16 * longest
