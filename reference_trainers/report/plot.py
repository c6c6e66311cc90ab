"""A picture of the loss, for the model card."""

from __future__ import annotations

from pathlib import Path

from reference_trainers.results import RunReport

WHAT_MADE_IT = {"Software": None}  # else the file changes with matplotlib's version


def plot_loss(report: RunReport, path: Path) -> None:
    """Draws the loss of each update, and of each evaluation, into a PNG file."""
    from matplotlib.figure import Figure  # here: it takes a second to import

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = [step.step + 1 for step in report.steps]
    axes.plot(steps, [step.loss for step in report.steps], label="training")
    judged = [e for e in report.evaluations if e.get("eval_loss") is not None]
    if judged:
        losses = [entry["eval_loss"] for entry in judged]
        axes.plot([e["step"] for e in judged], losses, "o-", label="validation")
    axes.set(xlabel="updates", ylabel="loss per target token")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata=WHAT_MADE_IT)
