"""T5 in Flax NNX: 1.0, 1.1, Flan and mT5, with weights under Hugging Face names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from reference_trainers.flax.layers import (
    Dropout,
    Linear,
    Norm,
    Parts,
    checkpointed,
    gelu_new,
    product,
    put,
)
from reference_trainers.models.t5 import EMBEDDING, HEAD, distance_buckets, t5_weights


class Attention(nnx.Module):
    """Heads over keys and values: its own (`SelfAttention`) or the encoder's."""

    def __init__(self, parts: Parts, layer: str, attention: str):
        self.norm = Norm(parts, f"{layer}.layer_norm.weight")
        self.q = Linear(parts, f"{layer}.{attention}.q.weight")
        self.k = Linear(parts, f"{layer}.{attention}.k.weight")
        self.v = Linear(parts, f"{layer}.{attention}.v.weight")
        self.o = Linear(parts, f"{layer}.{attention}.o.weight")
        self.weights_dropout = Dropout(parts)
        self.dropout = Dropout(parts)
        self.heads, self.size = parts.config.num_heads, parts.config.d_kv
        self.computes_in = parts.compute_dtype

    def split(self, x):
        """(batch, length, heads * size) -> (batch, heads, length, size)"""
        return x.reshape(*x.shape[:2], self.heads, self.size).swapaxes(1, 2)

    def keys_values(self, states):
        """Of `states` (batch, length, d_model), ready for the products with them:

        keys (batch, heads, size, length) and values (batch, heads, length, size).
        """
        return self.split(self.k(states)).swapaxes(2, 3), self.split(self.v(states))

    def __call__(self, normed, keys, values, bias, seed=None):
        """`normed` (batch, queries, d_model) looks at `keys`; `bias` masks them."""
        scores = product(self.split(self.q(normed)), keys, self.computes_in)
        weights = self.weights_dropout(jax.nn.softmax(scores + bias), seed)
        found = product(weights, values, self.computes_in).swapaxes(1, 2)
        found = found.reshape(*found.shape[:2], self.heads * self.size)
        return self.dropout(self.o(found), seed)


class FeedForward(nnx.Module):
    """ReLU (T5 1.0) or gated GELU (T5 1.1) between two products."""

    def __init__(self, parts: Parts, layer: str):
        self.norm = Norm(parts, f"{layer}.layer_norm.weight")
        gated = parts.config.is_gated_act
        names = ("wi_0", "wi_1") if gated else ("wi",)
        named = [f"{layer}.DenseReluDense.{name}.weight" for name in names]
        self.wi = nnx.List([Linear(parts, name) for name in named])
        out = f"{layer}.DenseReluDense.wo.weight"
        self.wo = Linear(parts, out, parts.wide_dtype)
        self.inner_dropout = Dropout(parts)
        self.dropout = Dropout(parts)
        self.activation = activation(parts.config.dense_act_fn)

    def __call__(self, hidden, seed=None):
        normed = self.norm(hidden)
        inner = self.activation(self.wi[0](normed))
        for gate in self.wi[1:]:
            inner = inner * gate(normed)
        return self.dropout(self.wo(self.inner_dropout(inner, seed)), seed)


def activation(name: str):
    """relu, or gelu_new: GELU by the formula with tanh."""
    return {"relu": jax.nn.relu, "gelu_new": gelu_new}[name]


class Block(nnx.Module):
    """Self-attention, attention to the encoder (in a decoder), feed-forward."""

    def __init__(self, parts: Parts, name: str, decoder: bool):
        self.own = Attention(parts, f"{name}.layer.0", "SelfAttention")
        self.cross: Any = nnx.data(None)  # a plain None would stay one
        if decoder:
            self.cross = Attention(parts, f"{name}.layer.1", "EncDecAttention")
        self.feed = FeedForward(parts, f"{name}.layer.{2 if decoder else 1}")

    def __call__(self, hidden, bias, encoded=None, encoded_bias=None, seed=None):
        normed = self.own.norm(hidden)
        keys, values = self.own.keys_values(normed)
        hidden = hidden + self.own(normed, keys, values, bias, seed)
        if self.cross is not None:
            normed = self.cross.norm(hidden)
            keys, values = self.cross.keys_values(encoded)
            hidden = hidden + self.cross(normed, keys, values, encoded_bias, seed)
        return hidden + self.feed(hidden, seed)

    def step(self, hidden, beams, at, cache, bias, memory, memory_bias):
        """One token of each beam at place `at`: hidden (batch * beams, 1, d_model)."""
        normed = self.own.norm(hidden)
        new = self.own.keys_values(normed)
        keys = put(cache[0], new[0], at, axis=3)
        values = put(cache[1], new[1], at, axis=2)
        hidden = hidden + self.own(normed, keys, values, bias)
        # The beams of a row share its memory: they are the queries of one attention.
        group = hidden.reshape(-1, beams, hidden.shape[-1])
        cross = self.cross(self.cross.norm(group), *memory, memory_bias)
        hidden = (group + cross).reshape(hidden.shape)
        return hidden + self.feed(hidden), (keys, values)


