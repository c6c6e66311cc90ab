"""The fixtures are what they say: seeded, small, and opened by transformers."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoTokenizer, T5Config

from fixtures.__main__ import main
from fixtures.aclsum import aclsum_rows
from fixtures.custom_files import (
    BAD_FILES,
    GOOD_FILES,
    ROWS,
    unusual_rows,
    write_custom_files,
)
from fixtures.models import tiny_bart, tiny_t5
from fixtures.texts import ragged_rows
from fixtures.tokenizer import MOST_PIECES, RECORDED, made_up_texts, trained
from fixtures.write import write_csv, write_jsonl
from reference_trainers.models.t5 import t5_initial_weights, t5_tensors


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("build", [tiny_t5, tiny_bart])
def test_same_seed_gives_the_same_bytes(build, tmp_path):
    first, again = build(tmp_path / "a", seed=3), build(tmp_path / "b", seed=3)
    other = build(tmp_path / "c", seed=4)
    assert contents(first) == contents(again)
    weights = "model.safetensors"
    assert (first / weights).read_bytes() != (other / weights).read_bytes()


def test_a_vocabulary_that_is_too_small_is_refused_in_a_sentence(tmp_path, capsys):
    assert main(["tiny", str(tmp_path / "model"), "--vocab_size", "3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("--vocab_size 3: ") and said.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_the_recorded_pieces_are_those_that_are_learned_from_the_texts():
    found, learned_by = version("sentencepiece"), "0.2.3"
    if found != learned_by:
        pytest.skip(f"not run: sentencepiece {found} learns other pieces")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    pieces = trained(made_up_texts(), MOST_PIECES)
    assert recorded == [[piece, score] for piece, score in pieces]


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (tiny_t5, {}),
        (tiny_t5, {"gated": True}),
        (tiny_t5, {"gated": True, "tied": False}),
        (tiny_t5, {"num_decoder_layers": 1, "dropout_rate": 0.0}),
        (tiny_bart, {}),
    ],
)
def test_transformers_opens_each_model_with_no_weight_left_over(
    build, options, tmp_path
):
    torch = pytest.importorskip("torch", reason="not run: PyTorch is not installed")
    from transformers import AutoModelForSeq2SeqLM

    folder = build(tmp_path, **options)
    model, loading = AutoModelForSeq2SeqLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(loading.values())
    written = load_file(folder / "model.safetensors")
    state = model.state_dict()
    assert all(np.array_equal(state[name].numpy(), written[name]) for name in written)
    ids = torch.tensor([[5, 6, 7, 1]])
    assert torch.isfinite(model(input_ids=ids, labels=ids).loss)
    assert model.generate(ids, max_new_tokens=3).shape[1] <= 4
    if not options.get("tied", True):
        assert not torch.equal(model.lm_head.weight, model.shared.weight)


def test_weights_have_the_scales_of_transformers_own_initialization():
    pytest.importorskip("torch", reason="not run: PyTorch is not installed")
    from transformers import T5ForConditionalGeneration

    config = T5Config(vocab_size=400, d_model=64, d_kv=16, d_ff=128, num_layers=1)
    ours = t5_initial_weights(config, seed=0)
    theirs = T5ForConditionalGeneration(config).state_dict()
    for name, shape, std in t5_tensors(config):
        assert tuple(theirs[name].shape) == shape == ours[name].shape
        if std is None:
            assert (ours[name] == theirs[name].numpy()).all()
        else:
            # The estimate of a deviation from n numbers is off by 1 / sqrt(2 n).
            allowed = 6 * std / np.sqrt(2 * ours[name].size)
            assert abs(ours[name].std() - std) < allowed
            assert abs(float(theirs[name].std()) - std) < allowed


def test_a_tensor_depends_on_the_seed_and_its_name_alone():
    shallow = t5_initial_weights(T5Config(vocab_size=50, num_layers=1), seed=7)
    deep = t5_initial_weights(T5Config(vocab_size=50, num_layers=2), seed=7)
    assert set(shallow) < set(deep)
    assert all(np.array_equal(shallow[name], deep[name]) for name in shallow)
    query = "encoder.block.{}.layer.0.SelfAttention.q.weight"
    assert not np.array_equal(deep[query.format(0)], deep[query.format(1)])


def test_tokenizer_is_t5s_and_fits_the_vocabulary(tmp_path):
    folder = tiny_t5(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    assert len(tokenizer) == config.vocab_size
    special = [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id]
    assert (
        special
        == [0, 1, 2]
        == tokenizer.convert_tokens_to_ids(["<pad>", "</s>", "<unk>"])
    )
    text = 'Summarize: "glai (fuso), 37 of 58%; x <= y?"'
    ids = tokenizer(text).input_ids
    assert ids[-1] == 1
    assert 2 not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_rows_are_ragged_and_the_first_of_more():
    rows = ragged_rows(200, seed=5)
    assert ragged_rows(20, seed=5) == rows[:20]
    assert ragged_rows(20, seed=6) != rows[:20]
    texts = [len(row["text"].split()) for row in rows]
    summaries = [len(row["summary"].split()) for row in rows]
    assert min(texts) == 3
    assert 55 < max(texts) <= 60
    assert min(summaries) == 1
    assert max(summaries) == 12


def test_every_custom_file_is_written_and_repeats(tmp_path):
    first = contents(write_custom_files(tmp_path / "a"))
    assert first == contents(write_custom_files(tmp_path / "b"))
    good = {f"good/{name}" for name in GOOD_FILES}
    assert set(first) == good | {f"bad/{name}" for name in BAD_FILES}


def test_custom_rows_are_as_many_as_stated(tmp_path):
    assert len(unusual_rows()) == ROWS
    for good in GOOD_FILES.values():
        if good.name.endswith(".jsonl"):
            lines = good.write_in(tmp_path).read_text(encoding="utf-8").split("\n")
            rows = [json.loads(line) for line in lines if line]
            columns = (good.text_column, good.summary_column)
            usable = [row for row in rows if all(row.get(name) for name in columns)]
            assert len(usable) == good.rows
            assert len(rows) == good.rows + good.dropped


def test_packed_files_are_packed(tmp_path):
    rows = ragged_rows(2)
    starts = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ"}
    for ending, start in starts.items():
        for write in (write_csv, write_jsonl):
            written = write(tmp_path / f"rows{ending}", rows).read_bytes()
            assert written.startswith(start)


def test_aclsum_is_written_as_csv_lines_and_data_set(tmp_path):
    pytest.importorskip("aclsum", reason="not run: aclsum is not installed")
    datasets = pytest.importorskip("datasets")
    main(["aclsum", str(tmp_path / "data"), "--max_rows", "3"])
    opened = datasets.load_dataset(
        str(tmp_path / "data" / "dataset"), cache_dir=str(tmp_path / "cache")
    )
    assert {name: len(rows) for name, rows in opened.items()} == {
        "train": 3,
        "validation": 3,
        "test": 3,
    }
    first = opened["train"][0]
    papers = aclsum_rows("train", 1, ["approach"])
    assert papers[0]["text"] == first["text"]
    assert papers[0]["summary"] in first["summary"] != papers[0]["summary"]
    assert list(first) == ["text", "summary"]
    assert len(first["text"].split()) > 5 * len(first["summary"].split()) > 100


def test_command_line_builds_models(tmp_path, capsys):
    main(
        [
            "tiny",
            str(tmp_path),
            "--seed",
            "2",
            "--d_model=64",
            "--dropout=0",
            "--untied",
        ]
    )
    assert capsys.readouterr().out.strip() == str(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["dropout_rate"] == 0
    assert (config["d_model"], config["d_kv"], config["d_ff"]) == (64, 16, 128)
    assert config["tie_word_embeddings"] is False
    assert "lm_head.weight" in load_file(tmp_path / "model.safetensors")
