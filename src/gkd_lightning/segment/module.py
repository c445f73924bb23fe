"""Stage 2: a head learns the task on the source domain; the distilled encoder stays (nearly) as it is."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gkd_lightning.data import require_instances
from gkd_lightning.encoders import (
    Encoder,
    EncoderSpec,
    Frozen,
    LowRank,
    Refinement,
    TransformerEncoder,
    adamw,
    build_encoder,
    compiles,
    prepare_encoders,
    release,
)
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Classes, Natural, Pixels, Positive, Weight
from gkd_lightning.segment.artefact import save_segmenter
from gkd_lightning.segment.encoder_training import freeze_unreached, prepared_encoder, weights_digest
from gkd_lightning.segment.judging import DomainJudge, Predicted
from gkd_lightning.segment.mask2former import OFFICIAL_HEAD
from gkd_lightning.segment.optim import anneal_weight_decay, parameter_groups, poly_factor
from gkd_lightning.segment.panoptic import FoundSegments, judged_segments
from gkd_lightning.segment.pyramid import SCALES
from gkd_lightning.segment.segmentation_head import HeadSettings, Moment, TaskLosses
from gkd_lightning.segment.segmenter import Segmenter, StudentPass, unfrozen
from gkd_lightning.step_logging import StepLogging


class StepLosses(NamedTuple):
    """What a training step minimises: the sum of both."""

    task: TaskLosses
    distillation: dict[str, Tensor]
    """Weighted terms by name; empty without a teacher."""


class TaskLearning(StepLogging, DomainJudge):
    """GKD's stage 2 (CVPR 2026, arXiv 2603.02554). The defaults are the official frozen settings.

    Args:
        encoder: the distilled student (its `weights` are stage 1's artefact), or any other encoder.
        num_classes: K; the official base configuration says 11 for 19 classes, so it is checked against the data.
        head: size and loss of the Mask2Former head, or another `SegmentationHead` by class_path and init_args.
        freeze_encoder: False trains the encoder too (baselines without decoupling).
        last_blocks: of a frozen encoder this many blocks at the end learn all the same, and the final norm where the
            loss depends on it.
        low_rank: additions to a frozen encoder's linear layers learn; they start as nothing and become part of its
            weights in the exported segmenter.
        refinement: tokens between a frozen encoder's blocks learn (Rein); the exported segmenter has them, too.
            `linked` makes the head's queries of them. Of `last_blocks`, `low_rank` and this, one at a time.
        encoder_lr_scale: learning rate of what learns in the encoder, in units of `lr` (official unfrozen baselines:
            0.1).
        lr: learning rate of the head, decaying to 0 with power 0.9.
        weight_decay: AdamW's decay.
        weight_decay_end: what it falls to along half a cosine until the training ends (SoMA: 1e-5); null keeps it.
        blocks: the four encoder blocks that form the pyramid; null takes those after a third, half, two thirds
            and all of the depth (official: 3, 5, 7, 11 of 12).
        window: side in pixels of the sliding window of evaluation.
        stride: pixels from one window to the next.
        scales: enlargement of the four block maps; the official ones make strides 4 to 32 from 16-pixel patches.
        compile: let `torch.compile` fuse the encoder's transformer blocks and the head, at the first step; null does so
            beside a frozen encoder on a GPU. Checkpoints and artefacts keep their keys.
    """

    def __init__(
        self,
        encoder: EncoderSpec,
        num_classes: Classes,
        head: HeadSettings = OFFICIAL_HEAD,
        freeze_encoder: bool = True,
        last_blocks: Natural = 0,
        low_rank: LowRank | None = None,
        refinement: Refinement | None = None,
        encoder_lr_scale: Weight = 1.0,
        lr: Positive = 1e-4,
        weight_decay: Weight = 0.05,
        weight_decay_end: Weight | None = None,
        blocks: list[Natural] | None = None,
        window: Pixels = 512,
        stride: Pixels = 341,
        scales: tuple[Positive, Positive, Positive, Positive] = SCALES,
        compile: bool | None = None,
    ) -> None:
        super().__init__()
        if weight_decay_end is not None and not weight_decay:
            raise UserError("weight_decay_end: there is nothing to anneal, weight_decay is 0")
        # plain types only, of subclasses too
        self.save_hyperparameters(ignore=["encoder", "head", "low_rank", "refinement", "scales", "teacher", "term"])
        self.save_hyperparameters({"encoder": asdict(encoder), "head": head.record, "scales": list(scales)})
        for name, way in {"low_rank": low_rank, "refinement": refinement}.items():
            self.save_hyperparameters({name: None if way is None else asdict(way)})
        self.num_classes = num_classes
        self._steps = 1  # of the training, once there is one
        network = prepared_encoder(build_encoder(encoder), freeze_encoder, last_blocks, low_rank, refinement)
        self.segmenter = Segmenter.for_encoder(network, num_classes, head, blocks, window, stride, scales)

    @property
    def encoder(self) -> Encoder:
        """The encoder, out of its frozen wrapper."""
        return unfrozen(self.segmenter.encoder)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (B, K, H, W) of (B, 3, H, W) images, by sliding window."""
        return self.segmenter.scores(images)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One step: frozen features, pyramid, head, matching, losses."""
        task, distillation = self.step_losses(batch)
        loss: Tensor = task.total + sum(distillation.values())
        self.log_step({f"train/{name}": value for name, value in {"loss": loss, **task.terms, **distillation}.items()})
        return loss

    def step_losses(self, batch: dict[str, Tensor]) -> StepLosses:
        """The losses of a training step, logged nowhere; arguments as in `distillation_loss`."""
        student = self.student_pass(batch["image"], batch["key"])
        truth = batch.get("segments") if self.panoptic else batch["label"]
        if truth is None:
            raise UserError("data: its batches have no `segments`, from which a head with segments: panoptic learns")
        task = self.segmenter.head.loss(student.output, truth, batch["key"])
        return StepLosses(task, self.distillation_loss(batch, student))

    def dry_step(self, images: Tensor) -> Tensor:
        """A scalar that depends on all that a training step computes on (B, 3, H, W) images without content.

        It counts what a step takes, see `SegmentationHead.dry_loss`.
        """
        labels = images.new_zeros((len(images), *images.shape[-2:]), dtype=torch.uint8)
        keys = torch.zeros(len(images), dtype=torch.int64, device="cpu")
        student = self.student_pass(images, keys)
        distillation = self.distillation_loss({"image": images, "label": labels, "key": keys}, student)
        task = self.segmenter.head.dry_loss(student.output, labels, keys)
        return torch.stack([task, *(term.float().mean() for term in distillation.values())]).sum()

    @property
    def further_blocks(self) -> tuple[int, ...]:
        """Encoder blocks whose outputs are wanted besides those of the pyramid."""
        return ()

    @property
    def compares_tokens(self) -> bool:
        """Whether a further loss term looks at the tokens after the final norm; unless told, it does."""
        return type(self).distillation_loss is not TaskLearning.distillation_loss

    @property
    def progress(self) -> float:
        """Share of the training's steps that are done; 0 outside of one."""
        done: int = self.global_step
        return done / self._steps

    def student_pass(self, images: Tensor, keys: Tensor | None = None) -> StudentPass:
        """Encoder and head on (B, 3, H, W) images; as in the training step that is due if their `keys` are given."""
        moment = None if keys is None else Moment(keys, self.progress)
        return self.segmenter.passed(images, self.further_blocks, moment)

    def distillation_loss(self, batch: dict[str, Tensor], student: StudentPass) -> dict[str, Tensor]:
        """Further loss terms by name, added to the task's; single-stage distillation overrides this.

        Args:
            batch: `image` (B, 3, H, W) uint8, `label` (B, H, W) uint8, `key` (B,) on the host.
            student: what encoder and head have made of these images.
        """
        return {}

    def predicted(self, batch: dict[str, Any]) -> Predicted:
        """See `DomainJudge.predicted`."""
        size = (batch["label"].shape[-2], batch["label"].shape[-1])
        return Predicted(self.segmenter.predict(batch["image"], size))

    @property
    def panoptic(self) -> bool:
        """Whether the head learns segments, see `Mask2FormerConfig.segments`."""
        return self.segmenter.head.panoptic

    def segments(self, batch: dict[str, Any], instances: bool) -> FoundSegments:
        """See `DomainJudge.segments`."""
        return judged_segments(self.segmenter, batch, self.data.label_space, instances)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with the official groups, polynomial decay after every step."""
        hparams = self.hparams
        groups = parameter_groups(self, self.encoder, hparams.lr, hparams.weight_decay, hparams.encoder_lr_scale)
        optimizer = adamw(groups, hparams.lr, self.trainer)
        self._steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, poly_factor(self._steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Anneal the weight decay by the step alone, so that a resumed run goes on where it was."""
        if self.hparams.weight_decay_end is not None:
            anneal_weight_decay(optimizer, self.hparams.weight_decay_end, self.progress)

    def setup(self, stage: str) -> None:
        """See `DomainJudge.setup`; freeze what no loss can reach.

        Raises:
            UserError: data with other classes, or without labels.
        """
        super().setup(stage)
        if stage != "fit":
            return
        if getattr(self.data, "view", "segmentation") != "segmentation":
            raise UserError(f"data.view: {self.data.view!r} gives no labels, task learning needs view: segmentation")
        if self.panoptic and hasattr(self.data, "dataset"):
            require_instances("data.dataset", self.data.dataset)
        if any(parameter.requires_grad for parameter in self.encoder.parameters()):
            blocks, linked = [*self.segmenter.blocks, *self.further_blocks], self.segmenter.link is not None
            freeze_unreached(self.encoder, blocks, self.compares_tokens, linked)

    def on_fit_start(self) -> None:
        """Bring encoder and head into the shape in which they run fastest; all weights are written as they were."""
        self.prepare(bf16=str(self.trainer.precision).startswith("bf16"))

    def prepare(self, bf16: bool) -> None:
        """Keep a frozen encoder's weights in bf16 in a run in bf16; compile if asked."""
        frozen = self.hparams.freeze_encoder
        compile = compiles(self.device, self.hparams.compile if frozen else bool(self.hparams.compile))
        blocks = compile and isinstance(self.encoder, TransformerEncoder)
        prepare_encoders(self.encoder, device=self.device, bf16=frozen and bf16, compile=blocks, written=True)
        if compile:
            self.segmenter.head.compile_parts()

    def teardown(self, stage: str) -> None:
        """Give the encoder back as it was, and what the head has taken for the training."""
        release(self.encoder)
        self.segmenter.head.release_parts()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note which frozen weights the rest was trained beside: they are in no checkpoint."""
        if self._frozen_digest is not None:
            checkpoint["frozen_encoder"] = self._frozen_digest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with another encoder.

        Raises:
            UserError: the encoder's weights are not those of the checkpoint's run.
        """
        if self._frozen_digest is not None and checkpoint.get("frozen_encoder") != self._frozen_digest:
            weights = self.hparams.encoder["weights"]
            where = self.trainer.ckpt_path or "checkpoint"
            raise UserError(f"{where}: its head was trained on another encoder than encoder.weights: {weights}")

    @cached_property
    def _frozen_digest(self) -> str | None:
        encoder = self.segmenter.encoder
        return weights_digest(encoder.kept_state()) if isinstance(encoder, Frozen) else None

    def export(self, directory: str | Path, provenance: dict[str, Any]) -> Path:
        """Write `segmenter.safetensors` and `segmenter.json`; see `save_segmenter`."""
        data = self.data
        return save_segmenter(
            self.segmenter, directory,
            label_space=data.label_space, protocol=data.protocol.asdict(), provenance=provenance,
        )  # fmt: skip
