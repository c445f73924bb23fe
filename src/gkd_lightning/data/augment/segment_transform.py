"""Stage 2 augmentation of one image and its label, by the key of the sample."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from gkd_lightning.data.augment.segment import SegmentAugmentation
from gkd_lightning.data.keys import keyed_generators
from gkd_lightning.data.segments import Segments
from gkd_lightning.data.types import Image, Label


class SegmentTransform:
    """Image (H, W, 3) and label (H, W), both uint8, and key -> tensors (3, size, size), (size, size) uint8.

    The label may hold the codes of segments, int32, instead; they come back as such.
    """

    def __init__(self, config: SegmentAugmentation, size: int) -> None:
        self.config = config
        # It imports albumentations, for which stage 1 has no use.
        from gkd_lightning.data.augment.segment_pipeline import segment_pipeline

        self._pipeline = segment_pipeline(config, size)

    def __call__(self, image: Image, label: Label | Segments, key: int) -> tuple[Tensor, Tensor]:
        """Augment; the global generators are as before afterwards."""
        # One shared stream: Compose.set_random_seed would start every transform at the same draw, and then the
        # flip would always come with the same sizes.
        self._pipeline.set_random_state(np.random.default_rng(key), random.Random(key))
        with keyed_generators(key):
            done = self._pipeline(image=image, mask=label)
        return torch.from_numpy(done["image"]).permute(2, 0, 1).contiguous(), torch.from_numpy(done["mask"])
