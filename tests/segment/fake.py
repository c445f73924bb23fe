"""A tiny encoder, head and data module: two classes' worth of coloured blocks, three batches an epoch."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from gkd_lightning.data.keys import sample_key
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.types import LabelSpace
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.segment.mask2former import Mask2FormerConfig

SPEC = EncoderSpec(
    "vit_tiny_patch16_224", image_size=32, patch_size=8,
    options={"embed_dim": 24, "depth": 4, "num_heads": 2, "dynamic_img_size": True},
)  # fmt: skip
HEAD = Mask2FormerConfig(
    hidden_dim=32, encoder_layers=1, decoder_layers=2, heads=2, encoder_ffn=32, decoder_ffn=32, queries=6, points=40
)
SPACE = LabelSpace(("sky", "road", "car"), ((0, 0, 255), (90, 90, 90), (255, 0, 0)))


def sample(position: int) -> dict[str, Any]:
    """Blocks of the classes' colours with noise; some pixels ignored."""
    generator = torch.Generator().manual_seed(position)
    label = torch.randint(0, 3, (4, 4), generator=generator).repeat_interleave(8, 0).repeat_interleave(8, 1)
    colour = torch.tensor(SPACE.palette)[label].permute(2, 0, 1)
    noise = torch.randint(0, 40, colour.shape, generator=generator)
    label[0, :6] = 255
    key = sample_key(0, 0, position)
    return {"image": (colour * 0.8 + noise).to(torch.uint8), "label": label.to(torch.uint8), "key": key}


def named(batch: list[dict[str, Any]], domain: str) -> dict[str, Any]:
    return {
        "image": torch.stack([item["image"] for item in batch]),
        "label": torch.stack([item["label"] for item in batch]),
        "name": [str(item["key"]) for item in batch],
        "domain": domain,
    }


class FakeData(L.LightningDataModule):
    """Global batches of 4; rank r gets every world-th sample of each."""

    label_space = SPACE
    domain_names = ("town", "fog")
    seen = ("town",)
    protocol = Protocol()
    batch_size = 4

    def train_dataloader(self) -> DataLoader:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        positions = [p for first in range(0, 12, 4) for p in range(first + rank, first + 4, world)]
        return DataLoader([sample(p) for p in positions], batch_size=self.batch_size // world)

    def val_dataloader(self) -> list[DataLoader]:
        return [
            DataLoader(
                [sample(100 * (i + 1) + p) for p in range(2)],
                batch_size=1,
                collate_fn=lambda batch, name=name: named(batch, name),
            )
            for i, name in enumerate(self.domain_names)
        ]

    test_dataloader = val_dataloader
