"""What the processes of a run do together: evaluate, generate, take over a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from reference_trainers.data.batches import Arrays, Batch, Rows, part_of
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.processes.group import Group
from reference_trainers.protocols import Backend, State
from reference_trainers.recipe.loss_scale import LossScale

STATE = ("parameters", "exp_avg", "exp_avg_sq")  # the arrays of a `State`


class SaidRows:
    """Rows of the first process, which the others hear whenever they are read."""

    def __init__(self, rows: Rows, group: Group):
        self._rows = rows
        self._group = group

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, ids: Sequence[int]) -> Mapping[str, Sequence]:
        columns = self._rows[ids]
        self._group.say("rows", columns=dict(columns))
        return columns


class HeardRows:
    """The same rows in another process, which reads no file."""

    def __init__(self, rows: int, group: Group):
        self._count = rows
        self._group = group

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, ids: Sequence[int]) -> Mapping[str, Sequence]:
        columns: Mapping[str, Sequence] = self._group.hear()["columns"]
        return columns


def evaluate(backend: Backend, group: Group, batch: Batch) -> tuple[float, int]:
    """`Backend.evaluate` of a batch that all processes share out."""
    if group.is_one:
        return backend.evaluate(batch)
    group.say("evaluate", batch.arrays._asdict(), rows=batch.rows)
    return evaluate_part(backend, group, batch)


def evaluate_part(backend: Backend, group: Group, batch: Batch) -> tuple[float, int]:
    """This process's rows; the sums are those of all."""
    part = part_of(batch, group.world)
    # Without a row too: where parameters lie in parts, all take part
    found = backend.evaluate(part)
    loss, tokens = group.summed(np.array(found, np.float64))
    return float(loss), int(tokens)


def generate(
    backend: Backend, group: Group, batch: Batch, settings: GenerationSettings
) -> np.ndarray:
    """`Backend.generate` of a batch that all processes share out."""
    if group.is_one:
        return backend.generate(batch, settings)
    group.say("generate", batch.arrays._asdict(), rows=batch.rows)
    return generate_part(backend, group, batch, settings)


def generate_part(
    backend: Backend, group: Group, batch: Batch, settings: GenerationSettings
) -> np.ndarray:
    """This process's rows among those of all, in their order."""
    part = part_of(batch, group.world)
    size = -(-len(batch.arrays.labels) // group.world.size)
    whole = np.zeros((size * group.world.size, settings.max_length), np.int64)
    tokens = backend.generate(part, settings)
    own = whole[group.world.rank * size :][: part.rows]
    own[:] = settings.pad_token_id
    own[:, : tokens.shape[1]] = tokens[: part.rows]
    whole = group.summed(whole)[: batch.rows]
    used = np.flatnonzero((whole != settings.pad_token_id).any(axis=0))
    return whole[:, : used[-1] + 1]


def state(backend: Backend, group: Group) -> State:
    """`Backend.state` in all processes, each of which may hold a part of it."""
    group.say("state")
    return backend.state()


def restore(backend: Backend, group: Group, state: State) -> None:
    """`Backend.restore` in all processes: one alone needs to have the files."""
    arrays = {
        f"{kind}/{name}": values
        for kind in STATE
        for name, values in getattr(state, kind).items()
    }
    scale = state.loss_scale and asdict(state.loss_scale)
    group.say("restore", arrays, updates=state.updates, loss_scale=scale)
    backend.restore(state)


def state_of(word: Mapping[str, Any]) -> State:
    """The state that `restore` said."""
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in STATE}
    for path, values in word["arrays"].items():
        kind, _, name = path.partition("/")
        found[kind][name] = values
    scale = word["loss_scale"]
    return State(
        **found, updates=word["updates"], loss_scale=scale and LossScale(**scale)
    )


def batch_of(word: Mapping[str, Any]) -> Batch:
    """The batch of a word, to be evaluated."""
    return Batch(Arrays(**word["arrays"]), word["rows"])
