"""A history as a small SVG: points, levels, and where one ends."""

from __future__ import annotations

from html import escape

from benchmarks.report.history import History

WIDTH, HEIGHT, MARGIN = 640, 120, 12


def drawing(history: History) -> str:
    """Runs from left to right, evenly; seconds from the bottom, which is zero."""
    values = [point.result.value for point in history.points]
    top = max(values) * 1.1
    room = WIDTH - 2 * MARGIN

    def across(place: float) -> float:
        return MARGIN + room * (place + 0.5) / len(values)

    def down(seconds: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * seconds / top

    parts = [
        f'<line class="axis" x1="{MARGIN}" x2="{WIDTH - MARGIN}" '
        f'y1="{down(0):.1f}" y2="{down(0):.1f}"/>'
    ]
    for level in history.levels:
        x1, x2, y = across(level.first), across(level.last), down(level.seconds)
        parts.append(
            f'<line class="level" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/>'
        )
    for level in history.levels[1:]:
        x = across(level.first - 0.5)
        parts.append(
            f'<line class="change" x1="{x:.1f}" x2="{x:.1f}" y1="{MARGIN}" '
            f'y2="{down(0):.1f}"/>'
        )
    for place, (point, value) in enumerate(zip(history.points, values, strict=True)):
        title = f"{point.when:%Y-%m-%d}, {point.commit[:12] or 'no commit'}"
        parts.append(
            f'<circle cx="{across(place):.1f}" cy="{down(value):.1f}" r="3">'
            f"<title>{escape(title)}: {value:.4g} s</title></circle>"
        )
    name = escape(history.points[0].result.fullname, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name} over time">'
        f"{''.join(parts)}</svg>"
    )
