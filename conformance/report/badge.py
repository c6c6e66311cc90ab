"""A badge for a README: how many laws are kept, as a small SVG of its own."""

from __future__ import annotations

from html import escape

from conformance.report.verdict import Verdict, number

LABEL = "conformance"
GREEN, AMBER, RED, GREY = "#1a7f4b", "#8a6100", "#b3261e", "#3d4552"
"""White letters on each have a contrast of 4.5 or more."""
LETTER = 6.6  # pixels, about; textLength makes it so in any font
MARGIN = 7


def badge(verdict: Verdict) -> str:
    """Green: every law is kept; amber: those that were tested are; red: it is bad."""
    said = f"{verdict.kept} of {number(verdict.laws, 'law')}"
    colour = RED if verdict.bad else GREEN if verdict.complete else AMBER
    left, right = _width(LABEL), _width(said)
    title = escape(f"{LABEL}: {said}; {verdict.heading}")
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" \
aria-label="{title}">
<title>{title}</title>
<clipPath id="round"><rect width="{left + right}" height="20" rx="4"/></clipPath>
<g clip-path="url(#round)">
<rect width="{left}" height="20" fill="{GREY}"/>
<rect x="{left}" width="{right}" height="20" fill="{colour}"/>
</g>
<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">
{_text(LABEL, 0)}
{_text(said, left)}
</g>
</svg>
"""


def _width(text: str) -> int:
    return round(len(text) * LETTER) + 2 * MARGIN


def _text(text: str, start: int) -> str:
    length = _width(text) - 2 * MARGIN
    return (
        f'<text x="{start + MARGIN}" y="14" textLength="{length}">{escape(text)}</text>'
    )
