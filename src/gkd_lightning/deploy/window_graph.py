"""A segmenter on one window as a single graph: raw pixels in, class ids and scores out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gkd_lightning.encoders import fixed_to
from gkd_lightning.segment import Segmenter, unfrozen

INPUT, OUTPUTS = "images", ("ids", "scores")


class WindowGraph(nn.Module):
    """Everything between an image of one size and its class ids: normalisation, network, enlargement, arg max.

    Args:
        segmenter: a finished one; its encoder is copied.
        size: (height, width) of the images; what does not fit the encoder is enlarged inside, as the judge does.
    """

    def __init__(self, segmenter: Segmenter, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        encoder = fixed_to(unfrozen(segmenter.encoder), segmenter.fitting_size(size))
        self.segmenter = Segmenter(encoder, segmenter.head, segmenter.blocks, scales=segmenter.scales)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB uint8 (B, H, W, 3) to class ids uint8 (B, H, W) and class scores float32 (B, K, H, W)."""
        scores = self.segmenter.window_scores(images.permute(0, 3, 1, 2))
        return scores.argmax(1).to(torch.uint8), scores

    def exported(self) -> Any:
        """As `torch.export` sees it; the number of images stays open.

        No grid_sample and no operator of anybody's own: sampling is gathers and sums.
        """
        example = torch.zeros(2, *self.size, 3, dtype=torch.uint8)
        with torch.inference_mode(False), torch.no_grad():
            self(example)  # positions that depend on the size alone are kept from this pass, as constants
            batch = {"images": {0: torch.export.Dim("batch")}}
            return torch.export.export(self, (example,), dynamic_shapes=batch, strict=False)
