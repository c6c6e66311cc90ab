"""The masks of dropout in torch operations: the bits of recipe/randomness.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from reference_trainers.recipe import randomness
from reference_trainers.recipe.randomness import (
    LAST_SHIFT,
    LEVELS,
    MIX,
    STEP,
    kept_from,
)

CHUNK = 1 << 18  # hashes at a time on a CPU: 1 MB, which stays in its cache


class Kind(NamedTuple):
    """What two places must share to be drawn for together."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    below: int


class Draw:
    """What all the dropouts of a model draw from in one micro-batch."""

    def __init__(self, places: int):
        self.places = places
        self.calls: Counter[range] = Counter()
        """In this micro-batch, of what drops at these places."""
        self.columns: dict[tuple[int, torch.device], torch.Tensor] = {}
        self.kinds: dict[int, Kind] = {}
        """Of each place, in this micro-batch."""
        self.begin(seed=0, first_row=0)

    def begin(self, seed: int, first_row: int) -> None:
        """Another micro-batch; `first_row`: of this process in it."""
        numbers = np.arange(self.places, dtype=np.uint32)
        self.starts = randomness.folded(np.array(seed, np.uint32), numbers)
        self.first_row = first_row
        self.keys: dict[tuple[Any, ...], torch.Tensor] = {}
        groups: dict[Kind, list[int]] = {}
        for place, kind in self.kinds.items():
            groups.setdefault(kind, []).append(place)
        self.alike = {place: group for group in groups.values() for place in group}
        """Places whose factors were of one kind in the micro-batch before."""
        self.kinds.clear()
        self.made: dict[tuple[Kind, int], torch.Tensor] = {}
        self.calls.clear()

    def factors(self, x: torch.Tensor, place: int, below: int) -> torch.Tensor:
        """Like `x` (batch, ...): 0 where an element is dropped, else a constant."""
        kind = self.kinds[place] = Kind(x.shape, x.dtype, x.device, below)
        if (kind, place) in self.made:
            return self.made[kind, place]
        # Of a small model a call costs more than its hashes: one for all that are alike
        group = self.alike.get(place, ())
        if len(group) < 2 or len(group) * x.numel() > CHUNK:
            return self.drawn(kind, [place])[0]
        drawn = self.drawn(kind, group)
        self.made.update(((kind, each), drawn[n]) for n, each in enumerate(group))
        return self.made[kind, place]

    def drawn(self, kind: Kind, places: Sequence[int]) -> torch.Tensor:
        """The factors of each place: (places, batch, ...)"""
        factor = LEVELS / (LEVELS - kind.below)
        is_small = len(places) * kind.shape.numel() <= CHUNK
        if is_small and kind.device.type == "cpu":  # numpy's calls cost less
            starts = self.starts[[*places]]
            kept = kept_from(starts, kind.shape, kind.below, self.first_row)
            return torch.from_numpy(kept) * torch.tensor(factor, dtype=kind.dtype)
        *outer, inner = kind.shape
        pairs = (inner + 1) // 2  # one hash serves two neighbours
        columns = self.along(pairs, kind.device)
        keys = self.rows(tuple(outer), kind.device)[places].flatten()
        made = columns.new_empty(len(keys), 2 * pairs, dtype=kind.dtype)
        # A tensor, as what a Python number makes of booleans is rounded to float32
        scale = made.new_tensor(factor)
        many = max(1, CHUNK // pairs) if kind.device.type == "cpu" else len(keys)
        for at in range(0, len(keys), many):
            hashes = folded(keys[at : at + many, None] + columns)
            # Halves without a sign, compared as numbers that have one
            halves = hashes.bitwise_xor_(signed(0x80008000)).view(torch.int16)
            stays = halves >= kind.below - LEVELS // 2
            torch.mul(stays, scale, out=made[at : at + many])
        return made[:, :inner].reshape(len(places), *kind.shape)

    def rows(self, outer: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Hashes of all coordinates but the last: int32 (places, their number)."""
        if (keys := self.keys.get((device, *outer))) is None:
            keys = torch.from_numpy(self.starts.view(np.int32)).to(device)
            first = self.first_row
            for length in outer:
                keys = folded(keys[..., None] + numbers(first, length, device))
                first = 0
            keys = self.keys[device, *outer] = keys.reshape(self.places, -1)
        return keys

    def along(self, pairs: int, device: torch.device) -> torch.Tensor:
        """What the last coordinate adds to a hash: int32 (pairs,)"""
        if (pairs, device) not in self.columns:
            self.columns[pairs, device] = numbers(0, pairs, device)
        return self.columns[pairs, device]


def numbers(first: int, count: int, device: torch.device) -> torch.Tensor:
    """`count` coordinates from `first` on, as `folded` takes them; int32."""
    counted = torch.arange(first, first + count, dtype=torch.int32, device=device)
    return counted * signed(STEP)


def folded(value: torch.Tensor) -> torch.Tensor:
    """The mix of `randomness.folded`, in place; int32 that stands for uint32."""
    for shift, factor in MIX:
        shifted(value, shift).mul_(signed(factor))
    return shifted(value, LAST_SHIFT)


def shifted(value: torch.Tensor, shift: int) -> torch.Tensor:
    """`value` ^ (`value` >> `shift`), in place: torch shifts signed numbers alone."""
    right = (value >> shift).bitwise_and_((1 << (32 - shift)) - 1)
    return value.bitwise_xor_(right)


def signed(bits: int) -> int:
    """The int32 of these 32 bits."""
    return bits - (1 << 32) if bits >> 31 else bits
