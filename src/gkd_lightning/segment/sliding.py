"""Sliding-window inference: the mean of the windows' scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gkd_lightning.windows import plan_windows


@torch.no_grad()
def sliding_scores(images: Tensor, score: Callable[[Tensor], Tensor], window: int, stride: int, batch: int) -> Tensor:
    """Mean score (B, K, H, W) of every pixel of (B, C, H, W) images over the windows that hold it.

    `score` gives (n, K, h, w) for (n, C, h, w) crops, at most `batch` at once; `window` and `stride` are in pixels.
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
    return total.div_(count)
