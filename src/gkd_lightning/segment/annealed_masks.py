"""Queries that see only their masks early in a training, and all of the image at its end (EoMT, arXiv 2503.19108)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gkd_lightning.segment.mask2former import HeadOutput
from gkd_lightning.segment.pyramid import resized

_STREAM = 0x616E6E65616C6564
"""Keeps these draws apart from others that start from the same sample key."""


def mask_probability(progress: float, block: int, blocks: int) -> float:
    """How often a query is held to its mask in a block of `blocks`: 1, then falling to 0, the first block first.

    The training's `blocks` + 2 equal parts: all masks in the first, one block's go in each that follows, none in the
    last. They fall as ``(1 - share of the part) ** 0.9``. Source: the authors' configurations, whose steps are sixths
    of the training for 4 blocks, and their schedule's power.

    Args:
        progress: share of the training's steps that are done.
        block: counted from 0.
        blocks: how many the queries go through.
    """
    share = progress * (blocks + 2) - (block + 1)
    return 1.0 if share <= 0 else max(1.0 - share, 0.0) ** 0.9


class Prediction(NamedTuple):
    """What the queries say at one place of the encoder."""

    classes: Tensor
    """(B, Q, K + 1) logits."""
    embeddings: Tensor
    """(B, Q, C)."""
    pixels: Tensor
    """(B, C, h, w) of the map at this place."""


@torch.no_grad()
def seen_patches(prediction: Prediction, grid: tuple[int, int], keys: Tensor, chance: float) -> Tensor | None:
    """Which of the N patches a query may attend to, (B, Q, N) bool; None for all.

    Those of its mask, with a probability of `chance`, else all. A query whose mask is empty sees no patch.

    Args:
        prediction: whose masks count; (B, C, h, w) pixels are brought to the grid first, masks being linear in them.
        grid: rows and columns of the patches.
        keys: (B,) int64 on the host, of the samples: the draws are theirs.
        chance: see `mask_probability`.
    """
    if chance <= 0:
        return None
    seen: Tensor = (prediction.embeddings @ resized(prediction.pixels, grid).flatten(2)) > 0
    if chance >= 1:
        return seen
    device, queries = seen.device, seen.shape[1]
    generators = (torch.Generator(device).manual_seed(key ^ _STREAM) for key in keys.tolist())
    drawn = torch.stack([torch.rand(queries, generator=each, device=device) for each in generators])
    return seen | (drawn >= chance)[..., None]


class OwnMaps(HeadOutput):
    """Predictions at L places, each with the map of its own: `pixels` are (L, B, C, h, w)."""

    __slots__ = ()

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> OwnMaps:
        """In their order."""
        return cls(*(torch.stack(parts) for parts in zip(*predictions, strict=True)))

    def masks(self, layer: int) -> Tensor:
        """See `HeadOutput.masks`."""
        return self.masks_of(slice(layer, layer + 1 or None))[:, 0]

    def masks_of(self, layers: slice) -> Tensor:
        """See `HeadOutput.masks_of`."""
        pixels = self.pixels[layers]
        masks: Tensor = (self.embeddings[layers] @ pixels.flatten(3)).unflatten(3, pixels.shape[3:])
        return masks.transpose(0, 1)

    def chosen_masks(self, image: Tensor, queries: Tensor, counts: Sequence[int]) -> Tensor:
        """See `HeadOutput.chosen_masks`."""
        layer = torch.arange(len(self.embeddings), device=queries.device)
        chosen = self.embeddings[layer, image[:, None], queries].split(list(counts))  # each (n, L, C)
        pixels = self.pixels.flatten(3).unbind(1)
        found = [(own.transpose(0, 1) @ maps).transpose(0, 1) for own, maps in zip(chosen, pixels, strict=True)]
        masks: Tensor = torch.cat(found).unflatten(2, self.pixels.shape[3:])
        return masks
