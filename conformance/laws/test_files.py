"""Laws of a user's own files: which rows and which tokens a run takes from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.profiles import ALL
from conformance.runs import Finished, Runs
from conformance.tolerances import RECUT, allowed
from fixtures.custom_files import GOOD_FILES, ROWS, rows, unusual_rows
from fixtures.write import write_csv, write_jsonl
from reference_trainers import SplitReport

# Evaluation alone, in one batch: what a run reads shows without training
READ: dict[str, Any] = {
    "do_train": False,
    "do_eval": True,
    "per_device_eval_batch_size": 16,
    "max_eval_samples": None,
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that runs read; session-wide, as runs are remembered."""
    return tmp_path_factory.mktemp("custom_files")


def read(run: Runs, file: Path | None, **flags: Any) -> Finished:
    if file is not None:
        flags["validation_file"] = str(file)
    return run(**{**READ, **flags})


def split(made: Finished, name: str = "validation") -> SplitReport:
    return made.report.splits[name]


def plain(run: Runs, files: Path, **flags: Any) -> Finished:
    """A run over the usual rows, as JSON Lines."""
    return read(run, GOOD_FILES["plain.jsonl"].write_in(files), **flags)


def assert_same_rows(made: Finished, expected: Finished) -> None:
    """Both read the same tokens, in the same order."""
    assert split(made).digest == split(expected).digest, (
        f"{split(made).source} reads as other tokens than {split(expected).source}"
    )
    assert split(made).rows == split(expected).rows
    assert made.report.metrics["eval_loss"] == expected.report.metrics["eval_loss"]


