"""transformers' own Seq2SeqTrainer, as a user of version 5 writes a summarizer with it.

    pytest conformance --trainer conformance.peers.stock_transformers:TRAINER \\
        --limits conformance/peers/stock_transformers.toml

It follows examples/pytorch/summarization/run_summarization.py of transformers, and
never mends what that does: what it does is what is measured. It uses the public names
of `reference_trainers` alone, as a third party does. The limits beside it are measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import transformers
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    set_seed,
)

from conformance.peers.summarization import (
    collator,
    decoded,
    load,
    scores,
    tokenized,
)
from reference_trainers import (
    REPORT_FILE,
    InputError,
    RunReport,
    StepRecord,
    TrainingSpec,
    files_in,
    write_whole,
)

REFUSES = {
    "overwrite_output_dir": "--overwrite_output_dir: transformers 5 removed it.",
    "tpu": "--tpu: Seq2SeqTrainer takes no TPU by its name.",
}
GENERATION = ("length_penalty", "min_length", "no_repeat_ngram_size")
NOT_TOLD = "not told"  # Seq2SeqTrainer says nowhere which rows made a step


@dataclass(frozen=True)
class StockTransformers:
    """Seq2SeqTrainer, and the script around it."""

    name: str = "stock-transformers"
    refuses: Mapping[str, str] = field(default_factory=lambda: REFUSES)

    def run(self, spec: TrainingSpec) -> RunReport:
        """Runs `spec`, and writes its output folder.

        Raises `InputError` where the script of transformers has a check of its own.
        """
        check(spec, self.refuses)
        # As in a process of its own: other trainers turn them off for all
        datasets.enable_progress_bars()
        transformers.logging.enable_progress_bar()
        args = training_arguments(spec)
        set_seed(args.seed)
        tokenizer, model = load(spec)
        report = RunReport(self.name, spec.as_dict(), spec.hash)
        rows = tokenized(spec, args, tokenizer, report)
        watch = Watch()
        trainer = Seq2SeqTrainer(
            model=model,
            args=args,
            train_dataset=rows.get("train"),
            eval_dataset=rows.get("validation"),
            processing_class=tokenizer,
            data_collator=collator(spec, tokenizer, model),
            compute_metrics=scores(tokenizer) if args.predict_with_generate else None,
            callbacks=[watch],
        )
        if args.do_train:
            train(spec, trainer, watch, report)
        if args.do_eval:
            found = trainer.evaluate(metric_key_prefix="eval", **generation(spec))
            saved(trainer, report, "eval", found, len(rows["validation"]))
        if args.do_predict:
            predict(spec, trainer, rows["test"], report)
        share(spec, trainer, report)
        write_report(trainer, report)
        return report


TRAINER = StockTransformers()


# ---- the spec, in transformers' words ------------------------------------------------


def check(spec: TrainingSpec, refuses: Mapping[str, str]) -> None:
    """Raises `InputError` for a flag that is refused, and where nothing is asked."""
    for flag in fields(spec):
        if flag.name in refuses and getattr(spec, flag.name) != flag.default:
            raise InputError(refuses[flag.name])
    if not spec.trains_evaluates_or_predicts:
        raise InputError("There is nothing to do: pass --do_train, --do_eval, ...")


def training_arguments(spec: TrainingSpec) -> Seq2SeqTrainingArguments:
    """Every flag of the same name, and those that are told in another way."""
    theirs = {known.name for known in fields(Seq2SeqTrainingArguments)}
    same = theirs & {flag.name for flag in fields(spec)}
    told = {
        "warmup_steps": spec.warmup_steps or spec.warmup_ratio,
        "logging_strategy": "steps",
        "logging_steps": 1,  # so that every step is in the report
        "eval_steps": spec.eval_steps or spec.logging_steps,
        "hub_model_id": spec.hub_model_id or spec.push_to_hub_model_id,
        "generation_max_length": spec.longest_generation,
        "generation_num_beams": spec.num_beams,
    }
    return Seq2SeqTrainingArguments(**{n: getattr(spec, n) for n in same} | told)


def generation(spec: TrainingSpec) -> dict[str, Any]:
    """What `generate` is told; what is None is the model's own."""
    if not spec.predict_with_generate:
        return {}
    told = {name: getattr(spec, name) for name in GENERATION}
    early = {"true": True, "false": False}.get(str(spec.early_stopping))
    told["early_stopping"] = spec.early_stopping if early is None else early
    told |= {"max_length": spec.longest_generation, "num_beams": spec.num_beams}
    return {name: value for name, value in told.items() if value is not None}


