"""Supervised pre-training of an encoder: how the small teacher that travels with the package was made.

Nothing of the GKD paper: its teachers are downloaded. Where nothing can be downloaded (MiniCity), a teacher has to
come from somewhere, and this is the whole of it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gkd_lightning.baselines.pretraining import Pretraining
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.ranges import Classes, Natural, Positive, Weight
from gkd_lightning.segment import DomainJudge, Predicted, best_classes


class DensePretraining(Pretraining, DomainJudge):
    """Every patch token predicts its patch's labels, pixel by pixel; the class token which classes occur.

    Args:
        encoder: the encoder that learns.
        num_classes: number of classes of the label space.
        lr: learning rate at the start of the cosine.
        min_lr: where the cosine ends.
        weight_decay: AdamW's decay.
        warmup_steps: linear ramp at the start.
        presence_weight: weight of the class token's multi-label loss.
    """

    stage = "dense_pretraining"

    def __init__(
        self,
        encoder: EncoderSpec,
        num_classes: Classes,
        lr: Positive = 1e-3,
        min_lr: Weight = 1e-5,
        weight_decay: Weight = 0.05,
        warmup_steps: Natural = 200,
        presence_weight: Weight = 0.1,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["encoder"])
        self.save_hyperparameters({"encoder": asdict(encoder)})
        self.encoder = build_encoder(encoder)
        self.encoder.requires_grad_(True)
        if hasattr(self.encoder, "mask_token"):
            self.encoder.mask_token.requires_grad_(False)
        self.pixels = nn.Linear(self.encoder.embed_dim, num_classes * self.encoder.patch_size**2)
        self.presence = nn.Linear(self.encoder.embed_dim, num_classes)
        self.num_classes = num_classes

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) images to (B, K, H, W) pixel logits and (B, K) presence logits."""
        tokens = self.encoder.tokens(images)
        rows, columns = tokens.grid
        logits = self.pixels(tokens.patches).transpose(1, 2).reshape(len(images), -1, rows, columns)
        return F.pixel_shuffle(logits, self.encoder.patch_size), self.presence(tokens.cls)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Cross-entropy over pixels plus the class token's multi-label loss."""
        label = batch["label"].long()
        logits, presence = self(batch["image"])
        pixels = F.cross_entropy(logits.float(), label, ignore_index=255)
        counts = F.one_hot(label.flatten(1).clamp_max(self.num_classes), self.num_classes + 1)[..., :-1].sum(1)
        occurs = F.binary_cross_entropy_with_logits(presence.float(), (counts > 0).float())
        self.log_step({"train/pixels": pixels, "train/presence": occurs})
        loss: torch.Tensor = pixels + self.hparams.presence_weight * occurs
        return loss

    def dry_step(self, images: torch.Tensor) -> torch.Tensor:
        """A scalar that depends on all logits of (B, 3, H, W) images without content: to count what a step takes."""
        pixels, presence = self.forward(images)
        return pixels.mean() + presence.mean()

    def predicted(self, batch: dict[str, Any]) -> Predicted:
        """See `DomainJudge.predicted`."""
        return Predicted(best_classes(self.forward(batch["image"])[0]))
