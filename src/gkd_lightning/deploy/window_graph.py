"""A segmenter on one window as a single graph: raw pixels in, class ids, scores and confidence out."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from gkd_lightning.encoders import fixed_to
from gkd_lightning.evaluate import confidence
from gkd_lightning.segment import Segmenter, unfrozen

Layout = Literal["nhwc", "nchw"]
"""Order of the axes of the graph's images: (batch, height, width, 3) or (batch, 3, height, width)."""
Output = Literal["ids", "scores", "confidence"]
INPUT, OUTPUTS = "images", get_args(Output)


class WindowGraph(nn.Module):
    """Everything between an image of one size and its class ids: normalisation, network, enlargement, arg max.

    Args:
        segmenter: a finished one; its encoder is copied.
        size: (height, width) of the images; what does not fit the encoder is enlarged inside, as the judge does.
        layout: of the images.
        outputs: what the graph gives, in the order of `OUTPUTS`.
        temperature: of the confidence, see `evaluate.confidence`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        size: tuple[int, int],
        layout: Layout = "nhwc",
        outputs: tuple[Output, ...] = ("ids", "scores"),
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.size, self.layout, self.outputs, self.temperature = size, layout, outputs, temperature
        encoder = fixed_to(unfrozen(segmenter.encoder), segmenter.fitting_size(size))
        self.segmenter = Segmenter(encoder, segmenter.head, segmenter.blocks, scales=segmenter.scales)
        self.eval().requires_grad_(False)

    @property
    def input_shape(self) -> list[Any]:
        """Of the images; the first axis is open."""
        return ["batch", *self.size, 3] if self.layout == "nhwc" else ["batch", 3, *self.size]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """RGB uint8 images (B, H, W, 3) or (B, 3, H, W), by `layout`, to what `outputs` names.

        Returns:
            Class ids uint8 (B, H, W); class scores float32 (B, K, H, W); confidence float32 (B, H, W), the share of a
            pixel's scores that its class has, at the temperature.
        """
        pixels = images.float() / 255  # before anything else: some compilers take bytes for inputs alone
        scores = self.segmenter.window_scores(pixels.permute(0, 3, 1, 2) if self.layout == "nhwc" else pixels)
        found = {"scores": scores, "ids": scores.argmax(1).to(torch.uint8)}
        if "confidence" in self.outputs:
            found["confidence"] = confidence(scores, self.temperature)
        return tuple(found[name] for name in self.outputs)

    def exported(self) -> Any:
        """As `torch.export` sees it; the number of images stays open.

        No grid_sample and no operator of anybody's own: sampling is gathers and sums.
        """
        example = torch.zeros(2, *self.input_shape[1:], dtype=torch.uint8)
        with torch.inference_mode(False), torch.no_grad():
            self(example)  # positions that depend on the size alone are kept from this pass, as constants
            batch = {"images": {0: torch.export.Dim("batch")}}
            return torch.export.export(self, (example,), dynamic_shapes=batch, strict=False)
