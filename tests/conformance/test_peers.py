"""The peer is plugged in by the public door, and its known limits are true."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import pytest

from conformance.catalogue import laws
from conformance.meta.sessions import session
from conformance.plugin.limits import read_limits
from conformance.plugin.states import KNOWN_LIMIT
from conformance.runs import STANDARD, build_inputs
from reference_trainers import RunReport, TrainingSpec, find_trainer

pytest.importorskip("torch", reason="not run: the peer is made of torch")

STOCK = "conformance.peers.stock_transformers:TRAINER"
LIMITS = Path(__file__).parents[2] / "conformance" / "peers" / "stock_transformers.toml"
LIMITED = ("results.evaluation-loss", "resume.may-not-change")


def test_every_limit_names_a_law_that_exists():
    known = laws()
    limits = read_limits(LIMITS, date(2026, 11, 26))
    named = [limit.law for limit in limits]
    assert len(named) == len(set(named)) > 30
    for limit in limits:
        assert limit.trainer == STOCK
        assert set(limit.profiles) <= set(known[limit.law].profiles)
        where = "https://github.com/huggingface/"
        assert limit.link == "" or limit.link.startswith(where), limit.link


def test_it_runs_and_leaves_a_report(tmp_path):
    inputs = build_inputs(tmp_path)
    output = tmp_path / "output"
    flags = STANDARD | inputs.flags() | {"max_steps": 2, "do_eval": True}
    spec = TrainingSpec(**flags, use_cpu=True, output_dir=str(output))
    report = find_trainer(STOCK).run(spec)
    assert RunReport.read(output) == report
    assert [step.step for step in report.steps] == [0, 1]
    assert all(math.isfinite(step.loss) for step in report.steps)
    assert report.metrics["eval_samples"] == 6
    assert "model.safetensors" in report.files


@pytest.mark.slow
def test_what_it_breaks_is_a_known_limit():
    options = ("--profile", "cpu", "--limits", str(LIMITS))
    found = session(STOCK, *LIMITED, options=options)
    assert set(found.states) == {KNOWN_LIMIT}
    assert found.status == 0
