"""Further tokens that go through a transformer's last blocks with those of the image, attending and attended to."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gkd_lightning.encoders.types import Joining


class JoinedPass(NamedTuple):
    """What an image's tokens and those that joined them have become."""

    tokens: Tensor
    """The image's (B, P + N, D) after the final norm, P of them before the patches."""
    maps: list[Tensor]
    """(B, D, h, w) of the blocks that were asked for, in ascending order."""
    joined: tuple[Tensor, ...]
    """The further tokens (B, Q, D) after each block that they went through."""
    told: tuple[Any, ...]
    """What `Joining.looking` told before each of these."""


def joined_pass(
    model: Any, images: Tensor, blocks: Container[int], grid: tuple[int, int], joining: Joining
) -> JoinedPass:
    """What timm's `forward_intermediates` does, with further tokens in the last blocks.

    Args:
        model: a `VisionTransformer` of timm.
        images: (B, 3, H, W), normalised.
        blocks: whose outputs are wanted.
        grid: rows and columns of the patches.
        joining: the tokens, and in how many blocks.
    """
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    count, first = tokens.shape[1], len(model.blocks) - joining.blocks
    own = slice(model.num_prefix_tokens, count)
    maps, states, told = [], [], []
    for index, block in enumerate(model.blocks):
        if index == first:
            queries = joining.queries.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([tokens, queries], dim=1)
        seen = None
        if joining.looking is not None and index >= first:
            seen, said = joining.looking(index - first, _map(tokens[:, own], grid), tokens[:, count:])
            told.append(said)
        tokens = block(tokens) if seen is None else block(tokens, attn_mask=_allowed(seen, tokens, own))
        if index in blocks:
            maps.append(_map(tokens[:, own], grid).contiguous())
        if index >= first:
            states.append(tokens[:, count:])
    return JoinedPass(model.norm(tokens[:, :count]), maps, tuple(states), tuple(told))


def _map(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    maps: Tensor = patches.mT.unflatten(2, grid)
    return maps


def _allowed(seen: Tensor, tokens: Tensor, patches: slice) -> Tensor:
    """(B, 1, T, T) for all heads: every token may attend to all but the last ones, the queries, to what they see."""
    batch, length, _ = tokens.shape
    allowed = torch.ones(batch, length, length, dtype=torch.bool, device=tokens.device)
    allowed[:, patches.stop :, patches] = seen
    return allowed[:, None]