def pairs() -> list[tuple[str, ...]]:
    """The accepted files in twos of the same columns: a run reads two at a time."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, good in GOOD_FILES.items():
        names.setdefault((good.text_column, good.summary_column), []).append(name)
    return [
        tuple(same[at : at + 2])
        for same in names.values()
        for at in range(0, len(same), 2)
    ]


@law("files.accepted", profiles=ALL)
@pytest.mark.parametrize("names", pairs(), ids="+".join)
def test_every_accepted_file_is_read(
    run: Runs, files: Path, names: tuple[str, ...]
) -> None:
    """A file gives its rows in order, whatever its format, packing or columns."""
    goods = dict(zip(("validation", "test"), map(GOOD_FILES.get, names), strict=False))
    flags: dict[str, Any] = {"do_predict": "test" in goods, "max_predict_samples": None}
    for name, good in goods.items():
        assert good is not None
        flags[f"{name}_file"] = str(good.write_in(files))
        flags["text_column"] = good.text_column
        flags["summary_column"] = good.summary_column
    made = read(run, None, **flags)
    for name, good in goods.items():
        assert good is not None
        found = split(made, name)
        assert (found.rows, found.dropped) == (good.rows, good.dropped)
        if good.rows == ROWS:
            kind = unusual_rows if good.name.startswith("unusual") else rows
            same = write_jsonl(files / f"expected_{kind.__name__}.jsonl", kind())
            assert found.digest == split(read(run, same)).digest, (
                f"{good.name} reads as other tokens than the same rows as JSON Lines"
            )


@law("files.empty-rows", profiles=ALL)
def test_rows_without_text_or_summary_are_dropped(run: Runs, files: Path) -> None:
    """A row whose text or summary is missing, empty or blank is dropped and counted."""
    blank = [{"text": " \n\t", "summary": "S."}, {"text": "T.", "summary": "  "}]
    made = read(run, write_csv(files / "blank.csv", blank[:1] + rows() + blank[1:]))
    assert (split(made).rows, split(made).dropped) == (ROWS, 2)
    assert_same_rows(made, plain(run, files))


@law("files.first-two-columns", profiles=ALL)
def test_first_two_columns_are_text_and_summary(run: Runs, files: Path) -> None:
    """Without names, the first column is the text and the second the summary."""
    named = [
        {"long": row["text"], "short": row["summary"], "topic": "none"}
        for row in rows()
    ]
    made = read(run, write_csv(files / "first_two.csv", named))
    names: dict[str, Any] = {"text_column": "text", "summary_column": "summary"}
    assert_same_rows(made, plain(run, files, **names))


@law("files.named-columns", profiles=ALL)
def test_order_of_named_columns_does_not_matter(run: Runs, files: Path) -> None:
    """Named columns are found wherever they stand, in each of the formats."""
    turned = [{"summary": row["summary"], "text": row["text"]} for row in rows()]
    names: dict[str, Any] = {"text_column": "text", "summary_column": "summary"}
    for file in (
        write_csv(files / "turned.csv", turned),
        write_jsonl(files / "turned.jsonl", turned),
    ):
        assert_same_rows(read(run, file, **names), plain(run, files))


SPLITS = {
    "train": ("do_train", "max_train_samples", "train_file"),
    "validation": ("do_eval", "max_eval_samples", "validation_file"),
    "test": ("do_predict", "max_predict_samples", "test_file"),
}


@law("files.max-samples", profiles=ALL)
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


@law("files.dataset-folder", profiles=ALL)
def test_a_dataset_folder_is_a_dataset(run: Runs, files: Path) -> None:
    """A local folder of split files is what --dataset_name NAME reads."""
    folder = files / "dataset"
    for name in SPLITS:
        write_jsonl(folder / f"{name}.jsonl", rows())
    made = read(
        run,
        None,
        validation_file=None,
        train_file=None,
        test_file=None,
        dataset_name=str(folder),
    )
    assert_same_rows(made, plain(run, files))


@law("files.prefix", profiles=ALL)
def test_prefix_is_put_before_every_text(run: Runs, files: Path) -> None:
    """source_prefix makes the tokens of the prefix and the text as one string."""
    prefix = "summarize: "
    prefixed = [{**row, "text": prefix + row["text"]} for row in rows()]
    expected = read(run, write_jsonl(files / "prefixed.jsonl", prefixed))
    made = plain(run, files, source_prefix=prefix)
    assert_same_rows(made, expected)
    assert split(made).digest != split(plain(run, files)).digest


def summary_tokens(run: Runs, most: int) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(run.inputs.model)
    tokens = tokenizer([row["summary"] for row in rows()])["input_ids"]
    return [min(len(row), most) for row in tokens]


@law("files.target-length", profiles=ALL)
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


@law("files.source-length", profiles=ALL)
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


@law("files.evaluation-length", profiles=ALL)
def test_evaluation_has_its_own_target_length(run: Runs, files: Path) -> None:
    """val_max_target_length rules evaluation; without it max_target_length does."""
    short = plain(run, files, max_target_length=4)
    own = plain(run, files, max_target_length=128, val_max_target_length=4)
    assert_same_rows(own, short)
    assert split(own).digest != split(plain(run, files, max_target_length=128)).digest


@law("files.training-length", profiles=ALL)
def test_training_ignores_the_evaluation_length(run: Runs, files: Path) -> None:
    """val_max_target_length changes no row that is trained on."""
    flags = {"max_steps": 1, "max_train_samples": 8}
    without, having = run(**flags), run(val_max_target_length=2, **flags)
    assert split(without, "train").digest == split(having, "train").digest
    assert without.losses == having.losses


@law("files.padding", profiles=ALL)
def test_padding_to_the_longest_changes_nothing(run: Runs, files: Path) -> None:
    """pad_to_max_length changes the shape of a batch, and no number."""
    flags = {"max_steps": 2, "do_eval": True}
    ragged, full = run(**flags), run(pad_to_max_length=True, **flags)
    assert_same_steps(full.steps, ragged.steps, RECUT, run.profile.precision)
    tolerance = allowed(RECUT, run.profile.precision)["eval_loss"]
    found, expected = (made.report.metrics["eval_loss"] for made in (full, ragged))
    assert tolerance.allows(found, expected), (
        f"evaluation loss {found}, expected {expected} (allowed {tolerance}): "
        "look at the attention mask and at which labels count"
    )


@law("files.workers", profiles=ALL)
def test_workers_do_not_change_the_rows(run: Runs, files: Path) -> None:
    """preprocessing_num_workers changes neither rows nor their order."""
    flags = {"overwrite_cache": True}
    made = plain(run, files, preprocessing_num_workers=2, **flags)
    assert_same_rows(made, plain(run, files))
