"""A process that says when its first training step is done: `test_start` waits for it.

python -m benchmarks.first_step '{"trainer": "flax", "profile": "cpu", ...}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DONE = "the first step is done"


def main(told: str) -> None:
    """Opens the trainer and lets it train until it has made one step."""
    # Here: what a run imports is part of its start
    from benchmarks.door import Workshop
    from benchmarks.measure import Effort, Watch
    from benchmarks.shapes import SHAPES
    from conformance.profiles import PROFILES
    from reference_trainers import GlobalBatch, Update, find_trainer

    class First(Watch):
        """Says so after a step; whoever waits for the first ends the process."""

        def record(self, batch: GlobalBatch, update: Update, rate: float) -> None:
            super().record(batch, update, rate)
            print(DONE, flush=True)

    asked = json.loads(told)
    profile = PROFILES[asked["profile"]]
    shape = SHAPES[asked["shape"]].with_batch(asked["batch"])
    for prepare in profile.prepare:
        prepare()
    model = Path(asked["model"])
    workshop = Workshop(profile, model.parent, models={shape.name: model})
    opened = workshop.open(find_trainer(asked["trainer"]), shape)
    opened.fit(False, First(opened.backend, Effort(1, 0, 1)))


if __name__ == "__main__":
    main(sys.argv[1])
