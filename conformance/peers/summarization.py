"""What transformers' script does around its trainer: model, rows and scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import datasets
import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
)

from reference_trainers import InputError, RunReport, SplitReport, TrainingSpec

SPLITS = {"train": "do_train", "validation": "do_eval", "test": "do_predict"}
SAMPLES = {"validation": "max_eval_samples", "test": "max_predict_samples"}
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


# ---- model ---------------------------------------------------------------------------


def load(spec: TrainingSpec) -> tuple[Any, Any]:
    """The tokenizer and the model, a new one where only its type is given."""
    whence = {
        "cache_dir": spec.cache_dir,
        "revision": spec.model_revision,
        "token": spec.token,
        "trust_remote_code": spec.trust_remote_code,
    }
    name = spec.model_name_or_path
    words = AutoTokenizer.from_pretrained(spec.tokenizer_name or name, **whence)
    if name is None and spec.config_name is None:
        config = AutoConfig.for_model(spec.model_type)
    else:
        config = AutoConfig.from_pretrained(spec.config_name or name, **whence)
    if name is None:
        new = AutoModelForSeq2SeqLM.from_config(config)
        return words, new.double() if spec.dtype == "float64" else new
    model = AutoModelForSeq2SeqLM.from_pretrained(
        name, config=config, dtype=spec.dtype, **whence
    )
    return words, model


# ---- rows ----------------------------------------------------------------------------


def read(spec: TrainingSpec) -> Any:
    """The rows of each split, as `datasets` reads them."""
    if spec.dataset_name is not None:
        return datasets.load_dataset(
            spec.dataset_name, spec.dataset_config_name, cache_dir=spec.cache_dir
        )
    named = {split: getattr(spec, f"{split}_file") for split in SPLITS}
    files = {split: file for split, file in named.items() if file is not None}
    kind = "csv" if ".csv" in " ".join(files.values()) else "json"
    return datasets.load_dataset(kind, data_files=files, cache_dir=spec.cache_dir)


def tokenized(
    spec: TrainingSpec, args: Any, tokenizer: Any, report: RunReport
) -> dict[str, Any]:
    """The tokens of the splits that are asked for; the report says what they are."""
    raw, found = read(spec), {}
    for split, action in SPLITS.items():
        if not getattr(args, action):
            continue
        if split not in raw:
            raise InputError(f"--{action}: requires a {split} dataset: --{split}_file.")
        rows = raw[split]
        most = getattr(spec, SAMPLES.get(split, "max_train_samples"))
        if most is not None:
            rows = rows.select(range(min(len(rows), most)))
        length = spec.longest_generation
        length = spec.max_target_length if split == "train" else length
        with args.main_process_first(desc=f"{split} dataset map pre-processing"):
            found[split] = rows.map(
                tokens_of(spec, tokenizer, length, rows.column_names),
                batched=True,
                num_proc=spec.preprocessing_num_workers,
                remove_columns=rows.column_names,
                load_from_cache_file=not spec.overwrite_cache,
            )
        digest = hashlib.sha256(json.dumps(found[split][:]).encode()).hexdigest()
        made, place = len(found[split]), getattr(spec, f"{split}_file")
        origin = str(place or spec.dataset_name)
        report.splits[split] = SplitReport(made, len(rows) - made, origin, digest)
    return found


def tokens_of(
    spec: TrainingSpec, tokenizer: Any, length: int, names: list[str]
) -> Callable[[Mapping[str, list[Any]]], Any]:
    """Makes tokens of a batch of rows; a row with an empty side is left out."""
    text, summary = spec.text_column or names[0], spec.summary_column or names[1]
    for flag, column in (("text_column", text), ("summary_column", summary)):
        if column not in names:
            raise InputError(f"--{flag} {column}: has to be of: {', '.join(names)}.")
    padding = "max_length" if spec.pad_to_max_length else False

    def tokens(batch: Mapping[str, list[Any]]) -> Any:
        pairs = zip(batch[text], batch[summary], strict=True)
        kept = [(spec.source_prefix + a, b) for a, b in pairs if a and b]
        cut = {"padding": padding, "truncation": True}
        made = tokenizer([a for a, _ in kept], max_length=spec.max_source_length, **cut)
        targets = [b for _, b in kept]
        labels = tokenizer(text_target=targets, max_length=length, **cut)["input_ids"]
        if padding and spec.ignore_pad_token_for_loss:
            pad = tokenizer.pad_token_id
            labels = [[-100 if t == pad else t for t in row] for row in labels]
        made["labels"] = labels
        return made

    return tokens


def collator(spec: TrainingSpec, tokenizer: Any, model: Any) -> Any:
    """Pads a batch to its longest row."""
    ignored = -100 if spec.ignore_pad_token_for_loss else tokenizer.pad_token_id
    multiple = 8 if spec.fp16 else None
    return DataCollatorForSeq2Seq(
        tokenizer, model, label_pad_token_id=ignored, pad_to_multiple_of=multiple
    )


# ---- scores --------------------------------------------------------------------------


def scores(tokenizer: Any) -> Callable[[Any], dict[str, float]]:
    """Makes the function that scores what was generated."""
    scorer = RougeScorer(ROUGE, use_stemmer=True)

    def compute(judged: Any) -> dict[str, float]:
        texts = [decoded(tokenizer, ids) for ids in judged]
        found = [scorer.score(b, a) for a, b in zip(*texts, strict=True)]
        mean = {kind: np.mean([s[kind].fmeasure for s in found]) for kind in ROUGE}
        rounded = {kind: round(float(x) * 100, 4) for kind, x in mean.items()}
        ids, pad = np.asarray(judged.predictions), tokenizer.pad_token_id
        length = np.mean([np.count_nonzero(row != pad) for row in ids])
        return rounded | {"gen_len": float(length)}

    return compute


def decoded(tokenizer: Any, ids: Any) -> list[str]:
    """The texts of token ids, in which -100 stands for padding."""
    ids = np.where(ids != -100, ids, tokenizer.pad_token_id)
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in texts]