# ---- what is done --------------------------------------------------------------------


class Watch(TrainerCallback):
    """Looks on: the seconds of each step, and the step at which training began."""

    def __init__(self) -> None:
        self.began, self.last = 0, 0.0
        self.seconds: dict[int, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.began, self.last = state.global_step, time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        now = time.perf_counter()
        self.seconds[state.global_step], self.last = now - self.last, now


def train(
    spec: TrainingSpec, trainer: Seq2SeqTrainer, watch: Watch, report: RunReport
) -> None:
    """Trains, saves, and takes the steps from the log."""
    asked: str | bool | None = spec.resume_from_checkpoint
    if asked in ("true", "latest"):
        asked = True
    ended = trainer.train(resume_from_checkpoint=asked)
    trainer.save_model()
    saved(trainer, report, "train", ended.metrics, len(trainer.train_dataset))
    trainer.save_state()
    state = trainer.state
    report.total_steps, report.model_step = state.max_steps, state.global_step
    report.resumed_at = watch.began or None
    report.evaluations = [e for e in state.log_history if "eval_loss" in e]
    report.steps = [
        StepRecord(
            step=entry["step"] - 1,
            epoch=entry["epoch"],
            row_ids=NOT_TOLD,
            learning_rate=entry["learning_rate"],
            loss=entry["loss"],
            grad_norm=entry["grad_norm"],
            target_tokens=0,  # not told either
            seconds=watch.seconds.get(entry["step"], 0.0),
        )
        for entry in state.log_history
        if "loss" in entry
    ]


def predict(
    spec: TrainingSpec, trainer: Seq2SeqTrainer, rows: Any, report: RunReport
) -> None:
    """Judges the test rows, and writes what was generated, a line each."""
    made = trainer.predict(rows, metric_key_prefix="predict", **generation(spec))
    saved(trainer, report, "predict", made.metrics, len(rows))
    if spec.predict_with_generate and trainer.is_world_process_zero():
        texts = decoded(trainer.processing_class, made.predictions)
        path = Path(trainer.args.output_dir) / "generated_predictions.txt"
        path.write_text("\n".join(texts), encoding="utf-8")


# ---- what is left behind -------------------------------------------------------------


def saved(
    trainer: Seq2SeqTrainer, report: RunReport, split: str, found: Any, rows: int
) -> None:
    """Metrics of a split, in their file and in the report."""
    metrics = {**found, f"{split}_samples": rows}
    trainer.log_metrics(split, metrics)
    trainer.save_metrics(split, metrics)
    for name, value in metrics.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        report.metrics[name] = value if finite else None


def share(spec: TrainingSpec, trainer: Seq2SeqTrainer, report: RunReport) -> None:
    """Pushes, where that was asked for, or writes the model card alone."""
    about = {"finetuned_from": spec.model_name_or_path, "tasks": "summarization"}
    if not spec.push_to_hub:
        trainer.create_model_card(**about)
        return
    pushed = trainer.push_to_hub(**about)
    report.push = {"repository": trainer.hub_model_id, "problem": None}
    report.push |= {"url": str(pushed), "commit": getattr(pushed, "oid", None)}


def write_report(trainer: Seq2SeqTrainer, report: RunReport) -> None:
    """The report into the output folder, by the first process alone."""
    args = trainer.args
    devices = args.world_size * max(1, args.n_gpu)
    report.hardware = {"device": args.device.type, "devices": devices}
    report.versions = {"transformers": transformers.__version__}
    if trainer.is_world_process_zero():
        folder = Path(args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        report.files = sorted({*files_in(folder), REPORT_FILE})
        write_whole(folder / REPORT_FILE, report.as_json())
