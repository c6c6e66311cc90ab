"""Flags of transformers' example scripts that have another name or form today.

No flag is accepted and ignored: one gets its meaning; one whose only sensible value is
what happens anyway is accepted with that value; the rest is refused with a sentence.
A mere other spelling of a flag is an alias, and stands beside the flag itself.
"""

from __future__ import annotations

from reference_trainers.errors import InputError
from reference_trainers.spec_rules import SPELLINGS

# What they mean today, for -h
UNDERSTOOD = {
    "checkpointing_steps": "N: --save_strategy steps --save_steps N; epoch: the same.",
    "with_tracking": "--report_to tensorboard.",
    "prediction_loss_only": "Evaluate without --predict_with_generate.",
}
# The one value that is taken, and why there is no other
ONLY = {
    "adafactor": ("false", "AdamW is the only optimizer"),
    "dataloader_drop_last": ("false", "a short last batch is trained on too"),
    "dataloader_num_workers": ("0", "batches are made in the process that trains"),
    "group_by_length": ("false", "the order of rows is that of --seed and epoch alone"),
    "logging_strategy": ("steps", "see --logging_steps"),
    "low_cpu_mem_usage": ("false", "weights are read once, as they lie in their file"),
    "remove_unused_columns": ("true", "other columns than the two are never read"),
    "save_safetensors": ("true", "nothing is ever pickled"),
    "sortish_sampler": ("false", "the order of rows is that of --seed and epoch alone"),
    "use_auth_token": ("true", "give the token itself by --token"),
    "use_fast_tokenizer": ("true", "transformers has one tokenizer for a model"),
    "use_slow_tokenizer": ("false", "transformers has one tokenizer for a model"),
}
REFUSED = {
    "forced_bos_token": "mBART's languages are not supported; leave it out.",
    "gcp_project": "not supported; give the TPU's name by --tpu.",
    "generation_max_length": "give --val_max_target_length, which decides it here.",
    "lang": "mBART's languages are not supported; leave it out.",
    "logging_dir": "TensorBoard's log lies in output_dir/runs; leave it out.",
    "resize_position_embeddings": "never done; choose --max_source_length to fit.",
    "tpu_zone": "not supported; give the TPU's name by --tpu.",
    "xla": "each framework compiles where that pays; leave it out.",
}
# Values that another flag stands for today
VALUES = {
    ("dtype", "bfloat16"): {"bf16": "true"},
    ("dtype", "float16"): {"fp16": "true"},
    ("report_to", "all"): {"report_to": "tensorboard"},
}
# What a switch stands for that is on; off it says nothing
SWITCHES = {
    "with_tracking": {"report_to": "tensorboard"},
    "prediction_loss_only": {"predict_with_generate": "false"},
}


def takes_no_value(name: str) -> bool:
    """Whether it may stand alone, as a switch that is on."""
    return name in SWITCHES or (name in ONLY and ONLY[name][0] in ("true", "false"))


def translated(given: dict[str, str]) -> dict[str, str]:
    """`given`, as flags of today; raises `InputError` where it says two things."""
    flags = {k: v for k, v in given.items() if not _is_old(k, v)}
    for name, value in given.items():
        for new, meaning in _meaning(name, value).items():
            if flags.setdefault(new, meaning) != meaning:
                raise InputError(
                    f"--{name} {value}: means --{new} {meaning}, but --{new} "
                    f"{flags[new]} is given too. Give one of the two."
                )
    return flags


def _is_old(name: str, value: str) -> bool:
    return name in UNDERSTOOD or name in ONLY or (name, value) in VALUES


def _meaning(name: str, value: str) -> dict[str, str]:
    if (name, value) in VALUES:
        return VALUES[name, value]
    if name == "checkpointing_steps":
        if value == "epoch":
            return {"save_strategy": "epoch"}
        if not value.isdecimal():
            raise InputError(f"--{name} {value}: give a number of updates, or epoch.")
        return {"save_strategy": "steps", "save_steps": value}
    if name in SWITCHES:
        if _plain(value) not in ("true", "false"):
            raise InputError(f"--{name} {value}: give true or false.")
        return SWITCHES[name] if _plain(value) == "true" else {}
    if name in ONLY:
        only, why = ONLY[name]
        if value != only and _plain(value) != only:
            asked = f"--{name}" if "auth" in name else f"--{name} {value}"  # a secret
            raise InputError(f"{asked}: leave it out; {why}.")
    return {}


def _plain(value: str) -> str:
    """true or false, for any spelling of them."""
    return str(SPELLINGS.get(value.lower(), value)).lower()
