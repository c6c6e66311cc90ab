"""T5 in Keras: 1.0, 1.1, Flan and mT5, with weights under Hugging Face names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reference_trainers.models.t5 import EMBEDDING, HEAD, distance_buckets, t5_weights
from reference_trainers.tensorflow.layers import (
    Dropout,
    Layer,
    Linear,
    Norm,
    Parts,
    checkpointed,
    copies,
    gelu_new,
    product,
    put,
)


class Attention(Layer):
    """Heads over keys and values: its own (`SelfAttention`) or the encoder's."""

    def __init__(self, parts: Parts, layer: str, attention: str):
        super().__init__(parts)
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
        shape = tf.shape(x)
        apart = tf.reshape(x, (shape[0], shape[1], self.heads, self.size))
        return tf.transpose(apart, (0, 2, 1, 3))

    def keys_values(self, states):
        """Keys and values of `states` (batch, length, d_model)."""
        return self.split(self.k(states)), self.split(self.v(states))

    def call(self, normed, keys, values, bias, seed=None):
        """`normed` (batch, queries, d_model) looks at `keys`; `bias` masks them."""
        scores = product(
            self.split(self.q(normed)), keys, self.computes_in, transpose_b=True
        )
        weights = self.weights_dropout(tf.nn.softmax(scores + bias), seed)
        found = tf.transpose(product(weights, values, self.computes_in), (0, 2, 1, 3))
        shape = tf.shape(found)
        found = tf.reshape(found, (shape[0], shape[1], self.heads * self.size))
        return self.dropout(self.o(found), seed)


class FeedForward(Layer):
    """ReLU (T5 1.0) or gated GELU (T5 1.1) between two products."""

    def __init__(self, parts: Parts, layer: str):
        super().__init__(parts)
        self.norm = Norm(parts, f"{layer}.layer_norm.weight")
        gated = parts.config.is_gated_act
        names = ("wi_0", "wi_1") if gated else ("wi",)
        named = [f"{layer}.DenseReluDense.{name}.weight" for name in names]
        self.wi = [Linear(parts, name) for name in named]
        out = f"{layer}.DenseReluDense.wo.weight"
        self.wo = Linear(parts, out, parts.wide_dtype)
        self.inner_dropout = Dropout(parts)
        self.dropout = Dropout(parts)
        self.activation = activation(parts.config.dense_act_fn)

    def call(self, hidden, seed=None):
        normed = self.norm(hidden)
        inner = self.activation(self.wi[0](normed))
        for gate in self.wi[1:]:
            inner = inner * gate(normed)
        return self.dropout(self.wo(self.inner_dropout(inner, seed)), seed)


def activation(name: str):
    """relu, or gelu_new: GELU by the formula with tanh."""
    return {"relu": tf.nn.relu, "gelu_new": gelu_new}[name]


class Block(Layer):
    """Self-attention, attention to the encoder (in a decoder), feed-forward."""

    def __init__(self, parts: Parts, name: str, decoder: bool):
        super().__init__(parts)
        self.own = Attention(parts, f"{name}.layer.0", "SelfAttention")
        self.cross: Any = None
        if decoder:
            self.cross = Attention(parts, f"{name}.layer.1", "EncDecAttention")
        self.feed = FeedForward(parts, f"{name}.layer.{2 if decoder else 1}")

    def call(self, hidden, bias, encoded=None, encoded_bias=None, seed=None):
        hidden, inner = copies(hidden, 2)
        normed, states = copies(self.own.norm(inner), 2)
        keys, values = self.own.keys_values(states)
        hidden = hidden + self.own(normed, keys, values, bias, seed)
        if self.cross is not None:
            hidden, inner = copies(hidden, 2)
            normed = self.cross.norm(inner)
            keys, values = self.cross.keys_values(encoded)
            hidden = hidden + self.cross(normed, keys, values, encoded_bias, seed)
        hidden, inner = copies(hidden, 2)
        return hidden + self.feed(inner, seed)

    def step(self, hidden, beams, at, cache, bias, memory, memory_bias):
        """One token of each beam at place `at`: hidden (batch * beams, 1, d_model)."""
        normed = self.own.norm(hidden)
        new = self.own.keys_values(normed)
        keys, values = cache = [put(*pair, at) for pair in zip(cache, new, strict=True)]
        hidden = hidden + self.own(normed, keys, values, bias)
        # The beams of a row share its memory: they are the queries of one attention.
        group = tf.reshape(hidden, (-1, beams, hidden.shape[-1]))
        keys, values = memory
        cross = self.cross(self.cross.norm(group), keys, values, memory_bias)
        hidden = tf.reshape(group + cross, (-1, 1, hidden.shape[-1]))
        return hidden + self.feed(hidden), tuple(cache)


