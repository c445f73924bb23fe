from __future__ import annotations

import torch
from torch import Tensor, nn

from gkd_lightning.segment import is_exporting


class Told(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + (1 if is_exporting() else 2)


def test_only_what_is_exported_is_told_so() -> None:
    images = torch.zeros(1)
    assert Told()(images).item() == 2
    assert torch.compile(Told(), backend="eager", fullgraph=True)(images).item() == 2
    assert torch.export.export(Told(), (images,), strict=False).module()(images).item() == 1
