"""The one training loop, framework-free.

What is one update, and what if it stops here? A batch is a function of the step, and so
is everything random in it: there is nothing to rewind.
"""

from __future__ import annotations

from reference_trainers.data.batches import GlobalBatch, Rows, global_batch
from reference_trainers.protocols import Backend, Hooks, Update
from reference_trainers.recipe.plan import Plan


def fit(backend: Backend, rows: Rows, plan: Plan, hooks: Hooks) -> None:
    """Trains to ``plan.total_steps``: one global batch, one update, then what is due.

    Raises `TrainingStopped` after a finished and saved step when a signal asked for it.
    """
    for step in range(hooks.step, plan.total_steps):
        batch = global_batch(rows, plan, step).share(backend.world)
        learning_rate = plan.learning_rate(step - hooks.overflows)
        update = backend.train_step(batch, learning_rate)
        after_update(plan, hooks, batch, update, learning_rate)


def after_update(
    plan: Plan, hooks: Hooks, batch: GlobalBatch, update: Update, learning_rate: float
) -> None:
    """What is due after an update, whoever made it."""
    hooks.record(batch, update, learning_rate)
    if plan.logs_after(batch.step):
        hooks.log()
    if plan.evaluates_after(batch.step):
        hooks.evaluate()
    if plan.saves_after(batch.step) or hooks.stop:
        hooks.save()
    if hooks.stop:
        raise hooks.stop