class Stack(Layer):
    """The encoder or the decoder; its first block's position bias serves all."""

    def __init__(self, parts: Parts, name: str, depth: int, checkpointing: bool):
        super().__init__(parts)
        decoder = name == "decoder"
        first = f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        self.positions = parts.parameter(self, first)
        self.buckets = tuple(distance_buckets(parts.config, not decoder).tolist())
        names = [f"{name}.block.{index}" for index in range(depth)]
        self.blocks = [Block(parts, block, decoder) for block in names]
        self.norm = Norm(parts, f"{name}.final_layer_norm.weight")
        self.input_dropout, self.output_dropout = Dropout(parts), Dropout(parts)
        self.checkpointing = checkpointing

    def position_bias(self, queries, keys):
        """(1, heads, queries, keys) for places `queries` and `keys`, int32."""
        reach = len(self.buckets) // 2
        distance = tf.clip_by_value(keys[None, :] - queries[:, None], -reach, reach)
        buckets = tf.gather(tf.constant(self.buckets), distance + reach)
        return tf.transpose(tf.gather(self.positions, buckets), (2, 0, 1))[None]

    def call(self, hidden, bias, encoded=None, encoded_bias=None, seed=None):
        hidden, depth = self.input_dropout(hidden, seed), len(self.blocks)
        biases = copies(bias, depth)
        memories = [None] * depth if encoded is None else copies(encoded, depth)
        for block, bias, memory in zip(self.blocks, biases, memories, strict=True):
            run = checkpointed(block) if self.checkpointing else block
            hidden = run(hidden, bias, memory, encoded_bias, seed)
        return self.output_dropout(self.norm(hidden), seed)


class T5(keras.Model):
    """Logits of the next token; `input_ids` and the like are int32 (batch, length)."""

    def __init__(
        self,
        config: Any,
        weights: Mapping[str, np.ndarray],
        dtype: str = "float32",
        compute_dtype: str | None = None,
        gradient_checkpointing: bool = False,
    ):
        super().__init__(dtype=dtype)
        self.built = True
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
        lowest = tf.as_dtype(self.shared.dtype).min
        return tf.where(allowed, tf.zeros((), self.shared.dtype), lowest)

    def encode(self, input_ids, attention_mask, seed=None):
        """What the decoder attends to (batch, source, d_model), and its mask."""
        places = tf.range(tf.shape(input_ids)[1])
        mask = self.masked(attention_mask[:, None, None, :] > 0)
        bias = self.encoder.position_bias(places, places) + mask
        hidden = tf.gather(self.shared, input_ids)
        return self.encoder(hidden, bias, seed=seed), mask

    def logits(self, hidden, shared):
        """(batch, target, vocabulary); `shared`, the embedding, may be the head too."""
        head = shared if self.head is None else self.head
        hidden = hidden * self.scale
        return product(hidden, head, self.computes_in, transpose_b=True)

    def call(self, input_ids, attention_mask, decoder_input_ids, seed=None):
        encoded, mask = self.encode(input_ids, attention_mask, seed)
        places = tf.range(tf.shape(decoder_input_ids)[1])
        causal = self.masked(places[None, :] <= places[:, None])
        bias = self.decoder.position_bias(places, places) + causal
        shared = tf.identity(self.shared)  # as in `copies`
        hidden = tf.gather(shared, decoder_input_ids)
        hidden = self.decoder(hidden, bias, encoded, mask, seed)
        return self.logits(hidden, shared)

    def memory(self, encoded):
        """Keys and values of the encoder's output, for each block of the decoder."""
        return [block.cross.keys_values(encoded) for block in self.decoder.blocks]

    def empty_cache(self, rows, length: int):
        """Room for the keys and values of `length` places in each decoder block."""
        own = self.decoder.blocks[0].own
        room = tf.zeros((rows, own.heads, length, own.size), self.shared.dtype)
        return [(room, room) for _ in self.decoder.blocks]

    def step(self, tokens, at, cache, memory, memory_mask):
        """Logits (batch * beams, vocabulary) after `tokens` (batch, beams) at `at`."""
        places = tf.range(cache[0][0].shape[2])
        bias = self.decoder.position_bias(at[None], places)
        bias = bias + self.masked(places <= at)
        hidden = tf.gather(self.shared, tf.reshape(tokens, (-1, 1)))
        after, beams = [], tokens.shape[1]
        for block, old, own in zip(self.decoder.blocks, cache, memory, strict=True):
            hidden, new = block.step(hidden, beams, at, old, bias, own, memory_mask)
            after.append(new)
        return self.logits(self.decoder.norm(hidden), self.shared)[:, 0], after