class Stack(nnx.Module):
    """The encoder or the decoder; its first block's position bias serves all."""

    def __init__(self, parts: Parts, name: str, depth: int, checkpointing: bool):
        decoder = name == "decoder"
        first = f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        self.positions = parts.parameter(self, first)
        self.buckets = tuple(distance_buckets(parts.config, not decoder).tolist())
        names = [f"{name}.block.{index}" for index in range(depth)]
        self.blocks = nnx.List([Block(parts, block, decoder) for block in names])
        self.norm = Norm(parts, f"{name}.final_layer_norm.weight")
        self.input_dropout, self.output_dropout = Dropout(parts), Dropout(parts)
        self.checkpointing = checkpointing

    def position_bias(self, queries, keys):
        """(1, heads, queries, keys) for places `queries` and `keys`, int32."""
        reach = len(self.buckets) // 2
        distance = jnp.clip(keys[None, :] - queries[:, None], -reach, reach)
        buckets = jnp.take(jnp.array(self.buckets), distance + reach, axis=0)
        return jnp.take(self.positions[...], buckets, axis=0).transpose(2, 0, 1)[None]

    def __call__(self, hidden, bias, encoded=None, encoded_bias=None, seed=None):
        hidden = self.input_dropout(hidden, seed)
        for block in self.blocks:
            run = checkpointed(block) if self.checkpointing else block
            hidden = run(hidden, bias, encoded, encoded_bias, seed)
        return self.output_dropout(self.norm(hidden), seed)


class T5(nnx.Module):
    """Logits of the next token; `input_ids` and the like are int32 (batch, length)."""

    def __init__(
        self,
        config: Any,
        weights: Mapping[str, np.ndarray],
        dtype: str = "float32",
        compute_dtype: str | None = None,
        gradient_checkpointing: bool = False,
    ):
        weights = t5_weights(config, weights)
        parts = Parts(config, weights, dtype, compute_dtype or dtype)
        depths = config.num_layers, config.num_decoder_layers
        self.shared = parts.parameter(self, EMBEDDING)
        self.encoder = Stack(parts, "encoder", depths[0], gradient_checkpointing)
        self.decoder = Stack(parts, "decoder", depths[1], gradient_checkpointing)
        self.head = parts.parameter(self, HEAD) if HEAD in weights else None
        scaled = getattr(config, "scale_decoder_outputs", False)
        self.scale = config.d_model**-0.5 if scaled else 1.0
        self.computes_in = parts.compute_dtype

    def masked(self, allowed):
        """0 where `allowed`, and the lowest number elsewhere."""
        lowest = jnp.finfo(self.shared.dtype).min
        return jnp.where(allowed, 0, lowest).astype(self.shared.dtype)

    def encode(self, input_ids, attention_mask, seed=None):
        """What the decoder attends to (batch, source, d_model), and its mask."""
        places = jnp.arange(input_ids.shape[1])
        mask = self.masked(attention_mask[:, None, None, :] > 0)
        bias = self.encoder.position_bias(places, places) + mask
        hidden = jnp.take(self.shared[...], input_ids, axis=0)
        return self.encoder(hidden, bias, seed=seed), mask

    def logits(self, hidden):
        """(batch, target, vocabulary)"""
        head = self.shared if self.head is None else self.head
        return product(
            hidden * self.scale, head[...], self.computes_in, transpose_b=True
        )

    def __call__(self, input_ids, attention_mask, decoder_input_ids, seed=None):
        encoded, mask = self.encode(input_ids, attention_mask, seed)
        places = jnp.arange(decoder_input_ids.shape[1])
        causal = self.masked(places[None, :] <= places[:, None])
        bias = self.decoder.position_bias(places, places) + causal
        hidden = jnp.take(self.shared[...], decoder_input_ids, axis=0)
        return self.logits(self.decoder(hidden, bias, encoded, mask, seed))

    def memory(self, encoded):
        """Keys and values of the encoder's output, for each block of the decoder."""
        return [block.cross.keys_values(encoded) for block in self.decoder.blocks]

    def empty_cache(self, rows, length: int):
        """Room for the keys and values of `length` places in each decoder block."""
        own = self.decoder.blocks[0].own
        values = jnp.zeros((rows, own.heads, length, own.size), self.shared.dtype)
        return [(values.swapaxes(2, 3), values) for _ in self.decoder.blocks]

    def step(self, tokens, at, cache, memory, memory_mask):
        """Logits (batch * beams, vocabulary) after `tokens` (batch, beams) at `at`."""
        places = jnp.arange(cache[0][0].shape[3])
        bias = self.decoder.position_bias(jnp.array([at]), places)
        bias = bias + self.masked(places <= at)
        hidden = jnp.take(self.shared[...], tokens.reshape(-1, 1), axis=0)
        after, beams = [], tokens.shape[1]
        for block, old, own in zip(self.decoder.blocks, cache, memory, strict=True):
            hidden, new = block.step(hidden, beams, at, old, bias, own, memory_mask)
            after.append(new)
        return self.logits(self.decoder.norm(hidden))[:, 0], after
