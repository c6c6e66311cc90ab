"""A run that is killed at, or refused, any operation on a file, and started again.

    pytest tests/life/test_every_operation.py -m "slow or not slow"

tries every operation of the run below; a plain `pytest` tries a share of them.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.life.runs import Inputs, Life, dies, in_child, untimed

RUN: dict[str, Any] = {
    "max_steps": 4,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_steps": 2,
    "save_total_limit": 1,
    "load_best_model_at_end": True,
    "greater_is_better": True,  # the first checkpoint is the best, and is kept
    "do_eval": True,
    "do_predict": True,
    "seed": 5,
}
OLDER: dict[str, Any] = {"max_steps": 2, "seed": 7, "do_predict": True}
SHARE = 12


class Operations:
    """Counts the changes of files in a folder, and acts at one of them."""

    def __init__(self, folder: Path, at: int, error: int | None):
        """At operation `at`, from 1: fails with errno `error`; None: dies."""
        self.folder = str(folder)
        self.at = at
        self.error = error
        self.count = 0

    def __call__(self, event: str, path: str) -> None:
        if not path.startswith(self.folder):
            return
        self.count += 1
        if self.count == self.at and self.error is None:
            dies()
        elif self.count == self.at and self.error is not None:
            raise OSError(self.error, "as was planted", path)


@pytest.fixture(scope="module")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The run that nothing interrupted."""
    life = Life(inputs, tmp_path_factory.mktemp("whole") / "output")
    life.run(**RUN)
    return life


def number_of_operations(life: Life, **flags: Any) -> int:
    """How many the run has; it is counted in a child, which cannot be told to stop."""
    watch, told = Operations(life.folder, 0, None), life.folder.with_name("operations")

    def act() -> None:
        life.run(**flags)
        told.write_text(str(watch.count))

    assert in_child(act, watch) == 0
    return int(told.read_text())


def places(count: int, every: bool, seed: int) -> Iterator[int]:
    """All operations from 1, or a share of them."""
    numbers = range(1, count + 1)
    yield from numbers if every else sorted(random.Random(seed).sample(numbers, SHARE))


EVERY = [
    pytest.param(False, id="share"),
    pytest.param(True, id="every", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("anew", [True, False], ids=["anew", "overwriting"])
def test_a_kill_at_any_operation_changes_nothing_of_the_end(
    inputs: Inputs, tmp_path: Path, whole: Life, every: bool, anew: bool
) -> None:
    flags = RUN if anew else RUN | {"overwrite_output_dir": True}
    wanted = untimed(whole.folder)

    def life_of(name: str) -> Life:
        life = Life(inputs, tmp_path / name)
        if not anew:
            life.run(**OLDER)
        return life

    count = number_of_operations(life_of("counted"), **flags)
    assert count > 50
    for at in places(count, every, seed=anew):
        life = life_of(f"killed-{at}")
        watch = Operations(life.folder, at, None)
        assert in_child(partial(life.run, **flags), watch) == -9, at
        life.run(**flags)
        found = untimed(life.folder)
        assert found.keys() == wanted.keys(), f"operation {at}"
        for name, content in found.items():
            expected = wanted[name]
            if not anew and name == "run_report.json":
                expected = expected.replace(
                    b'"overwrite_output_dir": false', b'"overwrite_output_dir": true'
                )
            assert content == expected, f"operation {at}: {name}"


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES], ids=["full", "refused"])
def test_an_operation_that_fails_costs_no_more_than_a_sentence(
    inputs: Inputs, tmp_path: Path, whole: Life, every: bool, error: int
) -> None:
    count = number_of_operations(Life(inputs, tmp_path / "counted"), **RUN)
    wanted = untimed(whole.folder)
    for at in places(count, every, seed=error):
        life = Life(inputs, tmp_path / f"failed-{at}")
        watch = Operations(life.folder, at, error)
        status = in_child(partial(life.run, **RUN), watch)
        assert status in (0, 2), f"operation {at}"
        report = life.run(**RUN)
        found = untimed(life.folder)
        assert found.keys() <= wanted.keys(), f"operation {at}"
        for name in found.keys() if not report.warnings else ():
            assert found[name] == wanted[name], f"operation {at}: {name}"
        # A checkpoint that could not be saved, the best say, costs a warning
        model = wanted[f"checkpoint-{report.model_step}/model.safetensors"]
        assert found["model.safetensors"] == model, f"operation {at}"
        assert len(report.steps) == 4
