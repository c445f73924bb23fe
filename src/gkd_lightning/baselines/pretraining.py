"""What pre-trainings of an encoder have in common: all of it learns, by one optimiser, and it alone is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gkd_lightning.distill import cosine_factor, parameter_groups
from gkd_lightning.encoders import (
    Encoder,
    EncoderSpec,
    TransformerEncoder,
    adamw,
    build_encoder,
    export_encoder,
)
from gkd_lightning.errors import UserError
from gkd_lightning.step_logging import StepLogging


class Pretraining(StepLogging):
    """A module with an `encoder`, and the hyper-parameters `lr`, `min_lr`, `weight_decay` and `warmup_steps`."""

    encoder: Encoder
    stage: str
    """Name written into the artefact."""

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with a cosine per step."""
        groups = parameter_groups(self.named_parameters(), self.hparams.weight_decay)
        optimizer = adamw(groups, self.hparams.lr, self.trainer)
        steps = int(self.trainer.estimated_stepping_batches)
        factor = cosine_factor(steps, self.hparams.lr, self.hparams.min_lr, warmup=self.hparams.warmup_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def export(self, directory: str | Path, provenance: dict[str, Any]) -> Path:
        """Write the encoder in half precision; what it was trained with is thrown away."""
        return export_encoder(self.encoder, directory, stage=self.stage, provenance=provenance, dtype=torch.float16)


def patch_encoder(spec: EncoderSpec, use: str) -> TransformerEncoder:
    """A plain transformer without class token, which learns, for a pre-training that knows patch tokens alone.

    Args:
        spec: what to build.
        use: what is done with patch tokens, for the message.

    Raises:
        UserError: it is no plain transformer, or has a class token.
    """
    network = build_encoder(spec)
    if not isinstance(network, TransformerEncoder):
        raise UserError(f"encoder: {spec.name} is no plain transformer, it has no patch tokens to {use}")
    if network.has_class_token:
        raise UserError(
            f"encoder: {spec.name} has a class token, which would learn nothing here; give it "
            "options: {class_token: false, global_pool: avg}"
        )
    return network.requires_grad_(True)
