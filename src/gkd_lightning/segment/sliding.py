"""Sliding-window inference: the mean of the windows' scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gkd_lightning.windows import plan_windows


@torch.no_grad()
def sliding_scores(
    images: Tensor,
    score: Callable[[Tensor], Tensor],
    window: int,
    stride: int,
    batch: int,
) -> Tensor:
    """Mean score of every pixel over the windows that hold it.

    Args:
        images: (B, C, H, W).
        score: (n, C, h, w) crops to (n, K, h, w) scores.
        window: side of a window in pixels.
        stride: pixels from one window to the next.
        batch: crops given to `score` at once, at most.

    Returns:
        (B, K, H, W).
    """
    size = (images.shape[-2], images.shape[-1])
    windows = plan_windows(size, window, stride)
    places = [(image, place) for place in windows for image in range(len(images))]
    total: Tensor | None = None
    count = images.new_zeros(size, dtype=torch.float32)
    for place in windows:
        count[place.area] += 1
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        scores = score(torch.stack([images[image][:, *place.area] for image, place in chosen]))
        if total is None:
            total = scores.new_zeros(len(images), scores.shape[1], *size)
        for (image, place), part in zip(chosen, scores, strict=True):
            total[image][:, *place.area] += part
    assert total is not None
    return total / count
