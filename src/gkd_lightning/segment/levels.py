"""Several maps as one sequence of pixels: where each pixel lies, and the sine positions of all of them."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

Shapes = tuple[tuple[int, int], ...]


class Levels(NamedTuple):
    """Maps of L sizes, coarsest first, their N pixels one after the other, row by row."""

    shapes: Shapes
    """(height, width) of each map."""
    centre: Tensor
    """(N, 2) float32, (x, y) of every pixel's centre in its map, which spans [-1, 1] x [-1, 1]."""
    pixel: Tensor
    """(L, 2) float32, width and height of a pixel in the same unit."""
    table: Tensor
    """(L, 3) int32: height, width and the first pixel's place in the sequence, for kernels."""
    positions: Tensor
    """(1, N, D), the sine position embedding of each map (Mask2Former's, normalised)."""

    @property
    def sizes(self) -> list[int]:
        """Pixels of each map."""
        return [height * width for height, width in self.shapes]


@lru_cache(maxsize=32)
def levels_of(shapes: Shapes, width: int, device: torch.device, dtype: torch.dtype) -> Levels:
    """What there is to know of maps of these sizes before their content; the same tensors at every call.

    The position embedding has `width` channels, D, of type `dtype`.
    """
    with torch.inference_mode(False):  # a validation's inference tensors could not be used in training
        embedding = Mask2FormerSinePositionEmbedding(width // 2, normalize=True)
        centres, positions = [], []
        for height, length in shapes:
            y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
            x = (torch.arange(length, device=device) + 0.5) * (2 / length) - 1
            centres.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1))
            sine = embedding(torch.Size((1, width, height, length)), device, torch.float32)
            positions.append(sine.flatten(2).transpose(1, 2))
        first = accumulate((height * length for height, length in shapes), initial=0)
        table = [[height, length, start] for (height, length), start in zip(shapes, first, strict=False)]
        return Levels(
            shapes,
            torch.cat(centres),
            torch.tensor([[2 / length, 2 / height] for height, length in shapes], device=device),
            torch.tensor(table, dtype=torch.int32, device=device),
            torch.cat(positions, dim=1).to(dtype),
        )
