"""transformers' masked-attention decoder with the same parameters and numbers, and less work.

What its own forward pass does besides: the masks of all queries are predicted at full size and differentiated after
every layer, shrunk, squashed and copied once per head; the attention weights of every head are kept and averaged for
nobody.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerAttention,
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerTransformerModule,
)

from gkd_lightning.segment.levels import Levels
from gkd_lightning.segment.pyramid import resized


class Decoded(NamedTuple):
    """Queries after each of L layers, the learned ones first."""

    states: Tensor
    """(L, B, Q, D), normalised: what classes are predicted from."""
    embeddings: Tensor
    """(L, B, Q, C): their products with the pixels' features are the mask logits."""


class _View(NamedTuple):
    """What queries look at in a turn: the N pixels of one level."""

    key: Tensor
    """(B, N, D)."""
    value: Tensor
    """(B, N, D)."""
    features: Tensor
    """(B, C, N), without a gradient: their products with the queries' embeddings say which pixels are seen."""


def _turn(
    layer: Mask2FormerMaskedAttentionDecoderLayer,
    norm: nn.Module,
    predictor: nn.Module,
    queries: Tensor,
    position: Tensor,
    embedding: Tensor,
    view: _View,
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, Q, D) queries through one layer: what they are then, normalised, and what they look for next (B, Q, C)."""
    queries = _layer(layer, queries, position, view.key, view.value, _seen(embedding, view.features))
    state = norm(queries)
    return queries, state, predictor(state)


@torch.no_grad()
def _seen(embeddings: Tensor, pixels: Tensor) -> Tensor:
    """Which pixels a query may look at: those of its mask, or all if it has none; (B, 1, Q, N) bool for all heads."""
    hidden = (embeddings @ pixels) < 0
    return (~hidden | hidden.all(dim=-1, keepdim=True))[:, None]


def _layer(
    layer: Mask2FormerMaskedAttentionDecoderLayer,
    hidden: Tensor,
    position: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
) -> Tensor:
    """(B, Q, D) queries through one layer; (B, N, D) keys and values."""
    hidden = layer.cross_attn_layer_norm(hidden + _look(layer.cross_attn, hidden + position, key, value, seen))
    hidden = layer.self_attn_layer_norm(hidden + _exchange(layer.self_attn, hidden + position, hidden))
    further = layer.fc2(layer.activation_fn(layer.fc1(hidden)))
    normalized: Tensor = layer.final_layer_norm(hidden + further)
    return normalized


def _look(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    packed = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    query, key, value = (F.linear(each, *own) for each, own in zip((query, key, value), packed, strict=True))
    attended: Tensor = attention.out_proj(_attend(query, key, value, attention.num_heads, seen))
    return attended


def _exchange(attention: Mask2FormerAttention, positioned: Tensor, hidden: Tensor) -> Tensor:
    query, key = attention.q_proj(positioned), attention.k_proj(positioned)
    attended: Tensor = attention.out_proj(_attend(query, key, attention.v_proj(hidden), attention.num_heads))
    return attended


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, seen: Tensor | None = None) -> Tensor:
    query, key, value = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # Measured: the fused kernel's backward pass takes two to four times as long there.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
        if seen is not None:
            scores = scores + torch.zeros_like(seen, dtype=scores.dtype).masked_fill_(~seen, -torch.inf)
        attended = scores.softmax(-1).to(value.dtype) @ value
    else:
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    together: Tensor = attended.transpose(1, 2).flatten(2)
    return together


class MaskedTransformer(Mask2FormerTransformerModule):
    """Queries look at the pixels of one level after the other, each inside the mask that it has predicted last.

    The pixels come in the width of the queries: its parent's input projections are empty then.
    """

    _turn = staticmethod(_turn)

    def compile_layers(self) -> None:
        """Let `torch.compile` fuse what a layer does between its products; all layers share the compilation."""
        self._turn = torch.compile(_turn)

    def forward(self, hidden: Tensor, pixels: Tensor, levels: Levels, position: Tensor | None = None) -> Decoded:
        """Decode.

        Args:
            hidden: (B, N, D), what the pixel decoder made of the three coarser levels' pixels.
            pixels: (B, C, h, w) features of the finest map.
            levels: sizes of the coarser ones.
            position: (Q, D), in the place of the queries' learned positions.
        """
        views = []
        parts = zip(hidden.split(levels.sizes, 1), levels.positions.split(levels.sizes, 1), strict=True)
        for index, (part, place) in enumerate(parts):
            value = part + self.level_embed.weight[index]
            # A mask is linear in the pixels' features: shrinking these once shrinks the masks of every layer.
            small = resized(pixels.detach(), levels.shapes[index])
            views.append(_View(value + place, value, small.flatten(2)))
        norm, predictor = self.decoder.layernorm, self.decoder.mask_predictor.mask_embedder
        position = self.queries_embedder.weight if position is None else position
        queries = self.queries_features.weight.repeat(pixels.shape[0], 1, 1)
        states = [norm(queries)]
        embeddings = [predictor(states[0])]
        for index, layer in enumerate(self.decoder.layers):
            view = views[index % len(views)]
            queries, state, embedding = self._turn(layer, norm, predictor, queries, position, embeddings[-1], view)
            states.append(state)
            embeddings.append(embedding)
        return Decoded(torch.stack(states), torch.stack(embeddings))
