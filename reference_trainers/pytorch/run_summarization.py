"""Fine-tunes with transformers' own Seq2SeqTrainer: the oracle of the shared loop.

    python run_summarization.py --model_name_or_path google-t5/t5-small \\
        --do_train --do_eval --dataset_name cnn_dailymail --dataset_config "3.0.0" \\
        --source_prefix "summarize: " --output_dir out --predict_with_generate

Accumulation, clipping, AdamW, weight decay, the learning rate and the number of steps
are the Trainer's; the order of rows and the loss per token are the contract's.

On real papers, from a clone, with a tiny model and no network:

    python -m fixtures aclsum in && python -m fixtures tiny in/model --dropout 0
    python reference_trainers/pytorch/run_summarization.py \\
        --model_name_or_path in/model --train_file in/train.csv --output_dir out \\
        --validation_file in/validation.csv --do_train --do_eval --max_steps 20 \\
        --learning_rate 1e-2 --max_source_length 64 --max_target_length 32

Expect a train_loss of 5.76621 and an eval_loss of 5.37066, as of the other scripts.
"""

from __future__ import annotations

from reference_trainers.cli import main
from reference_trainers.pytorch import TRAINER

if __name__ == "__main__":  # before the imports below, which take seconds
    raise SystemExit(main(TRAINER))

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
)

from reference_trainers.data.batches import GlobalBatch, Rows, global_batch
from reference_trainers.loop import after_update
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.protocols import Hooks, Update
from reference_trainers.pytorch.arguments import training_arguments
from reference_trainers.pytorch.backend import (
    TorchBackend,
    tensors,
    token_loss,
)
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.recipe.plan import Plan
from reference_trainers.world import World

CPU = torch.device("cpu")


