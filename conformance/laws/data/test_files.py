"""Laws of a user's own files: which rows and which tokens a run takes from them."""

from __future__ import annotations

import hashlib
import json
import os
import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.laws.data.reading import (
    SPLITS,
    assert_same_rows,
    assert_two_alike,
    plain,
    read,
    read_two,
    split,
)
from conformance.laws.properties import for_all
from conformance.laws.properties import rows as any_rows
from conformance.profiles import ALL
from conformance.runs import Runs
from conformance.tolerances import RECUT, allowed
from fixtures.custom_files import GOOD_FILES, ROWS, rows, unusual_rows
from fixtures.texts import ragged_rows
from fixtures.write import write_csv, write_jsonl, write_text


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


@law("files.configuration", profiles=ALL)
def test_a_configuration_names_its_files(run: Runs, files: Path) -> None:
    """dataset_config_name chooses among the configurations of a dataset's card."""
    folder = files / "configured"
    configs = []
    for name, some in (("first", rows()[:5]), ("second", rows())):
        write_jsonl(folder / name / "validation.jsonl", some)
        data_files = [{"split": "validation", "path": f"{name}/validation.jsonl"}]
        configs.append({"config_name": name, "data_files": data_files})
    card = f"---\n{json.dumps({'configs': configs})}\n---\n"
    write_text(folder / "README.md", card)
    nothing: dict[str, Any] = {"validation_file": None, "train_file": None}
    made = read(
        run,
        None,
        **nothing,
        test_file=None,
        dataset_name=str(folder),
        dataset_config_name="second",
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


# Any rows, in any dress


def dressed(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file of this kind, named for what it holds."""
    content = json.dumps(rows)
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    match kind:
        case "csv":
            return write_csv(folder / f"{name}.csv", rows)
        case "jsonl":
            return write_jsonl(folder / f"{name}.jsonl", rows)
    return write_text(folder / f"{name}.json", content)


@law("files.any-text", profiles=ALL)
@for_all(rows=any_rows(), kind=st.sampled_from(["jsonl", "json"]))
def test_any_text_is_the_same_in_every_format(
    run: Runs, files: Path, rows: list[dict[str, Any]], kind: str
) -> None:
    """Any texts make the same tokens as CSV, as JSON Lines and as JSON."""
    csv, other = dressed(files, "csv", rows), dressed(files, kind, rows)
    made = read_two(run, csv, other)
    assert split(made).rows == len(rows)
    assert_two_alike(made, "look at quotes, line ends and values like NA")


NAMES = st.sampled_from(["text", "dialogue", "Summary 2", "Zürich", "id", "a,b", '"'])


@law("files.any-columns", profiles=ALL)
@for_all(
    rows=any_rows(),
    names=st.lists(NAMES, min_size=3, max_size=5, unique=True),
    turned=st.randoms(use_true_random=False),
    kind=st.sampled_from(["csv", "jsonl", "json"]),
)
def test_other_columns_and_their_order_do_not_matter(
    run: Runs,
    files: Path,
    rows: list[dict[str, Any]],
    names: list[str],
    turned: random.Random,
    kind: str,
) -> None:
    """Columns by any name, in any order and among others are the same rows."""
    text, summary, other, *others = names
    order = [other, *turned.sample([text, summary, *others], len(names) - 1)]
    wide = [
        {**dict.fromkeys(names, "x"), text: row["text"], summary: row["summary"]}
        for row in rows
    ]
    mixed = [{name: row[name] for name in order} for row in wide]
    alone = [{text: row[text], summary: row[summary]} for row in wide]
    made = read_two(
        run,
        dressed(files, kind, mixed),
        dressed(files, "jsonl", alone),
        text_column=text,
        summary_column=summary,
    )
    assert_two_alike(made, f"columns {order}, of which {names[:2]} are asked for")


@law("files.any-shards", profiles=ALL)
@for_all(
    sizes=st.lists(st.integers(1, 3), min_size=4, max_size=5),
    turned=st.randoms(use_true_random=False),
)
def test_files_of_a_folder_are_read_by_name(
    run: Runs, files: Path, sizes: list[int], turned: random.Random
) -> None:
    """The files of a split are read in the order of their names."""
    rows = ragged_rows(sum(sizes), seed=7)
    ends = list(accumulate(sizes))
    parts = [rows[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    folder = files / f"shards_{'_'.join(map(str, sizes))}_{turned.random()}"
    last_first = range(len(parts))[::-1]
    for age, number in enumerate(turned.sample(last_first, len(parts))):
        file = write_jsonl(folder / f"train-{number:05}.jsonl", parts[number])
        os.utime(file, (age, age))  # clocks of file systems are coarse
    write_jsonl(folder / "validation.jsonl", rows)
    made = run(
        train_file=None,
        validation_file=None,
        test_file=None,
        dataset_name=str(folder),
        do_eval=True,
        max_steps=1,
        max_train_samples=None,
        max_eval_samples=None,
    )
    assert split(made, "train").rows == len(rows)
    assert split(made, "train").digest == split(made).digest, "another order of files"
