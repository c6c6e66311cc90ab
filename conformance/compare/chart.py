"""The loss curves of a comparison over one another, as SVG that a page can hold."""

from __future__ import annotations

import io
import re
from typing import Any

from conformance.compare.comparison import Comparison, by_step
from conformance.differences import distance

# Okabe and Ito's colours: told apart by colour-blind eyes, on white and on black
COLOURS = ("#e69f00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
INK = "#010203"  # stands for the page's own text colour
LOWEST = 1e-9  # of the part of the log axis below the smallest difference, at the least


def style(place: int) -> dict[str, object]:
    """Wide and pale first, then thinner and dashed: lines show through one another."""
    widths = (7.0, 4.0, 2.5, 1.4)
    dashes = ("-", (0, (6, 3)), (0, (3, 3)), (0, (1, 2.5)))
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linewidth": widths[min(place, len(widths) - 1)],
        "linestyle": dashes[min(place, len(dashes) - 1)],
        "alpha": 0.55 if place == 0 else 1.0,
    }


def loss_chart(comparison: Comparison) -> str | None:
    """Losses above, differences from the first trainer below; None without a step."""
    reports = {name: r for name, r in comparison.reports.items() if r.steps}
    if not reports:
        return None
    # Here, so that all but drawing works without it
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK)
    ink |= dict.fromkeys(("xtick.color", "ytick.color", "grid.color"), INK)
    # Text stays text: it takes the page's font, can be found, and weighs little
    with rc_context({**ink, "svg.fonttype": "none", "svg.hashsalt": "compare"}):
        two = len(reports) > 1
        figure = Figure(figsize=(9, 7 if two else 4), layout="constrained")
        axes = figure.subplots(2 if two else 1, 1, sharex=True, squeeze=False)[:, 0]
        for place, (name, report) in enumerate(reports.items()):
            losses = [record.loss for record in report.steps]
            steps = [record.step for record in report.steps]
            # One step alone is a point, and a line of one point shows nothing
            marker = "o" if len(steps) == 1 else ""
            axes[0].plot(steps, losses, label=name, marker=marker, **style(place))
        axes[0].set_ylabel("training loss per target token")
        axes[0].legend(frameon=False)
        if two:
            _draw_differences(axes[1], comparison)
        axes[-1].set_xlabel("step")
        for each in axes:
            each.grid(alpha=0.15)
            each.patch.set_visible(False)
            each.spines[["top", "right"]].set_visible(False)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    return _for_a_page(drawn.getvalue())


def _draw_differences(axes: Any, comparison: Comparison) -> None:
    """Of each trainer from the first, on a log axis; equal steps lie on its floor."""
    first, *others = [(n, r) for n, r in comparison.reports.items() if r.steps]
    taken = by_step(first[1])
    lines = {}
    for place, (name, report) in enumerate(others, start=1):
        lines[place, f"{name} from {first[0]}"] = {
            record.step: distance(record.loss, taken[record.step].loss)
            for record in report.steps
            if record.step in taken
        }
    if len(others) > 1:
        furthest = {step.step: step.difference for step in comparison.steps}
        lines[-1, "any two trainers"] = furthest
    positive = [gap for line in lines.values() for gap in line.values() if gap > 0]
    floor = min([gap for gap in positive if gap < float("inf")], default=LOWEST) / 3
    for (place, label), line in lines.items():
        how = style(place) | {"linewidth": 1.5}
        if place < 0:
            how = {"color": INK, "linewidth": 0.7}
        heights = [max(gap, floor) for gap in line.values()]
        marker = "o" if len(line) == 1 else ""
        axes.plot(list(line), heights, label=label, marker=marker, **how)
    allowed = comparison.tolerances["loss"].absolute
    if allowed:
        axes.axhline(allowed, color=INK, linestyle=(0, (8, 4)), linewidth=0.8)
        axes.annotate(
            f"tolerance {allowed:g}",
            (1, allowed),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
        )
    axes.set_yscale("log")
    axes.set_ylabel("loss difference (log)")
    # Above the axes: differences may lie anywhere within
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)


def _for_a_page(svg: str) -> str:
    """Only the picture: no XML head, no metadata, the page's width and ink."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = 'role="img" aria-label="Training loss by step, and its differences"'
    svg = svg.replace("<svg", f"<svg {label}", 1)
    return svg.replace(INK, "currentColor")
