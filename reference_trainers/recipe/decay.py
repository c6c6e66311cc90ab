"""Which parameters weight decay applies to."""

from __future__ import annotations

import re

# transformers' Trainer.get_decay_parameter_names keeps these from weight decay
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def decays(name: str) -> bool:
    """Whether weight decay applies to the parameter of this Hugging Face name."""
    return _NO_DECAY.search(name.lower()) is None
