"""How a run starts in each of its processes: one leads it, the others follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reference_trainers.life.follow import follow
from reference_trainers.life.run import run
from reference_trainers.life.signals import ended_at_once
from reference_trainers.processes.group import Group
from reference_trainers.protocols import Backend
from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec
from reference_trainers.world import world_of


def start(
    name: str, backend_class: Callable[[], type[Backend]], spec: TrainingSpec
) -> RunReport:
    """Runs `spec` in the trainer of that name; the same report in every process.

    Raises `InputError` for what the user can fix, `TrainingStopped` on a signal.
    """
    world = world_of()
    if world.size == 1:
        return run(name, backend_class, spec, Group(world, np.copy))
    backend = backend_class()
    with ended_at_once():
        backend.join(world, spec)
    group = Group(world, backend.reduce)
    if not world.first:
        return follow(backend_class, spec, group)
    with group.leading() as told:
        report = run(name, backend_class, spec, group)
        told(report.as_json())
    return report
