"""Mutants of a T5 that only numbers can tell, and the traces name what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from conformance.mutants import order
from conformance.mutants.planted import T5, planted
from reference_trainers import GlobalBatch, ModelSource, TrainingSpec, Update
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend

FROZEN = "decoder.block.0.layer.1.EncDecAttention.v.weight"

repeats_the_first_epoch = planted(
    order.ROWS_AT, caught_by=("trace.rows", "trace.steps"), of=T5
)(order.every_epoch_alike.fault)
is_a_step_ahead = planted(
    order.begins_at_step_one.where, caught_by=("trace.steps", "trace.float32"), of=T5
)(order.begins_at_step_one.fault)


@planted("reference_trainers.data.tokens.tokens_of", caught_by=("trace.rows",), of=T5)
def cuts_a_token_late(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a summary be one token longer than it may be."""

    def tokens(*rows: Any, **facts: Any) -> Any:
        return sound(*rows, **facts | {"target_length": facts["target_length"] + 1})

    return tokens


class TellsTheClippedNorm(AccelerateBackend):
    """Reports the gradient's norm as it is after clipping."""

    caught_by = ("trace.steps",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        update = super().train_step(batch, learning_rate)
        largest = self.spec.max_grad_norm or float("inf")
        return replace(update, grad_norm=min(float(update.grad_norm), largest))


class FreezesOne(AccelerateBackend):
    """Leaves one parameter out of every update."""

    caught_by = ("trace.early-weights",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        frozen = self.model.get_parameter(FROZEN)
        before = frozen.detach().clone()
        update = super().train_step(batch, learning_rate)
        frozen.data.copy_(before)
        return update


class SparesTheHead(AccelerateBackend):
    """The head does not decay."""

    caught_by = ("trace.early-weights",)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        loaded = super().load(spec, source)
        if not spec.weight_decay:  # all are in one group
            return loaded
        head = loaded.model.get_output_embeddings().weight
        decaying, others = loaded.adamw.param_groups
        decaying["params"] = [it for it in decaying["params"] if it is not head]
        others["params"].append(head)
        return loaded


class NormsByAnotherEpsilon(AccelerateBackend):
    """Its layer norms add 1e-5 to the variance, as most models do; T5 adds 1e-6."""

    caught_by = ("trace.float32",)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        config = copy.deepcopy(source.config)
        config.layer_norm_epsilon = 1e-5
        return super().load(spec, replace(source, config=config))


class StepsByKerasEpsilon(AccelerateBackend):
    """Adds Keras' 1e-7 to the root of the second moment, where 1e-8 was asked for."""

    caught_by = ("trace.float32",)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        return super().load(replace(spec, adam_epsilon=1e-7), source)
