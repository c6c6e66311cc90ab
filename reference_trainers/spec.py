"""Every flag of a run: its name, default, meaning and validation, in one place.

Names and defaults are those of transformers' example scripts and `TrainingArguments`,
so that the commands of the guide "Train with a script" mean here what they say.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from reference_trainers.errors import InputError


def flag(default: Any, help: str, *aliases: str) -> Any:
    """A field with the metadata that `transformers.HfArgumentParser` reads."""
    spellings = [f"--{alias}" for alias in aliases]
    return field(default=default, metadata={"help": help, "aliases": spellings})


@dataclass(frozen=True)
class ModelFlags:
    """Which model and tokenizer, and where they come from."""

    _argument_group_name = "model"

    model_name_or_path: str | None = flag(
        None, "A folder with config.json and model.safetensors, or a name on the Hub."
    )
    config_name: str | None = flag(None, "Another folder or name for the config.")
    tokenizer_name: str | None = flag(None, "Another folder or name for the tokenizer.")
    model_type: str | None = flag(
        None, "Train a new model of this type (t5) from scratch, from --seed."
    )
    cache_dir: str | None = flag(None, "Where downloads from the Hub are kept.")
    model_revision: str = flag("main", "Branch, tag or commit of the model on the Hub.")
    token: str | None = flag(
        None, "Access token for private models; default: the one of `hf auth login`."
    )
    trust_remote_code: bool = flag(
        False,  # code from the Hub runs with all your rights
        "Run the Python code that a model on the Hub brings along.",
    )
    dtype: Literal["float32", "float64"] = flag(
        "float32", "Type of the parameters; float64 is for verifying."
    )


@dataclass(frozen=True)
class DataFlags:
    """Which rows, and how they become tokens."""

    _argument_group_name = "data"

    dataset_name: str | None = flag(None, "A dataset on the Hub, or a folder of one.")
    dataset_config_name: str | None = flag(
        None, "The configuration of the dataset.", "dataset_config"
    )
    train_file: str | None = flag(
        None, "Rows to train on: CSV, JSON Lines or JSON, compressed or not."
    )
    validation_file: str | None = flag(None, "Rows to evaluate on.")
    test_file: str | None = flag(None, "Rows to predict.")
    text_column: str | None = flag(
        None, "Column of the texts; default: the dataset's, else the first."
    )
    summary_column: str | None = flag(
        None, "Column of the summaries; default: the dataset's, else the second."
    )
    source_prefix: str = flag(
        "", "Put before every text; T5 was trained with 'summarize: '."
    )
    max_source_length: int = flag(1024, "Tokens that a text is truncated to.")
    max_target_length: int = flag(128, "Tokens that a summary is truncated to.")
    val_max_target_length: int | None = flag(
        None,
        "The same for evaluation, and the longest generation; "
        "default: --max_target_length.",
    )
    pad_to_max_length: bool = flag(
        False, "Pad every row to the largest length instead of the batch's longest."
    )
    ignore_pad_token_for_loss: bool = flag(
        True,  # a padded position has nothing to teach
        "Leave the padding of summaries out of the loss.",
    )
    max_train_samples: int | None = flag(None, "Train on the first so many rows.")
    max_eval_samples: int | None = flag(None, "Evaluate on the first so many rows.")
    max_predict_samples: int | None = flag(None, "Predict the first so many rows.")
    overwrite_cache: bool = flag(False, "Tokenize again, whatever the cache holds.")
    preprocessing_num_workers: int | None = flag(None, "Processes that tokenize.")


@dataclass(frozen=True)
class RunFlags:
    """What a run does, and what it leaves behind."""

    _argument_group_name = "run"

    output_dir: str | None = flag(None, "Where everything is written.")
    overwrite_output_dir: bool = flag(
        False, "Start anew in an output folder that is not empty, and replace it."
    )
    do_train: bool = flag(False, "Train.")
    do_eval: bool = flag(False, "Evaluate on the validation rows.")
    do_predict: bool = flag(False, "Evaluate on the test rows, and predict them.")
    predict_with_generate: bool = flag(
        False, "Generate summaries when evaluating and predicting, and score them."
    )
    per_device_train_batch_size: int = flag(8, "Rows a device trains on at a time.")
    per_device_eval_batch_size: int = flag(8, "Rows a device evaluates at a time.")
    gradient_accumulation_steps: int = flag(1, "Micro-batches of one update.")
    num_train_epochs: float = flag(3.0, "Passes over the rows; may be fractional.")
    max_steps: int = flag(
        -1, "Updates in all; above 0 it wins over the epochs.", "max_train_steps"
    )
    seed: int = flag(42, "Decides the order of rows, dropout and new weights.")
    logging_steps: float = flag(
        500, "Updates between log lines; below 1: a share of all updates."
    )
    eval_strategy: Literal["no", "steps", "epoch"] = flag(
        "no", "When to evaluate while training.", "evaluation_strategy"
    )
    eval_steps: float | None = flag(
        None, "Updates between evaluations; default: --logging_steps."
    )
    save_strategy: Literal["no", "steps", "epoch"] = flag(
        "steps", "When to write a checkpoint while training."
    )
    save_steps: float = flag(
        500, "Updates between checkpoints; below 1: a share of all updates."
    )
    save_total_limit: int | None = flag(
        None, "Checkpoints to keep; the newest and the best always stay."
    )
    load_best_model_at_end: bool = flag(
        False, "End with the checkpoint that evaluated best, not with the newest."
    )
    metric_for_best_model: str | None = flag(
        None, "What 'best' means: loss (the default), rouge1, rouge2, rougeL ..."
    )
    greater_is_better: bool | None = flag(
        None, "Whether more of that metric is better; default: all but loss."
    )
    resume_from_checkpoint: str | None = flag(
        None, "A checkpoint folder to go on from; 'true' or 'latest': the newest."
    )
    report_to: Literal["none", "tensorboard"] = flag(
        "none", "Also log to TensorBoard, into output_dir/runs."
    )
    disable_tqdm: bool = flag(False, "No progress bar (a file never gets one).")
    use_cpu: bool = flag(False, "Leave accelerators alone.", "no_cuda")
    tpu: str | None = flag(None, "Name of the TPU resource.", "tpu_name")


@dataclass(frozen=True)
class OptimizationFlags:
    """AdamW with decoupled decay, and the precision it works in."""

    _argument_group_name = "optimization"

    optim: str = flag("adamw_torch", "The optimizer; AdamW is the only one.")
    learning_rate: float = flag(5e-5, "The rate at the end of the warm-up.")
    weight_decay: float = flag(0.0, "Decay of all weights but biases and norms.")
    adam_beta1: float = flag(0.9, "Memory of the first moment.")
    adam_beta2: float = flag(0.999, "Memory of the second moment.")
    adam_epsilon: float = flag(
        1e-8,  # torch's; Keras defaults to 1e-7, which is another optimizer
        "Added to the root of the bias-corrected second moment.",
    )
    max_grad_norm: float = flag(
        1.0,  # T5 fine-tunes diverge without it at 1e-3
        "Largest global gradient norm; 0 turns clipping off.",
    )
    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
    ] = flag("linear", "How the learning rate goes on after the warm-up.")
    warmup_steps: float = flag(
        0.0, "Updates of warm-up; below 1: a share of all.", "num_warmup_steps"
    )
    warmup_ratio: float = flag(0.0, "The same as a share; --warmup_steps wins.")
    label_smoothing_factor: float = flag(
        0.0, "Share of the loss that is spread evenly over the vocabulary."
    )
    gradient_checkpointing: bool = flag(
        False, "Recompute activations backwards: less memory, more time."
    )
    fp16: bool = flag(False, "Compute in float16 with a dynamic loss scale.")
    bf16: bool = flag(False, "Compute in bfloat16; parameters stay as they are.")


@dataclass(frozen=True)
class GenerationFlags:
    """How summaries are generated; the defaults are the model's own."""

    _argument_group_name = "generation"

    num_beams: int | None = flag(
        None, "Beams of the search; 1 is greedy.", "generation_num_beams"
    )
    length_penalty: float | None = flag(None, "Above 0 favours longer summaries.")
    early_stopping: str | None = flag(
        None, "When a beam search ends: true, false or never."
    )
    min_length: int | None = flag(None, "Fewest tokens of a summary.")
    no_repeat_ngram_size: int | None = flag(
        None, "No sequence of so many tokens comes twice."
    )


