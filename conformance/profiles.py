"""Hardware profiles: the flags that choose one, and how far its numbers may stray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Profile:
    """One kind of hardware and precision."""

    name: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-6
    """Relative, of a loss against the same run done otherwise (other micro-batches)."""
    absent: Callable[[], str | None] = lambda: None
    """Why it is not here; None: it is."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("cpu", {"use_cpu": True}),
        Profile("cpu-float64", {"use_cpu": True, "dtype": "float64"}, tolerance=1e-12),
        # 8 bits of mantissa: a mean over some hundred tokens keeps about two digits
        Profile("cpu-bf16", {"use_cpu": True, "bf16": True}, tolerance=1e-2),
    )
}
