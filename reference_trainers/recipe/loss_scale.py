"""The dynamic loss scale of fp16, as torch's GradScaler has it.

A gradient below 6e-8 is zero in float16: the loss is multiplied by a scale before the
gradient is taken, and the gradient divided by it. Where that overflows, the update is
left out and the scale halved. It is a power of two, so it changes no other bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from reference_trainers.errors import InputError

GROWTH_INTERVAL = 2000  # good steps until the scale is tried twice as large


@dataclass(frozen=True)
class LossScale:
    """The scale, and the steps since it changed that did not overflow."""

    scale: float = 65536.0
    good_steps: int = 0

    def after(self, finite: bool) -> LossScale:
        """The next one; `finite`: whether the gradient was."""
        if not finite:
            return LossScale(self.scale / 2)
        if self.good_steps + 1 == GROWTH_INTERVAL:
            return LossScale(self.scale * 2)
        return LossScale(self.scale, self.good_steps + 1)

    def require_use(self) -> None:
        """Raises `InputError` where it has shrunk so far that no scale can help."""
        if self.scale < 1:
            raise InputError(
                "--fp16: the gradient overflows float16 at every loss scale, down to "
                "1. Give --bf16 instead, or a lower --learning_rate."
            )
