"""The hardware report as one HTML page: its script draws bars, and nothing is fetched.

Every figure stands in a table, too, which needs no script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.reading import Record
from benchmarks.report.drawing import drawing
from benchmarks.report.history import histories, scalings
from benchmarks.report.rows import FLOOR, Figure, Row, points_of, rows_of

TEMPLATES = Path(__file__).parents[1] / "templates"
ACROSS = ("specs", "precisions", "versions")
FIGURES = {
    "samples_per_second": "samples/s",
    "tokens_per_second": "tokens/s",
    "mfu": "MFU",
    "tokens_per_joule": "tokens/joule",
    "seconds": "seconds a round",
    "peak_host_bytes": "peak memory of the host",
    "peak_device_bytes": "peak memory of the device",
}
"""Those of the tables; the page counts tokens per dollar with the reader's price."""
LESS_IS_BETTER = ("seconds", "peak_host_bytes", "peak_device_bytes")


def page(
    records: Sequence[Record],
    now: datetime,
    normalize: str | None = None,
    prices: Mapping[str, float] | None = None,
    across: AbstractSet[str] = frozenset(),
) -> str:
    """The whole page. `normalize`, `prices` and `across` are what it begins with."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names are whatever a record says
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = told
    script = (TEMPLATES / "hardware.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    points, versions = points_of(records)
    rows = rows_of(points)
    kinds = dict.fromkeys(name for row in rows for name in row.figures)
    floors = [name for name in kinds if name.startswith(FLOOR)]
    titles = {name: f"× its {name.removeprefix(FLOOR)} floor" for name in floors}
    machines = list(dict.fromkeys(record.machine.name for record in records))
    found = histories(points, "versions" in across)
    return environment.get_template("hardware.html.jinja").render(
        records=records,
        machines=machines,
        numbers={name: number for number, name in enumerate(machines, start=1)},
        versions=versions,
        rows=rows,
        figures=FIGURES | titles,
        scalings=scalings(rows),
        histories=[(each, Markup(drawing(each))) for each in found],
        normalize=normalize,
        prices=prices or {},
        across=across,
        all_across=ACROSS,
        whats=list(dict.fromkeys(row.key.what for row in rows)),
        trainers=list(dict.fromkeys(row.trainer for row in rows)),
        made=f"{now:%Y-%m-%d %H:%M} UTC",
        data=Markup(_data(rows)),
        script=Markup(script),
        # The one script that may run, and nothing may be fetched
        policy=f"default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
    )


def _data(rows: Sequence[Row]) -> str:
    """For the script; no name in it can end the element that it stands in."""
    found = {"less": LESS_IS_BETTER, "rows": [_plain(row) for row in rows]}
    text = json.dumps(found, ensure_ascii=True, allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _plain(row: Row) -> dict[str, Any]:
    return {
        **asdict(row.key),
        "trainer": row.trainer,
        "profile": row.profile,
        "machine": row.machine.name,
        "devices": row.devices,
        "figures": {name: asdict(figure) for name, figure in row.figures.items()},
    }


def told(figure: Figure | None, name: str) -> str:
    """Four digits that count, as a person reads them."""
    if figure is None:
        return ""
    value, interval = figure.value, figure.interval
    if name in ("peak_host_bytes", "peak_device_bytes"):
        return f"{value / 2**20:,.1f} MiB"
    if name == "mfu":
        ends = [f"{100 * end:.4g}" for end in interval or ()]
        return f"{100 * value:.4g} %" + (f" ({' to '.join(ends)})" if ends else "")
    ends = [f"{end:.4g}" for end in interval or ()]
    return f"{value:.4g}" + (f" ({' to '.join(ends)})" if ends else "")
