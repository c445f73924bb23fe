"""Pre-training of an encoder without labels, by hidden patches: how a second small teacher can be made."""

from __future__ import annotations

from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gkd_lightning.baselines.pretraining import Pretraining, patch_encoder
from gkd_lightning.data import TrainingModule
from gkd_lightning.distill import BatchMasks, MasksBySide
from gkd_lightning.encoders import EncoderSpec, Tokens, TransformerEncoder
from gkd_lightning.ranges import InnerShare, Natural, Positive, Weight


class MaskedPretraining(Pretraining):
    """The tokens of hidden patches predict these patches' pixels by one matrix (SimMIM, arXiv 2111.09886).

    What is compared are pixels of mean 0 and variance 1 in every patch, as in MAE (arXiv 2111.06377), by their squared
    difference. A class token would learn nothing; give the encoder none (`options: {class_token: false, global_pool:
    avg}`), and its class token is the mean of the patches.

    Args:
        encoder: the plain transformer that learns.
        mask_ratio: share of patches that are hidden (SimMIM: 0.6), drawn from each sample's key.
        lr: learning rate at the start of the cosine.
        min_lr: where the cosine ends.
        weight_decay: AdamW's decay.
        warmup_steps: linear ramp at the start.

    Raises:
        UserError: the encoder has no tokens to hide, or a class token.
    """

    encoder: TransformerEncoder
    stage = "masked_pretraining"

    def __init__(
        self,
        encoder: EncoderSpec,
        mask_ratio: InnerShare = 0.6,
        lr: Positive = 1e-3,
        min_lr: Weight = 1e-5,
        weight_decay: Weight = 0.05,
        warmup_steps: Natural = 200,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["encoder"])
        self.save_hyperparameters({"encoder": asdict(encoder)})
        self.encoder = patch_encoder(encoder, "hide")
        self.pixels = nn.Linear(self.encoder.embed_dim, 3 * self.encoder.patch_size**2)

    def setup(self, stage: str) -> None:
        """Have the masks drawn where the images are loaded."""
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, TrainingModule):
            data.in_workers = MasksBySide({side: self.masks((side, side)) for side in data.sides})

    def masks(self, size: tuple[int, int]) -> BatchMasks:
        """How the masks of images of `size` (height, width) are drawn: of every image."""
        self.encoder.require(size)
        rows, columns = self.encoder.grid(size)
        return BatchMasks(rows * columns, self.hparams.mask_ratio, 1.0)

    def forward(self, images: Tensor) -> Tokens:
        """The encoder's tokens of (B, 3, H, W) images."""
        return self.encoder.tokens(images)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The mean over hidden pixels; a data module that is not ours leaves the masks to the step."""
        images = batch["image"]
        mask = batch.get("mask")
        if mask is None:
            mask = self.masks((images.shape[-2], images.shape[-1]))({"key": batch["key"]})["mask"].to(images.device)
        loss = self._hidden(images, mask)
        self.log_step({"train/loss": loss})
        return loss

    def dry_step(self, images: Tensor) -> Tensor:
        """The loss of (B, 3, H, W) images without content: to count what a step takes."""
        tokens = self.masks((images.shape[-2], images.shape[-1])).tokens
        return self._hidden(images, torch.ones(len(images), tokens, dtype=torch.bool, device=images.device))

    def _hidden(self, images: Tensor, mask: Tensor) -> Tensor:
        found = self.pixels(self.encoder.tokens(images, mask).patches).float()
        wanted = normalized_patches(self.encoder.normalize(images), self.encoder.patch_size)
        loss: Tensor = ((found - wanted).square().mean(-1) * mask).sum() / mask.sum()
        return loss


def normalized_patches(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) images as (B, N, 3 * side * side) patches, row by row, each with mean 0 and variance 1."""
    patches = F.pixel_unshuffle(images.float(), side).flatten(2).transpose(1, 2)
    return F.layer_norm(patches, patches.shape[-1:], eps=1e-6)