class MicroBatches(Dataset):
    """The micro-batches of one epoch, in the contract's order."""

    def __init__(self, rows: Rows, plan: Plan, world: World):
        self.rows = rows
        self.plan = plan
        self.world = world
        self.epoch = 0
        self.batch: GlobalBatch | None = None
        """The newest global batch; None before the first."""

    @property
    def current(self) -> GlobalBatch:
        assert self.batch is not None
        return self.batch

    def __len__(self) -> int:
        return -(-self.plan.rows // self.plan.micro_batch)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        in_epoch, micro_batch = divmod(index, self.plan.accumulation)
        step = self.epoch * self.plan.steps_per_epoch + in_epoch
        if self.batch is None or self.batch.step != step:
            whole = global_batch(self.rows, self.plan, step)
            self.batch = whole.share(self.world)
        return tensors(self.batch.micro_batches[micro_batch].arrays, CPU)


class ContractTrainer(Seq2SeqTrainer):
    """Seq2SeqTrainer with the contract's rows, loss and dropout."""

    def __init__(
        self,
        backend: Seq2SeqTrainerBackend,
        plan: Plan,
        hooks: Hooks,
        data: MicroBatches,
        **given: Any,
    ):
        self.backend = backend
        super().__init__(train_dataset=data, model=backend.model, **given)
        self.plan = plan
        self.hooks = hooks
        self.data = data
        self.losses: list[torch.Tensor] = []
        """Of the micro-batches of this update."""

    def create_accelerator_and_postprocess(self) -> None:
        """Computes in float16 on a CPU too, where accelerate would silently not."""
        super().create_accelerator_and_postprocess()
        accelerator, begin = self.accelerator, self.backend.loss_scale
        if begin is None:
            return
        if accelerator.device.type == "cpu":
            accelerator.native_amp = True
            accelerator.scaler = torch.amp.GradScaler("cpu")
        place = {"scale": begin.scale, "_growth_tracker": begin.good_steps}
        accelerator.scaler.load_state_dict(accelerator.scaler.state_dict() | place)

    def get_train_dataloader(self) -> DataLoader:
        """One item is a whole micro-batch, so that skipping walks through no row."""
        return DataLoader(self.data, batch_size=1, collate_fn=_the_item)

    def training_step(self, model: Any, inputs: Any, *rest: Any) -> torch.Tensor:
        """Draws dropout from (seed, step, micro-batch); keeps the loss undiminished."""
        self.backend.seed_dropout(self.data.current.micro_batches[len(self.losses)])
        inputs["use_cache"] = False  # else the decoder keeps what only a search needs
        loss = super().training_step(model, inputs, *rest)
        self.losses.append(loss.double())
        return loss

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Comes after every update: hands it on, and does what is due."""
        if "grad_norm" not in logs:
            return  # the summary at the end, which the report makes itself
        applied = not self.accelerator.optimizer_step_was_skipped
        # Each process's loss is multiplied by their number, as its gradient is
        loss = self.accelerator.reduce(sum(self.losses), "mean")
        update = Update(loss, logs["grad_norm"], applied)
        self.losses = []
        if self.args.fp16:
            now = self.accelerator.scaler.state_dict()
            self.backend.loss_scale = LossScale(now["scale"], now["_growth_tracker"])
        after_update(
            self.plan, self.hooks, self.data.current, update, logs["learning_rate"]
        )

    def floating_point_ops(self, inputs: Any) -> int:
        """Nothing: it would count the parameters anew at each step, for nobody."""
        return 0

    def _load_from_checkpoint(self, *given: Any, **more: Any) -> None:
        """Reads nothing: the backend has the checkpoint's weights already."""


class _Epochs(TrainerCallback):
    """Tells the data which epoch it is, and a resumed optimizer where it was."""

    def __init__(
        self, backend: Seq2SeqTrainerBackend, data: MicroBatches, hooks: Hooks
    ):
        self.backend = backend
        self.data = data
        self.hooks = hooks

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Gives a resumed run its moments and its place in the schedule."""
        if state.global_step == 0:
            return
        step = state.global_step - self.hooks.overflows
        self.backend.restore_moments(given["optimizer"].optimizer)
        schedule = given["lr_scheduler"]
        factors = [factor(step) for factor in schedule.lr_lambdas]
        rates = [r * f for r, f in zip(schedule.base_lrs, factors, strict=True)]
        for group, rate in zip(given["optimizer"].param_groups, rates, strict=True):
            group["lr"] = rate
        place = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
        schedule.load_state_dict(schedule.state_dict() | place)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.data.epoch = state.global_step // self.data.plan.steps_per_epoch


class Seq2SeqTrainerBackend(TorchBackend):
    """A backend that brings its own training loop."""

    trainer: ContractTrainer | None = None

    def fit(self, rows: Rows, plan: Plan, hooks: Hooks) -> None:
        """Trains as `loop.fit` does, by Seq2SeqTrainer."""
        data = MicroBatches(rows, plan, self.world)
        smoothing = self.spec.label_smoothing_factor
        # accelerate counts the processes of a TPU as those of a CPU, and of no other
        as_cpu = self.device.type == "tpu" and self.world.size > 1
        told = replace(self.spec, use_cpu=self.spec.use_cpu or as_cpu)
        self.trainer = ContractTrainer(
            self,
            plan,
            hooks,
            data,
            args=training_arguments(told),
            compute_loss_func=partial(mean_token_loss, smoothing=smoothing),
            callbacks=[_Epochs(self, data, hooks)],
        )
        with (
            lost_processes_told(RuntimeError),
            resumable(hooks.step, self.trainer.args) as folder,
        ):
            self.trainer.train(resume_from_checkpoint=folder)
        if self.trainer.state.max_steps != plan.total_steps:
            raise AssertionError(
                f"Seq2SeqTrainer counts {self.trainer.state.max_steps} steps, "
                f"the plan {plan.total_steps}"
            )

    def optimizer(self) -> torch.optim.Optimizer | None:
        prepared = self.trainer.optimizer if self.trainer else None
        return getattr(prepared, "optimizer", prepared)


@contextmanager
def resumable(step: int, args: Seq2SeqTrainingArguments) -> Iterator[str | None]:
    """A folder that tells transformers the step to resume at, and nothing else.

    It would load any pickle that lay in the checkpoint itself.
    """
    if step == 0:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        state = TrainerState(
            global_step=step,
            logging_steps=args.logging_steps,
            save_steps=args.save_steps,
            train_batch_size=args.per_device_train_batch_size,
        )
        state.save_to_json(f"{folder}/trainer_state.json")
        yield folder


def mean_token_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: Any, smoothing: float
) -> torch.Tensor:
    """Summed token loss over the target tokens of every micro-batch of the update."""
    return token_loss(outputs.logits, labels, smoothing) / num_items_in_batch


def _the_item(items: list[Any]) -> Any:
    return items[0]
