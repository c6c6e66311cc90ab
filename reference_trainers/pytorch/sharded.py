"""A model in parts, one on each device: torch's `fully_shard` (FSDP2).

A part is a DTensor. All processes ask for a whole array at a time, in the same order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel


def shard(model: PreTrainedModel, device: str, processes: int) -> None:
    """Cuts each parameter along its rows; a block is whole while it is computed."""
    # T5's blocks return views, which nothing changes in place
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(device, (processes,))
    kinds = {*(model._no_split_modules or ())}
    for module in model.modules():
        if type(module).__name__ in kinds:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


@contextmanager
def summed_later(model: nn.Module, is_last: bool) -> Iterator[None]:
    """Gradients of a micro-batch that is not the last stay in this process."""
    model.set_requires_gradient_sync(is_last)
    yield


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Whole on each device meanwhile: some generate for longer than others."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in parts:
        module.set_reshard_after_forward(False)
        module.unshard()
    try:
        yield
    finally:
        for module in parts:
            module.set_reshard_after_forward(True)
            module.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor, one at a time on the device."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def laid_out(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`values`, which each process has, in the type, place and parts of `like`."""
    values = values.to(like.device, like.dtype)
    if not isinstance(like, DTensor):
        return values
    kinds: Any = like.placements
    return distribute_tensor(values, like.device_mesh, kinds, src_data_rank=None)