@dataclass(frozen=True)
class HubFlags:
    """Sharing the result."""

    _argument_group_name = "hub"

    push_to_hub: bool = flag(False, "Upload the result.")
    hub_model_id: str | None = flag(None, "The repository; default: output_dir's name.")
    push_to_hub_model_id: str | None = flag(
        None, "The repository's name in your own namespace."
    )
    hub_token: str | None = flag(
        None, "Token to upload with; default: --token.", "push_to_hub_token"
    )
    hub_private_repo: bool | None = flag(None, "Make the repository private.")
    hub_strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = flag(
        "every_save", "When to upload."
    )


GROUPS = (ModelFlags, DataFlags, RunFlags, OptimizationFlags, GenerationFlags, HubFlags)

SECRETS = ("token", "hub_token")  # never in a log, a report or a file

# These change where and how fast a run runs, not what it computes
OUTSIDE_THE_HASH = {
    *("output_dir", "overwrite_output_dir", "cache_dir", "overwrite_cache"),
    *("preprocessing_num_workers", "resume_from_checkpoint", "report_to"),
    *("disable_tqdm", "use_cpu", "tpu"),
    *(flag.name for flag in fields(HubFlags)),
}

SMALLEST = {
    **dict.fromkeys(("max_train_samples", "max_eval_samples"), 1),
    **dict.fromkeys(("max_predict_samples", "num_beams"), 1),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), 1),
    **dict.fromkeys(("max_source_length", "max_target_length"), 1),
    **dict.fromkeys(("val_max_target_length", "preprocessing_num_workers"), 1),
    **dict.fromkeys(("gradient_accumulation_steps", "save_total_limit"), 1),
    **dict.fromkeys(("warmup_steps", "warmup_ratio", "seed", "min_length"), 0),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_epsilon"), 0),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "max_grad_norm"), 0),
    **dict.fromkeys(("label_smoothing_factor", "no_repeat_ngram_size"), 0),
}
ABOVE_ZERO = ("logging_steps", "eval_steps", "save_steps", "num_train_epochs")
BELOW_ONE = ("adam_beta1", "adam_beta2", "label_smoothing_factor")
LARGEST = 2**31 - 1  # what every tokenizer, framework and random generator takes
ADAMW = ("adamw_torch", "adamw_torch_fused", "adamw")
NOT_YET = ("push_to_hub", "fp16", "tpu", *(flag.name for flag in fields(HubFlags)))


