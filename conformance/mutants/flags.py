"""Of each flag the law that sees it, and a mutant that accepts the flag and ignores it.

`SEEN_BY` is the table that says so. What no law on a CPU can see stands in `UNSEEN`,
with the reason and what sees it instead.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from conformance.mutants.planted import QUICK, T5, OfASound
from reference_trainers import RunReport, TrainingSpec, find_trainer

SEEN_BY = {
    "config_name": "flags.model",
    "tokenizer_name": "flags.model",
    "model_type": "flags.model",
    "cache_dir": "hub.reads",
    "model_revision": "hub.reads",
    "token": "hub.reads",
    "dtype": "trace.steps",
    "dataset_name": "files.dataset-folder",
    "dataset_config_name": "files.configuration",
    "train_file": "truncation.samples",
    "validation_file": "truncation.samples",
    "test_file": "truncation.samples",
    "text_column": "files.any-columns",
    "summary_column": "files.any-columns",
    "source_prefix": "files.prefix",
    "max_source_length": "truncation.source",
    "max_target_length": "truncation.target",
    "val_max_target_length": "truncation.evaluation",
    "ignore_pad_token_for_loss": "parity.other-flags",
    "max_train_samples": "truncation.samples",
    "max_eval_samples": "truncation.samples",
    "max_predict_samples": "truncation.samples",
    "overwrite_output_dir": "resume.overwrite",
    "do_train": "results.files",
    "do_eval": "results.files",
    "do_predict": "results.files",
    "predict_with_generate": "results.files",
    "per_device_train_batch_size": "order.last-batch",
    "per_device_eval_batch_size": "results.speeds",
    "gradient_accumulation_steps": "order.short-last-group",
    "num_train_epochs": "order.seed-and-epoch",
    "max_steps": "order.longer-run",
    "seed": "order.seed-and-epoch",
    "logging_steps": "results.log",
    "eval_strategy": "results.evaluations",
    "eval_steps": "results.evaluations",
    "save_strategy": "results.files",
    "save_steps": "results.checkpoint",
    "save_total_limit": "resume.limit",
    "load_best_model_at_end": "resume.best",
    "metric_for_best_model": "resume.best-metric",
    "greater_is_better": "resume.best",
    "resume_from_checkpoint": "resume.bit-exact",
    "report_to": "results.events",
    "learning_rate": "arithmetic.schedule",
    "weight_decay": "parity.steps",
    "adam_beta1": "parity.other-flags",
    "adam_beta2": "parity.other-flags",
    "adam_epsilon": "parity.other-flags",
    "max_grad_norm": "parity.steps",
    "lr_scheduler_type": "arithmetic.schedule",
    "warmup_steps": "arithmetic.schedule",
    "warmup_ratio": "parity.other-flags",
    "label_smoothing_factor": "parity.steps",
    "fp16": "precision.overflow",
    "bf16": "precision.real",
    "num_beams": "generation.own-settings",
    "length_penalty": "generation.search",
    "early_stopping": "generation.search",
    "min_length": "generation.shortest",
    "no_repeat_ngram_size": "generation.no-repeats",
    "push_to_hub": "hub.one-commit",
    "hub_model_id": "hub.named",
    "push_to_hub_model_id": "hub.named",
    "hub_token": "hub.token",
    "hub_private_repo": "hub.named",
    "hub_strategy": "hub.saves",
}
"""What they must not be accepted and ignored by; another value than the default."""

UNSEEN = {
    "model_name_or_path": "without it there is no run: every law sees it",
    "output_dir": "without it there is no run: every law sees it",
    "trust_remote_code": "code runs that a model brings: tests/models",
    "pad_to_max_length": "shapes alone; files.padding: it changes no number",
    "overwrite_cache": "time alone; files.workers: it changes no row",
    "preprocessing_num_workers": "time alone; files.workers: it changes no row",
    "disable_tqdm": "a terminal alone shows it: tests/report",
    "use_cpu": "each CPU profile gives it; it shows where an accelerator is",
    "tpu": "needs a TPU; without one it is refused: tests/leaves",
    "fsdp": "memory alone; devices.sharded: it changes no file: tests/leaves",
    "optim": "every value that is accepted means AdamW: input.bad-value",
    "gradient_checkpointing": "memory alone; parity.other-flags: no number",
}

OF_A_T5 = {
    *("dtype", "ignore_pad_token_for_loss", "weight_decay", "max_grad_norm"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "warmup_ratio", "fp16", "bf16"),
    *("label_smoothing_factor", "num_beams", "length_penalty", "early_stopping"),
    *("min_length", "no_repeat_ngram_size"),
}
"""The trainer in numpy has no arithmetic, and no search, that they would change."""


@dataclass(frozen=True)
class Ignores(OfASound):
    """A sound trainer that is never told of one flag, and reports as if it were."""

    flag: str
    caught_by: tuple[str, ...]
    of: str

    def run(self, spec: TrainingSpec) -> RunReport:
        default: Any = {flag.name: flag.default for flag in fields(spec)}[self.flag]
        report = find_trainer(self.of).run(replace(spec, **{self.flag: default}))
        return replace(report, spec=spec.as_dict(), spec_hash=spec.hash)


def ignoring(flag: str, law: str) -> Ignores:
    return Ignores(flag, (law,), T5 if flag in OF_A_T5 else QUICK)


# Each by a name of its own, as any mutant: ignores_seed
globals().update(
    {f"ignores_{flag}": ignoring(flag, law) for flag, law in SEEN_BY.items()}
)
