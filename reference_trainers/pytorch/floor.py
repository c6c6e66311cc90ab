"""What the trainers are measured against: transformers' model in a bare step, eager or
compiled by `torch.compile`.

Model and dropout are transformers' and torch's own, AdamW and clipping torch's, at a
constant rate. Nothing is recorded, scheduled, scaled or resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM

from reference_trainers.data.batches import NO_TARGET, Batch, GlobalBatch
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource
from reference_trainers.pytorch.backend import HALF, device_of, tensors
from reference_trainers.pytorch.generate import generation_config
from reference_trainers.pytorch.load import DTYPES
from reference_trainers.spec import TrainingSpec


class BareStep:
    """One update on one device; called with a batch, it gives the loss."""

    def __init__(self, spec: TrainingSpec, source: ModelSource, compiles: bool):
        self.device, self.autocast = place_of(spec)
        self.model = model_of(spec, source).to(self.device).train()
        self.largest_norm = spec.max_grad_norm
        self.adamw = torch.optim.AdamW(
            self.model.parameters(), spec.learning_rate, weight_decay=spec.weight_decay
        )
        self.compilations = 0
        self.network = self.model
        if compiles:  # once for all lengths: it takes a minute or two
            self.network = torch.compile(
                self.model, backend=self.compiled, dynamic=True
            )

    def __call__(self, batch: GlobalBatch) -> torch.Tensor:
        inputs = tensors(batch.micro_batches[0].arrays, self.device)
        labels = inputs.pop("labels")
        with self.autocast():
            logits = self.network(**inputs, use_cache=False).logits
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=NO_TARGET
            )
        loss.backward()
        if self.largest_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.largest_norm)
        self.adamw.step()
        self.adamw.zero_grad()
        return loss.detach()

    def compiled(self, graph, inputs):
        """`torch.compile`'s own back end, which is counted."""
        self.compilations += 1
        return torch._dynamo.lookup_backend("inductor")(graph, inputs)


def stock_search(
    spec: TrainingSpec, source: ModelSource
) -> Callable[[Batch, GenerationSettings], np.ndarray]:
    """transformers' `generate` of its own model, as its documentation calls it."""
    device, autocast = place_of(spec)
    model = model_of(spec, source).to(device).eval()

    def generate(batch: Batch, settings: GenerationSettings) -> np.ndarray:
        inputs = tensors(batch.arrays, device)
        with torch.no_grad(), autocast():
            tokens = model.generate(
                inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=generation_config(settings),
            )
        return tokens.cpu().numpy()

    return generate


def model_of(spec: TrainingSpec, source: ModelSource) -> nn.Module:
    """The model in the folder of a source, as transformers reads it."""
    return AutoModelForSeq2SeqLM.from_pretrained(
        source.folder, dtype=DTYPES[spec.dtype]
    )


def place_of(spec: TrainingSpec):
    """The device, and what makes the context in which half precision is computed."""
    device = device_of(spec)
    half = HALF.get(spec.compute_dtype)
    enabled = half is not None
    return device, partial(torch.autocast, device, half, enabled=enabled)


def matmul(spec: TrainingSpec, size: int) -> Callable[[], object]:
    """What multiplies two square matrices in `spec.compute_dtype`, and waits."""
    dtype = getattr(torch, spec.compute_dtype)
    ones = torch.ones((size, size), dtype=dtype, device=device_of(spec))
    return lambda: torch.matmul(ones, ones)[0, 0].item()


STEPS = {
    "eager": partial(BareStep, compiles=False),
    "compiled": partial(BareStep, compiles=True),
}
SEARCHES = {"stock": stock_search}