@dataclass(frozen=True)
class TrainingSpec(
    # Bases from last to first: a dataclass takes the fields of its last base first
    HubFlags,
    GenerationFlags,
    OptimizationFlags,
    RunFlags,
    DataFlags,
    ModelFlags,
):
    """One run, whichever framework and hardware it runs on."""

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_texts()
        self._check_flags_that_exclude_each_other()
        self._check_flags_that_belong_together()

    @property
    def trains_evaluates_or_predicts(self) -> bool:
        return self.do_train or self.do_eval or self.do_predict

    @property
    def longest_generation(self) -> int:
        return self.val_max_target_length or self.max_target_length

    @property
    def best_metric(self) -> str:
        """Name of the metric that decides which checkpoint is best."""
        return (self.metric_for_best_model or "loss").removeprefix("eval_")

    @property
    def more_is_better(self) -> bool:
        if self.greater_is_better is None:
            return not self.best_metric.endswith("loss")
        return self.greater_is_better

    def as_dict(self) -> dict[str, Any]:
        """All flags but the secrets."""
        return {k: v for k, v in asdict(self).items() if k not in SECRETS}

    def as_yaml(self) -> str:
        """A file that reads back as this spec; it holds no secret."""
        import yaml  # here, so that the spec itself needs no library

        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    @property
    def hash(self) -> str:
        """The same for two specs that ask for the same computation; hexadecimal."""
        known = {k: v for k, v in self.as_dict().items() if k not in OUTSIDE_THE_HASH}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def _check_numbers(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if not math.isfinite(value):
                raise InputError(f"--{name} {value}: give a finite number.")
            if isinstance(value, int) and value > LARGEST:
                raise InputError(f"--{name} {value}: give {LARGEST} or less.")
            if name in SMALLEST and value < SMALLEST[name]:
                raise InputError(f"--{name} {value}: give {SMALLEST[name]} or more.")
            if name in ABOVE_ZERO and value <= 0:
                raise InputError(f"--{name} {value}: give a number above 0.")
            if name in BELOW_ONE and value >= 1:
                raise InputError(f"--{name} {value}: give a number below 1.")

    def _check_texts(self) -> None:
        for name, value in asdict(self).items():
            if value == "" and name != "source_prefix":
                raise InputError(f"--{name}: is empty; give a value or leave it out.")

    def _check_flags_that_exclude_each_other(self) -> None:
        if self.max_steps == 0 or self.max_steps < -1:
            raise InputError(
                f"--max_steps {self.max_steps}: give 1 or more, or -1 to count epochs."
            )
        if self.model_type is not None and self.model_name_or_path is not None:
            raise InputError(
                "--model_type trains a new model and --model_name_or_path goes on "
                "from one: give one of the two."
            )
        for name in ("train_file", "validation_file", "test_file"):
            if self.dataset_name is not None and getattr(self, name) is not None:
                raise InputError(
                    f"--dataset_name and --{name} exclude each other: "
                    "give a dataset, or a file for each split."
                )
        if self.min_length is not None and self.min_length > self.longest_generation:
            raise InputError(
                f"--min_length {self.min_length}: is above the longest generation "
                f"({self.longest_generation}); see --val_max_target_length."
            )

    def _check_flags_that_belong_together(self) -> None:
        defaults = {flag.name: flag.default for flag in fields(self)}
        for name in NOT_YET:
            if getattr(self, name) != defaults[name]:
                raise InputError(f"--{name}: not supported yet; leave it out.")
        if self.optim not in ADAMW:
            raise InputError(
                f"--optim {self.optim}: AdamW is the only optimizer; give adamw_torch."
            )
        if self.early_stopping not in (None, "true", "false", "never"):
            raise InputError(
                f"--early_stopping {self.early_stopping}: give true, false or never."
            )
        if self.warmup_ratio > 1:
            raise InputError(
                f"--warmup_ratio {self.warmup_ratio}: give a share of at most 1; "
                "--warmup_steps takes a number of updates."
            )
        if self.bf16 and self.dtype == "float64":
            raise InputError("--bf16 and --dtype float64 exclude each other.")
        if self.load_best_model_at_end:
            self._check_best_model()

    def _check_best_model(self) -> None:
        if self.eval_strategy == "no" or self.eval_strategy != self.save_strategy:
            raise InputError(
                "--load_best_model_at_end: give --eval_strategy and --save_strategy "
                "the same value, steps or epoch."
            )
        every = self.eval_steps or self.logging_steps
        if self.eval_strategy == "steps" and self.save_steps % every:
            raise InputError(
                f"--save_steps {self.save_steps:g}: with --load_best_model_at_end it "
                f"must be a multiple of --eval_steps ({every:g})."
            )
        if self.best_metric != "loss" and not self.predict_with_generate:
            raise InputError(
                f"--metric_for_best_model {self.metric_for_best_model}: "
                "give --predict_with_generate too, which computes it."
            )
