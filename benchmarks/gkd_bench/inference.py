"""Evaluation by sliding window: window by window, the windows of one image together, those of several images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gkd_bench.contender import Comparison, Contender
from gkd_bench.task import batch_of, task_module, vit_small
from gkd_bench.undone import UNDONE
from gkd_lightning.segment import Mask2FormerConfig
from gkd_lightning.segment import segmenter as segmenter_module

LABEL_SIZE = (1052, 1914)
"""Predictions are brought to GTAV's size (height, width) before the arg max."""


def comparisons(device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """`evaluation`: images of 1024x2048 with windows of 512 on a GPU; a quarter of the pixels of both on a CPU."""
    gpu = device == "cuda"
    size = {"height": 1024, "width": 2048, "window": 512, "stride": 341}
    size = size if gpu else {key: value // 2 + value % 2 for key, value in size.items()}
    several = 4 if gpu else 2

    def row(name: str, images: int, one_by_one: bool, precision: str, undone: Sequence[str] = ()) -> Contender:
        options = {
            **size, "images": images, "one_by_one": one_by_one, "precision": precision, "undone": list(undone),
        }  # fmt: skip
        return Contender(f"{name}, {precision}", "gkd_bench.inference:sliding", options, None if gpu else 1)

    rows = []
    for precision in ("fp32", "bf16"):
        parts = ("transformers' pixel decoder", "transformers' masked decoder")
        rows += [
            row("transformers' head, window by window", 1, True, precision, parts),
            row("window by window", 1, True, precision),
            row("windows of one image", 1, False, precision),
            row(f"windows of {several} images", several, False, precision),
        ]
    title = f"Evaluation of {size['height']}x{size['width']} images, windows of {size['window']} (ViT-S)"
    return [Comparison("evaluation", title, tuple(rows))]


class Sliding:
    """Predict a batch of images at the labels' size."""

    def __init__(self, segmenter: segmenter_module.Segmenter, images: Tensor, bf16: bool) -> None:
        self.segmenter, self.images, self.bf16 = segmenter, images, bf16

    @torch.inference_mode()
    def step(self) -> int:
        """Scores of all windows, their mean, resize, arg max; returns the number of images."""
        with torch.autocast(self.images.device.type, torch.bfloat16, enabled=self.bf16):
            self.segmenter.predict(self.images, LABEL_SIZE)
        return len(self.images)


def sliding(
    device: str, height: int, width: int, window: int, stride: int, images: int, one_by_one: bool, precision: str,
    undone: Sequence[str] = (), head: dict[str, Any] | None = None,
) -> Sliding:  # fmt: skip
    """The real segmenter; `one_by_one` gives it a window at a time, `head` changes the official one."""
    module = task_module(vit_small(window), Mask2FormerConfig(**(head or {})))
    for lever in undone:
        UNDONE[lever](module)
    segmenter = module.segmenter.eval().to(device)
    segmenter.window, segmenter.stride = window, stride
    if one_by_one:
        segmenter_module.SCORE_VALUES_AT_ONCE = 1  # in a process of its own, which ends with the measurement
    pixels = batch_of(images, max(height, width), device)["image"][..., :height, :width]
    return Sliding(segmenter, pixels.contiguous(), precision == "bf16")
