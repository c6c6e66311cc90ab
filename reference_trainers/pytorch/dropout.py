"""The dropout of every framework in a model of transformers (recipe/randomness.py).

Such a model drops in `nn.Dropout` modules, which are replaced here, and on the weights
of its attention, which transformers' AttentionInterface lets anybody compute. A model
that calls torch's dropout itself (BART and its kin do) keeps torch's own masks: seeded
by the micro-batch too, they repeat, but they are no other framework's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout as own_dropout
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from reference_trainers.pytorch.masks import Draw
from reference_trainers.recipe.randomness import dropped_levels

NAME = "common_dropout"  # of our attention, in transformers' register
USUAL = "sdpa"  # transformers' own, where nothing is dropped


def dropped(x: torch.Tensor, rate: float, draw: Draw, place: int) -> torch.Tensor:
    """`x` without a share of its elements; the others make up for them."""
    below = dropped_levels(rate)
    return x * draw.factors(x, place, below) if below else x


class Dropout(nn.Module):
    """Zeroes a share of its input; which part is a function of (seed, place)."""

    def __init__(self, rate: float, draw: Draw, places: range):
        super().__init__()
        self.rate = rate
        self.draw = draw
        self.places = places
        """One for each call in a forward pass: T5's stacks drop twice by one module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        # Gradient checkpointing calls again what it computes again
        place = self.places[self.draw.calls[self.places] % len(self.places)]
        self.draw.calls[self.places] += 1
        return dropped(x, self.rate, self.draw, place)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    position_bias: torch.Tensor | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Of queries (batch, heads, queries, size): (batch, queries, heads, size).

    `attention_mask`, bool: True where a query looks; None: wherever `module` lets it.
    """
    if not dropout:
        usual = AttentionInterface()[USUAL]
        given["position_bias"] = position_bias
        return usual(module, query, key, value, attention_mask, **given)
    scores = query @ key.mT  # changed in place: no gradient needs it as it was
    if (scaling := given.get("scaling") or query.shape[-1] ** -0.5) != 1:
        scores *= scaling
    if position_bias is not None:
        scores += position_bias
    if attention_mask is None and module.is_causal:
        attention_mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attention_mask is not None:
        scores.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
    weights = dropped(scores.softmax(-1), dropout, module.draw, module.place)
    return (weights @ value).transpose(1, 2).contiguous(), None


def with_common_dropout(model: PreTrainedModel) -> Draw | None:
    """Replaces all that drops in `model`; None: it stays, as torch draws in it.

    Places are counted in the order of modules, as in the layers of the other leaves.
    """
    calls = drops(model)
    if calls is None:
        return None
    draw = Draw(calls.total())
    first = 0
    for name, module in list(model.named_modules()):
        places = range(first, first := first + calls[module])
        if calls[module] and type(module) is nn.Dropout:
            dropout = Dropout(module.p, draw, places).train(module.training)
            model.set_submodule(name, dropout)
        elif calls[module]:
            module.draw, module.place = draw, places[0]
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()[USUAL])
    model.set_attn_implementation(NAME)
    return draw


def drops(model: PreTrainedModel) -> Counter[nn.Module] | None:
    """How often each module drops in a forward pass, tried with one token.

    None: something is dropped in a way that cannot be replaced.
    """
    before, token = model.training, torch.zeros((1, 1), dtype=torch.long)
    with torch.random.fork_rng(), torch.no_grad(), _Drops() as found:
        model.train()
        model(input_ids=token, decoder_input_ids=token, use_cache=False)
    model.train(before)
    return None if found.elsewhere else found.calls


class _Drops(TorchFunctionMode):
    """Sees who drops: modules of torch's own, attention, or anything elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[nn.Module] = Counter()
        self.elsewhere = False
        self.running: list[nn.Module] = []
        """The innermost module comes last."""

    def __enter__(self) -> _Drops:
        self.hooks = (
            register_module_forward_pre_hook(lambda m, _: self.running.append(m)),
            register_module_forward_hook(lambda *_: self.running.pop() and None),
        )
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        for hook in self.hooks:
            hook.remove()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        module = self.running[-1] if self.running else None
        if function is own_dropout and type(module) is nn.Dropout:
            self.calls[module] += 1
        elif function is scaled_dot_product_attention:
            self.calls[module] += bool(given.get("dropout_p"))
        elif "dropout" in function.__name__:
            self.elsewhere = True
        return function(*args, **given)
