"""Encoders that timm does not have, as a user would write them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gkd_lightning.encoders import Encoder, EncoderSpec, Tokens


class Patches(Encoder):
    """One convolution."""

    def __init__(self, spec: EncoderSpec, width: int = 12) -> None:
        super().__init__(spec, nn.Conv2d(3, width, 8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
        self.embed_dim, self.patch_size, self.depth = width, 8, 4
        self.image_size = spec.hw or (32, 32)

    def forward(
        self, images: torch.Tensor, blocks: Sequence[int] = (), mask: torch.Tensor | None = None
    ) -> tuple[Tokens, list[torch.Tensor]]:
        maps = self.model(self.normalize(images))
        patches = maps.flatten(2).mT
        return Tokens(patches.mean(1), patches, (maps.shape[-2], maps.shape[-1])), [maps * (b + 1) for b in blocks]


class ReadsItself(Patches):
    """Its weights are no file."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        nn.init.ones_(self.model.weight)
        self.loaded = f"from {spec.weights}"


class Outside(Patches):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.scale = nn.Parameter(torch.ones(1))


class Forgetful(Patches):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        del self.depth


class WithoutForward(Encoder):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec, nn.Conv2d(3, 4, 8, 8))
