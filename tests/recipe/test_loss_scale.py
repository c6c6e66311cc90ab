"""The dynamic loss scale: torch's GradScaler is the oracle."""

from __future__ import annotations

import random

import pytest

from reference_trainers.errors import InputError
from reference_trainers.recipe.loss_scale import GROWTH_INTERVAL, LossScale


def test_it_begins_at_65536_and_halves_where_a_gradient_overflows():
    scale = LossScale(good_steps=7).after(finite=False)
    assert scale == LossScale(32768.0, 0)


def test_it_doubles_after_2000_good_steps_in_a_row():
    scale = LossScale(1024.0)
    for step in range(GROWTH_INTERVAL - 1):
        scale = scale.after(finite=True)
        assert scale == LossScale(1024.0, step + 1)
    assert scale.after(finite=True) == LossScale(2048.0, 0)
    assert scale.after(finite=False) == LossScale(512.0, 0)


def test_below_1_it_is_of_no_use():
    LossScale(1.0).require_use()
    with pytest.raises(InputError, match=r"^--fp16: .* Give --bf16 instead"):
        LossScale(1.0).after(finite=False).require_use()


def test_it_follows_torchs_grad_scaler():
    torch = pytest.importorskip("torch", reason="not run: torch is not installed")
    draw = random.Random(5)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    theirs, ours = torch.amp.GradScaler("cpu"), LossScale()
    for step in range(5000):  # some overflows first, then long runs of good steps
        finite = draw.random() < (0.7 if step < 20 else 0.9998)
        loss = theirs.scale((parameter * (1.0 if finite else float("inf"))).sum())
        optimizer.zero_grad()
        loss.backward()
        theirs.step(optimizer)
        theirs.update()
        ours = ours.after(finite)
        known = theirs.state_dict()
        assert (known["scale"], known["_growth_tracker"]) == (
            ours.scale,
            ours.good_steps,
        )
