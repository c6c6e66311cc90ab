"""Every flag of a run in one place: name, default, reason, meaning, bounds.

Names and defaults are those of transformers' example scripts and `TrainingArguments`,
so that the commands of the guide "Train with a script" mean here what they say. False
and None stand for "off" or "the model's own"; any other default has its reason beside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def flag(
    default: Any,
    help: str,
    *aliases: str,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    hashed: bool = True,
    secret: bool = False,
    path: bool = False,
) -> Any:
    """A field of a spec.

    ``hashed``: it can change a computed number; ``secret``: never in a log, a report
    or a file; ``path``: a slash at its end says nothing.
    """
    bounds = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
    facts = {"hashed": hashed, "secret": secret, "path": path}
    return field(
        default=default, metadata={"help": help, "aliases": aliases, **bounds, **facts}
    )


@dataclass(frozen=True)
class ModelFlags:
    """Which model and tokenizer, and where they come from."""

    model_name_or_path: str | None = flag(
        None,
        "A folder with config.json and model.safetensors, or a Hub name.",
        path=True,
    )
    config_name: str | None = flag(None, "Another config's folder or name.", path=True)
    tokenizer_name: str | None = flag(
        None, "Another tokenizer's folder or name.", path=True
    )
    model_type: str | None = flag(
        None, "Train a new model of this type (t5) from scratch, from --seed."
    )
    cache_dir: str | None = flag(None, "Where downloads are kept.", hashed=False)
    model_revision: str = flag(  # the Hub's default branch
        "main", "Branch, tag or commit of the model on the Hub."
    )
    token: str | None = flag(
        None,
        "Access token for private models; default: the one of `hf auth login`.",
        secret=True,
    )
    trust_remote_code: bool = flag(  # code from the Hub runs with all your rights
        False, "Run the Python code that a model on the Hub brings along."
    )
    dtype: Literal["float32", "float64"] = flag(  # T5's own; --bf16 computes in less
        "float32", "Type of the parameters; float64 is for verifying."
    )


@dataclass(frozen=True)
class DataFlags:
    """Which rows, and how they become tokens."""

    dataset_name: str | None = flag(None, "A dataset: Hub name or folder.", path=True)
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
    source_prefix: str = flag(  # most models take the text as it is
        "", "Put before every text; T5 was trained with 'summarize: '."
    )
    max_source_length: int = flag(  # the limit of many models
        1024, "Tokens that a text is truncated to.", at_least=1
    )
    max_target_length: int = flag(  # the example scripts'
        128, "Tokens that a summary is truncated to.", at_least=1
    )
    val_max_target_length: int | None = flag(
        None,
        "The same for evaluation, and for generation; default: as above.",
        at_least=1,
    )
    pad_to_max_length: bool = flag(
        False, "Pad every row to the largest length instead of the batch's longest."
    )
    ignore_pad_token_for_loss: bool = flag(  # a padded position has nothing to teach
        True, "Leave the padding of summaries out of the loss."
    )
    max_train_samples: int | None = flag(
        None, "Train on the first so many rows.", at_least=1
    )
    max_eval_samples: int | None = flag(
        None, "Evaluate on the first so many rows.", "max_val_samples", at_least=1
    )
    max_predict_samples: int | None = flag(
        None, "Predict the first so many rows.", "max_test_samples", at_least=1
    )
    overwrite_cache: bool = flag(False, "Tokenize again, cache or not.", hashed=False)
    preprocessing_num_workers: int | None = flag(
        None, "Processes that tokenize.", at_least=1, hashed=False
    )


@dataclass(frozen=True)
class RunFlags:
    """What a run does, and what it leaves behind."""

    output_dir: str | None = flag(None, "Where everything is written.", hashed=False)
    overwrite_output_dir: bool = flag(  # nothing is deleted unless asked
        False, "Start anew in a folder that is not empty, and replace it.", hashed=False
    )
    do_train: bool = flag(False, "Train.")
    do_eval: bool = flag(False, "Evaluate on the validation rows.")
    do_predict: bool = flag(False, "Evaluate on the test rows, and predict them.")
    predict_with_generate: bool = flag(  # generating takes far longer than a loss
        False, "Generate summaries when evaluating and predicting, and score them."
    )
    per_device_train_batch_size: int = flag(  # transformers'
        8, "Rows a device trains on at a time.", "per_gpu_train_batch_size", at_least=1
    )
    per_device_eval_batch_size: int = flag(  # not hashed: losses are summed over all
        8,
        "Rows a device evaluates at a time.",
        "per_gpu_eval_batch_size",
        at_least=1,
        hashed=False,
    )
    gradient_accumulation_steps: int = flag(  # one batch, one update
        1, "Micro-batches of one update.", at_least=1
    )
    num_train_epochs: float = flag(  # what most fine-tunes on small data settle on
        3.0, "Passes over the rows; may be fractional.", above=0
    )
    max_steps: int = flag(  # the epochs count
        -1,
        "Updates in all; above 0 it wins over epochs.",
        "max_train_steps",
        at_least=-1,
    )
    seed: int = flag(  # any number, but the same for all
        42, "Decides the order of rows, dropout and new weights.", at_least=0
    )
    logging_steps: float = flag(  # a loss every few minutes on a GPU
        500.0,
        "Updates between log lines; below 1: a share of all.",
        above=0,
        hashed=False,
    )
    eval_strategy: Literal["no", "steps", "epoch"] = flag(  # it costs time
        "no", "When to evaluate while training.", "evaluation_strategy"
    )
    eval_steps: float | None = flag(
        None, "Updates between evaluations; default: --logging_steps.", above=0
    )
    save_strategy: Literal["no", "steps", "epoch"] = flag(  # a kill costs little then
        "steps", "When to write a checkpoint while training."
    )
    save_steps: float = flag(  # minutes of work are lost at most, not hours
        500.0, "Updates between checkpoints; below 1: a share of all.", above=0
    )
    save_total_limit: int | None = flag(
        None, "Checkpoints to keep; the newest and the best always stay.", at_least=1
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
        None, "A checkpoint folder; 'true' or 'latest': the newest.", hashed=False
    )
    report_to: Literal["none", "tensorboard"] = flag(  # the run report holds all of it
        "none", "Also log to TensorBoard, into output_dir/runs.", hashed=False
    )
    disable_tqdm: bool = flag(False, "Show no progress bar.", hashed=False)
    use_cpu: bool = flag(False, "Leave accelerators alone.", "no_cuda", hashed=False)
    tpu: str | None = flag(None, "Name of the TPU resource.", "tpu_name", hashed=False)
    fsdp: Literal["full_shard"] | None = flag(None, "Shard the model.", hashed=False)


@dataclass(frozen=True)
class OptimizationFlags:
    """AdamW with decoupled decay, and the precision it works in."""

    optim: str = flag(  # the fused kernel rounds otherwise; not hashed: all mean AdamW
        "adamw_torch", "The optimizer; AdamW is the only one.", hashed=False
    )
    learning_rate: float = flag(  # transformers' default; T5 takes a larger one well
        5e-5, "The rate at the end of the warm-up.", at_least=0
    )
    weight_decay: float = flag(  # few updates leave little to hold back
        0.0, "Decay of all weights but biases and norms.", at_least=0
    )
    adam_beta1: float = flag(  # the paper's (Kingma and Ba), as the next two
        0.9, "Memory of the first moment.", at_least=0, below=1
    )
    adam_beta2: float = flag(0.999, "Memory of the second moment.", at_least=0, below=1)
    adam_epsilon: float = flag(  # torch's; Keras' 1e-7 is another optimizer
        1e-8, "Added to the root of the bias-corrected second moment.", at_least=0
    )
    max_grad_norm: float = flag(  # T5 fine-tunes diverge without it at 1e-3
        1.0, "Largest global gradient norm; 0 turns clipping off.", at_least=0
    )
    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
    ] = flag(  # ends at 0, and needs no further setting
        "linear", "What the learning rate does after the warm-up."
    )
    warmup_steps: float = flag(  # a pretrained model starts near a minimum
        0.0, "Warm-up in updates; below 1: a share.", "num_warmup_steps", at_least=0
    )
    warmup_ratio: float = flag(  # as for the steps
        0.0, "The same as a share; --warmup_steps wins.", at_least=0, at_most=1
    )
    label_smoothing_factor: float = flag(  # the plain cross-entropy
        0.0, "Share of the loss spread evenly over the vocabulary.", at_least=0, below=1
    )
    gradient_checkpointing: bool = flag(
        False, "Recompute activations backwards: less memory, more time.", hashed=False
    )
    fp16: bool = flag(False, "Compute in float16 with a dynamic loss scale.")
    bf16: bool = flag(False, "Compute in bfloat16; parameters stay as they are.")


@dataclass(frozen=True)
class GenerationFlags:
    """How summaries are generated; the defaults are the model's own."""

    num_beams: int | None = flag(
        None, "Beams of the search; 1 is greedy.", "generation_num_beams", at_least=1
    )
    length_penalty: float | None = flag(None, "Above 0 favours longer summaries.")
    early_stopping: Literal["true", "false", "never"] | None = flag(
        None, "When a beam search ends."
    )
    min_length: int | None = flag(None, "Fewest tokens of a summary.", at_least=0)
    no_repeat_ngram_size: int | None = flag(
        None, "No sequence of so many tokens comes twice.", at_least=0
    )


@dataclass(frozen=True)
class HubFlags:
    """Sharing the result."""

    push_to_hub: bool = flag(False, "Upload the result.", hashed=False)
    hub_model_id: str | None = flag(
        None, "The repository; default: output_dir's name.", hashed=False
    )
    push_to_hub_model_id: str | None = flag(
        None, "The repository's name in your own namespace.", hashed=False
    )
    hub_token: str | None = flag(
        None,
        "Token to upload with; default: --token.",
        "push_to_hub_token",
        hashed=False,
        secret=True,
    )
    hub_private_repo: bool | None = flag(None, "Make it private.", hashed=False)
    hub_strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = flag(
        # a run that dies has left its newest checkpoint there
        "every_save",
        "When to upload.",
        hashed=False,
    )


GROUPS = (ModelFlags, DataFlags, RunFlags, OptimizationFlags, GenerationFlags, HubFlags)
