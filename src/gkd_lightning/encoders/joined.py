"""Further tokens that go through a transformer's last blocks with those of the image, attending and attended to."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch import Tensor

from gkd_lightning.encoders.types import Joining


def joined_pass(
    model: Any, images: Tensor, blocks: Container[int], grid: tuple[int, int], joining: Joining
) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
    """What timm's `forward_intermediates` does, with further tokens in the last blocks.

    Args:
        model: a `VisionTransformer` of timm.
        images: (B, 3, H, W), normalised.
        blocks: whose outputs are wanted.
        grid: rows and columns of the patches.
        joining: the tokens, and in how many blocks.

    Returns:
        The image's tokens (B, P + N, D) after the final norm; the maps (B, D, h, w) of `blocks`; the further tokens
        (B, Q, D) after each block that they went through.
    """
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    count, first = tokens.shape[1], len(model.blocks) - joining.blocks
    maps, states = [], []
    for index, block in enumerate(model.blocks):
        if index == first:
            queries = joining.queries.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([tokens, queries], dim=1)
        tokens = block(tokens)
        if index in blocks:
            patches = tokens[:, model.num_prefix_tokens : count]
            maps.append(patches.mT.unflatten(2, grid).contiguous())
        if index >= first:
            states.append(tokens[:, count:])
    return model.norm(tokens[:, :count]), maps, tuple(states)
