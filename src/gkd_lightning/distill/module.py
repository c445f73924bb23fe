"""Stage 1: domain-general distillation, from proxy images (1a) or the source domain's images (1b), without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from gkd_lightning.data import TrainingModule
from gkd_lightning.distill.artefact import save_heads
from gkd_lightning.distill.base import Distillation
from gkd_lightning.distill.health import DistillationHealth
from gkd_lightning.distill.masking import BatchMasks, masked_samples
from gkd_lightning.distill.objective import Alignment, DistillationObjective, Variant
from gkd_lightning.encoders import EncoderSpec, Tokens, TransformerEncoder
from gkd_lightning.errors import UserError


class DomainGeneralDistillation(Distillation):
    """GKD's stage 1 (CVPR 2026, arXiv 2603.02554): a frozen teacher's tokens into a small student.

    The defaults are the official settings of stage 1a.

    Args:
        teacher: the frozen vision foundation model.
        student: the encoder that learns; in stage 1b its `weights` are stage 1a's artefact.
        alpha: weight of the feature term.
        beta: weight of the masked-patch term; 0 leaves out the masked pass.
        gamma: weight of the class-token term.
        variant: ``official`` follows the released code, ``paper`` the text: patch tokens only in the feature
            term, masked tokens only in the masked term, no schedule delay, no decay of position and token
            embeddings. The only switch of its kind.
        alignment: ``qsd`` or ``projection`` (two-stage MSE, with beta = gamma = 0).
        num_heads: attention heads of QSD.
        attention_scale: factor on QSD's attention logits; 1.0 is official, null means 1/sqrt(d).
        mask_ratio: share of masked tokens in a masked image.
        mask_probability: share of masked images in a batch.
        health_every_n_steps: how often cosine, entropy and gradient norms are measured, in steps that are logged; 0
            never.
        kwargs: everything else that `Distillation` takes: rate, schedule, moving average, name of the stage.
    """

    def __init__(
        self,
        teacher: EncoderSpec,
        student: EncoderSpec,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        variant: Variant = "official",
        alignment: Alignment = "qsd",
        num_heads: int = 1,
        attention_scale: float | None = 1.0,
        mask_ratio: float = 0.5,
        mask_probability: float = 0.5,
        health_every_n_steps: int = 50,
        **kwargs: Any,
    ) -> None:
        if min(alpha, beta, gamma) < 0 or alpha + beta + gamma == 0:
            raise UserError(f"alpha={alpha}, beta={beta}, gamma={gamma}: weights must be >= 0 and not all 0")
        for name, share in (("mask_ratio", mask_ratio), ("mask_probability", mask_probability)):
            if not 0 < share <= 1:
                raise UserError(f"{name}: {share} must be above 0 and at most 1; beta=0 leaves the masked pass out")
        super().__init__(teacher, student, **kwargs)
        self.official_groups = variant == "official"
        self.objective = DistillationObjective(
            self.student.embed_dim, self.teacher.module.embed_dim, alpha, beta, gamma,
            variant, alignment, num_heads, attention_scale,
        )  # fmt: skip
        self.health = DistillationHealth(health_every_n_steps)
        self._mixes_images = any(isinstance(module, _BatchNorm) for module in self.student.modules())
        if not self.objective.needs_masked_pass and isinstance(self.student, TransformerEncoder):
            self.student.mask_token.requires_grad_(False)  # no term reaches it: unused under DDP

    def setup(self, stage: str) -> None:
        """Have the masks drawn where the images are loaded; a data module that is not ours leaves them to the step."""
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, TrainingModule):
            masked = self.objective.needs_masked_pass
            data.in_workers = self.masks((data.image_size, data.image_size)) if masked else None

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """One step of the paper's algorithm."""
        images = batch["image"]
        teacher = self.teacher_tokens(images)
        mask = batch["mask"] if "mask" in batch else self.draw_mask(images, batch["key"])
        student, masked, mask = self.student_tokens(images, mask)
        terms, aligned = self.objective(student, teacher, masked, mask)
        loss = self.objective.total(terms)
        health = self.health.measure(terms, aligned, student, masked, teacher) if self.measures_health else {}
        self.log_step({"train/loss": loss, **{f"train/{name}": term for name, term in terms.items()}, **health})
        return loss

    @property
    def measures_health(self) -> bool:
        """Whether this micro-batch measures: the first of a logged step that is due."""
        wanted = self.health.every_n_steps > 0 and self.logs_this_step and self.begins_step
        return wanted and self.health.due(self.global_step + 1, self.trainer.log_every_n_steps)

    def dry_step(self, images: torch.Tensor) -> torch.Tensor:
        """The loss of a training step on (B, 3, H, W) images without content: to count what a step takes."""
        mask = None
        if self.objective.needs_masked_pass:
            rows, columns = self.student.grid((images.shape[-2], images.shape[-1]))
            chosen = masked_samples(len(images), self.hparams.mask_probability)
            mask = torch.zeros(chosen, rows * columns, dtype=torch.bool, device=images.device)
        teacher = self.teacher_tokens(images)
        student, masked, mask = self.student_tokens(images, mask)
        return self.objective.total(self.objective(student, teacher, masked, mask)[0])

    def draw_mask(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor | None:
        """(M, N) bool masks of the batch's first M images, each drawn from its sample's key; None without them."""
        if not self.objective.needs_masked_pass:
            return None
        mask = self.masks((images.shape[-2], images.shape[-1]))({"key": keys})["mask"]
        return mask.to(images.device, non_blocking=True)

    def masks(self, size: tuple[int, int]) -> BatchMasks:
        """How the masks of images of `size` (height, width) are drawn."""
        rows, columns = self.student.grid(size)
        return BatchMasks(rows * columns, self.hparams.mask_ratio, self.hparams.mask_probability)

    def student_tokens(
        self, images: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[Tokens, torch.Tensor | None, torch.Tensor | None]:
        """Tokens of the whole images; (B, N, D) patch tokens of the masked pass; its (B, N) mask.

        For an image without a mask both passes are the same function of the same input, so only the masked images
        run twice: the same loss and gradient as the official two full passes, a quarter of the work saved. Batch
        normalisation would mix the images, so a student that has it gets the two full passes.
        """
        if mask is None:
            return self.student.tokens(images), None, None
        batch, chosen = len(images), len(mask)
        unmasked = mask.new_zeros(batch, mask.shape[1])
        if self._mixes_images:
            full = torch.cat([mask, unmasked[chosen:]])
            return self.student.tokens(images), self.student.tokens(images, full).patches, full
        both = self.student.tokens(torch.cat([images, images[:chosen]]), torch.cat([unmasked, mask]))
        whole = Tokens(both.cls[:batch], both.patches[:batch], both.grid)
        masked = torch.cat([both.patches[batch:], whole.patches[chosen:]])
        return whole, masked, torch.cat([mask, unmasked[chosen:]])

    def export(self, directory: str | Path, provenance: dict[str, Any]) -> Path:
        """Write the student's artefact, and beside it the heads it learned with, which no stage reads."""
        student = super().export(directory, provenance)
        save_heads(self.objective.heads, student)
        return student
