"""Pre-training of an encoder without labels, by two looks that have to agree: another second teacher."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn

from gkd_lightning.baselines.pretraining import Pretraining, patch_encoder
from gkd_lightning.baselines.two_looks import another_light, two_pieces
from gkd_lightning.encoders import EncoderSpec, Tokens, TransformerEncoder
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import Count, Natural, Positive, Weight


class AgreementPretraining(Pretraining):
    """Tokens of the same place in two pieces of an image, each under a light of its own, learn to be equal.

    They are kept from all being the same by VICReg's two other terms (arXiv 2105.04906), here over the tokens of a
    batch as in VICRegL (arXiv 2210.01571): every channel has a deviation of at least 1, and no two correlate. Nothing
    is pushed away from anything, so patches of one kind may be alike. Statistics are those of one process's batch.

    Images have to be larger than the encoder's: pieces of its size are cut from them, whole patches apart. A class
    token would learn nothing; give the encoder none (`options: {class_token: false, global_pool: avg}`).

    Args:
        encoder: the plain transformer that learns.
        width: of the two hidden layers and the output of the small network that tokens are compared behind.
        invariance: weight of the squared difference.
        variance: weight of the deviations' shortfall.
        covariance: weight of the squared covariances.
        lr: learning rate at the start of the cosine.
        min_lr: where the cosine ends.
        weight_decay: AdamW's decay.
        warmup_steps: linear ramp at the start.

    Raises:
        UserError: the encoder is no plain transformer, or has a class token.
    """

    encoder: TransformerEncoder
    stage = "agreement_pretraining"

    def __init__(
        self,
        encoder: EncoderSpec,
        width: Count = 512,
        invariance: Weight = 25.0,
        variance: Weight = 25.0,
        covariance: Weight = 1.0,
        lr: Positive = 1e-3,
        min_lr: Weight = 1e-5,
        weight_decay: Weight = 0.05,
        warmup_steps: Natural = 200,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["encoder"])
        self.save_hyperparameters({"encoder": asdict(encoder)})
        self.encoder = patch_encoder(encoder, "compare")
        self.expander = nn.Sequential(
            nn.Linear(self.encoder.embed_dim, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, images: Tensor) -> Tokens:
        """The encoder's tokens of (B, 3, H, W) images."""
        return self.encoder.tokens(images)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The weighted sum of the three terms."""
        loss, terms = self._agreement(batch["image"], batch["key"])
        self.log_step({"train/loss": loss, **{f"train/{name}": term for name, term in terms.items()}})
        return loss

    def dry_step(self, images: Tensor) -> Tensor:
        """The loss of (B, 3, H, W) images without content: to count what a step takes."""
        first, second, shared = two_pieces(images, self.encoder.image_size[0], self.encoder.patch_size, 0)
        return self._loss(first.float(), second.float(), shared)[0]

    def _agreement(self, images: Tensor, keys: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        keys = keys.cpu()
        first, second, shared = two_pieces(images, self.encoder.image_size[0], self.encoder.patch_size, int(keys[0]))
        return self._loss(another_light(first, keys, 0), another_light(second, keys, 1), shared)

    def _loss(
        self, first: Tensor, second: Tensor, shared: list[tuple[slice, slice]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = self.encoder.tokens(torch.cat([first, second])).patches
        rows, columns = self.encoder.grid((first.shape[-2], first.shape[-1]))
        maps = tokens.unflatten(1, (rows, columns)).chunk(2)
        with full_precision(tokens.device.type):
            one, other = (
                self.expander(each[:, place[0], place[1]].flatten(0, 2).float())
                for each, place in zip(maps, shared, strict=True)
            )
            terms = {
                "invariance": (one - other).square().mean(),
                "variance": (shortfall(one) + shortfall(other)) / 2,
                "covariance": (covariance(one) + covariance(other)) / 2,
            }
        loss: Tensor = sum((self.hparams[name] * term for name, term in terms.items()), torch.zeros_like(one[0, 0]))
        return loss, terms


def shortfall(tokens: Tensor) -> Tensor:
    """How much the deviations of (n, C) tokens fall short of 1, mean over channels."""
    deviations = (tokens.var(0) + 1e-4).sqrt()
    return (1 - deviations).clamp(min=0).mean()


def covariance(tokens: Tensor) -> Tensor:
    """Squared covariances between different channels of (n, C) tokens, their sum over C."""
    centred = tokens - tokens.mean(0)
    matrix = centred.T @ centred / (len(tokens) - 1)
    off = matrix.square().sum() - matrix.diagonal().square().sum()
    return off / tokens.shape[1]
