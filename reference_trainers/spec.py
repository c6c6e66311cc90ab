"""A run as one value: every flag of `flags`, checked by `spec_rules`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from reference_trainers import spec_rules
from reference_trainers.flags import (
    GROUPS,
    DataFlags,
    GenerationFlags,
    HubFlags,
    ModelFlags,
    OptimizationFlags,
    RunFlags,
)

SECRETS = tuple(  # never in a log, a report or a file
    flag.name for group in GROUPS for flag in fields(group) if flag.metadata["secret"]
)


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
        spec_rules.check(self)

    @property
    def trains_evaluates_or_predicts(self) -> bool:
        return self.do_train or self.do_eval or self.do_predict

    @property
    def compute_dtype(self) -> str:
        """What products are computed in; parameters and moments are of `dtype`."""
        if self.bf16:
            return "bfloat16"
        return "float16" if self.fp16 else self.dtype

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
        asked = json.dumps(self._computation(), sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _computation(self) -> dict[str, Any]:
        """What decides the numbers of this run, each thing said in one way."""
        asked = self._hashed_values()
        asked["val_max_target_length"] = self.longest_generation
        if self.max_steps > 0:
            del asked["num_train_epochs"]
        if self.warmup_steps >= 1:
            del asked["warmup_ratio"]
        else:
            asked["warmup_ratio"] = self.warmup_steps or self.warmup_ratio
            del asked["warmup_steps"]
        if self.eval_strategy == "steps":
            asked["eval_steps"] = float(self.eval_steps or self.logging_steps)
        else:
            del asked["eval_steps"]
        if self.ignore_pad_token_for_loss:  # else padding is part of the loss
            del asked["pad_to_max_length"]
        asked["metric_for_best_model"] = self.best_metric
        asked["greater_is_better"] = self.more_is_better
        if not self.load_best_model_at_end:  # else checkpoints decide how a run ends
            for name in ("save_strategy", "save_steps", "save_total_limit"):
                del asked[name]
            del asked["metric_for_best_model"], asked["greater_is_better"]
        for name in self._unread():
            del asked[name]
        return asked

    def _unread(self) -> Iterator[str]:
        """Flags of rows that no action reads, and of summaries that none generates."""
        if not self.do_train:
            yield from ("train_file", "max_train_samples")
        if not self.do_eval and not (self.do_train and self.eval_strategy != "no"):
            yield from ("validation_file", "max_eval_samples")
        if not self.do_predict:
            yield from ("test_file", "max_predict_samples")
        if not self.predict_with_generate:
            yield from (flag.name for flag in fields(GenerationFlags))

    def _hashed_values(self) -> dict[str, Any]:
        values = {}
        for flag in fields(self):
            value = getattr(self, flag.name)
            if isinstance(value, str) and flag.metadata["path"]:
                value = value.rstrip("/")
            if spec_rules.kinds()[flag.name].type is float and value is not None:
                value = float(value)  # 3 epochs are 3.0 epochs
            if flag.metadata["hashed"] and not flag.metadata["secret"]:
                values[flag.name] = value
        return values
