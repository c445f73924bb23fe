"""Our stage-2 step with one lever undone: what each of them is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.mask2former import modeling_mask2former as stock

from gkd_bench.stock_head import (
    StockAttention,
    StockPixelDecoder,
    StockTransformer,
    mask2former,
    stock_config,
    stock_labels,
)
from gkd_lightning.segment import TaskLearning
from gkd_lightning.segment import criterion as criterion_module
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.matcher import Matching, match
from gkd_lightning.segment.points import PointSource
from gkd_lightning.segment.targets import Targets


def _pixel_decoder(module: TaskLearning) -> None:
    head = mask2former(module.segmenter)
    head.set_submodule("pixel_decoder", StockPixelDecoder(head).eval())


def _attention(module: TaskLearning) -> None:
    for layer in mask2former(module.segmenter).pixel_decoder.encoder.layers:
        layer.self_attn = StockAttention(layer.self_attn)


def _decoder(module: TaskLearning) -> None:
    head = mask2former(module.segmenter)
    head.set_submodule("transformer", StockTransformer(head))


class _AllMasks(HeadOutput):
    """Every query's mask is computed with a gradient, then a few are taken."""

    def chosen_masks(self, image: Tensor, queries: Tensor, counts: Any) -> Tensor:
        rows = image[:, None] * self.classes.shape[2] + queries
        chosen = [self.masks(i).flatten(0, 1).index_select(0, rows[:, i]) for i in range(len(self.classes))]
        return torch.stack(chosen, dim=1)


def _all_masks(module: TaskLearning) -> None:
    module.segmenter.head.register_forward_hook(lambda head, inputs, output: _AllMasks(*output))


def _match_one_by_one(output: HeadOutput, targets: Targets, source: PointSource, config: Mask2FormerConfig) -> Matching:
    # The same result, but the host waits for every layer of every image, as the stock matcher does.
    for layer in output.classes:
        for image in layer:
            image.cpu()
    return match(output, targets, source, config)


def _copies(module: TaskLearning) -> None:
    vars(criterion_module)["match"] = _match_one_by_one  # in a process of its own, which ends with the measurement


class _Total(NamedTuple):
    total: Tensor

    def sums(self) -> dict[str, Tensor]:
        """Nothing is logged."""
        return {}


class StockCriterion(nn.Module):
    """transformers' matcher and losses on our head's output: layer by layer, image by image."""

    def __init__(self, config: Mask2FormerConfig, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weights = {
            "loss_cross_entropy": config.class_weight, "loss_mask": config.mask_weight, "loss_dice": config.dice_weight,
        }  # fmt: skip
        self.loss = stock.Mask2FormerLoss(stock_config(config, num_classes), self.weights)

    def forward(self, output: HeadOutput, label: Tensor, source: PointSource) -> _Total:
        """The loss alone."""
        layers = [
            {"masks_queries_logits": output.masks(i), "class_queries_logits": classes}
            for i, classes in enumerate(output.classes)
        ]
        found = self.loss(*layers.pop().values(), *stock_labels(label, self.num_classes), layers)
        return _Total(
            torch.stack([weight * v for k, weight in self.weights.items() for n, v in found.items() if k in n]).sum()
        )


def _criterion(module: TaskLearning) -> None:
    head = mask2former(module.segmenter)
    head.set_submodule("criterion", StockCriterion(head.config, head.num_classes))


UNDONE: dict[str, Callable[[TaskLearning], None]] = {
    "transformers' matcher and losses": _criterion,
    "transformers' pixel decoder": _pixel_decoder,
    "transformers' deformable attention": _attention,
    "transformers' masked decoder": _decoder,
    "gradients for the masks of all queries": _all_masks,
    "a copy per layer and image before matching": _copies,
}
"""By the name of the row: swaps a piece of a module."""
