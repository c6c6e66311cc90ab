"""A spec in transformers' own words: what Seq2SeqTrainer is told."""

from __future__ import annotations

from dataclasses import fields

from transformers import Seq2SeqTrainingArguments

from reference_trainers.flags import HubFlags
from reference_trainers.pytorch.backend import device_of
from reference_trainers.spec import TrainingSpec

# Flags that Seq2SeqTrainingArguments has too, and why it is told something else
NOT_PASSED_ON = {
    **dict.fromkeys(
        ("do_train", "do_eval", "do_predict", "predict_with_generate"),
        "the run decides what is done, and evaluates by itself",
    ),
    **dict.fromkeys(
        ("eval_strategy", "eval_steps", "per_device_eval_batch_size"),
        "`after_update` evaluates",
    ),
    **dict.fromkeys(
        (
            *("save_strategy", "save_steps", "save_total_limit"),
            *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
            "resume_from_checkpoint",
        ),
        "`after_update` saves, in a format that every framework reads",
    ),
    **dict.fromkeys(
        ("logging_steps", "report_to", "disable_tqdm"),
        "a log after every step feeds the report",
    ),
    **dict.fromkeys(
        (field.name for field in fields(HubFlags)),
        "pushing is the run's",
    ),
    "warmup_steps": "two flags here, one there",
    "optim": "see `fused`",
    "fsdp": "it is refused",
    "gradient_checkpointing": "the model is told when it is loaded",
}


def fused(spec: TrainingSpec) -> bool:
    """Whether AdamW passes over a parameter once, not ten times.

    On a CPU alone, where it was measured; not in fp16, where a fused one is told of an
    overflow instead of being left out, nor in parts.
    """
    return device_of(spec) == "cpu" and not spec.fp16 and not spec.fsdp


def training_arguments(spec: TrainingSpec) -> Seq2SeqTrainingArguments:
    """The spec in transformers' own words: every flag of the same name, less a few."""
    theirs = {field.name for field in fields(Seq2SeqTrainingArguments)}
    same = theirs & {field.name for field in fields(spec)} - NOT_PASSED_ON.keys()
    return Seq2SeqTrainingArguments(
        **{name: getattr(spec, name) for name in same},
        warmup_steps=spec.warmup_steps or spec.warmup_ratio,
        optim="adamw_torch_fused" if fused(spec) else "adamw_torch",
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,  # a NaN must be seen
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,  # every parameter of these models is used
    )
