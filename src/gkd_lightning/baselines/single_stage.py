"""Single-stage distillation: the task's loss and a teacher's in the same step, on source labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.baselines.feature_mse import FeatureMSE
from gkd_lightning.baselines.term import DistillationTerm, View, pixel_logits
from gkd_lightning.distill import resize_tokens
from gkd_lightning.encoders import Encoder, EncoderSpec, Frozen, TransformerEncoder, build_encoder, prepare_encoders
from gkd_lightning.errors import UserError
from gkd_lightning.segment import Segmenter, StudentPass, TaskLearning, load_segmenter, unfrozen


class SingleStageDistillation(TaskLearning):
    """``L_task + the terms of a method``; the encoder is trained.

    Args:
        teacher: the frozen vision foundation model; not together with `teacher_segmenter`.
        term: the method; null is feature MSE, the paper's vanilla KD.
        teacher_segmenter: a teacher whose head was trained on the source (`segmenter.safetensors`), for methods that
            compare class scores; its encoder is the teacher for all else.
        kwargs: everything that `TaskLearning` takes.
    """

    def __init__(
        self,
        teacher: EncoderSpec | None = None,
        term: DistillationTerm | None = None,
        teacher_segmenter: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters({"teacher": None if teacher is None else asdict(teacher)})
        self.term = FeatureMSE() if term is None else term
        if (teacher is None) == (teacher_segmenter is None):
            raise UserError("teacher, teacher_segmenter: give one of them")
        if self.term.wants_logits and teacher_segmenter is None:
            raise UserError(f"teacher_segmenter: {type(self.term).__name__} compares class scores, which need a head")
        if teacher_segmenter is not None:
            self.teacher: Frozen[Any] = Frozen(_trained(teacher_segmenter, kwargs["num_classes"]))
        else:
            assert teacher is not None
            self.teacher = Frozen(_Bare(build_encoder(teacher, "teacher")))
        for who, encoder in (("teacher", self.teacher_encoder), ("encoder", self.encoder)):
            if self.term.blocks and (encoder.hierarchical or max(self.term.blocks) >= encoder.depth):
                missing = list(self.term.blocks)
                raise UserError(f"{who}: {encoder.spec.name} has no blocks {missing}, which are compared")
        self.term.attach(self.encoder.embed_dim, self.teacher_encoder.embed_dim, kwargs["num_classes"])

    def on_fit_start(self) -> None:
        """Bring both encoders into the shape in which they run fastest."""
        bf16 = str(self.trainer.precision).startswith("bf16")
        compile = self.hparams.compile if isinstance(self.teacher_encoder, TransformerEncoder) else None
        prepare_encoders(self.teacher_encoder, device=self.device, bf16=bf16, compile=compile)
        super().on_fit_start()

    @property
    def teacher_encoder(self) -> Encoder:
        """The teacher's encoder, out of its wrappers."""
        return unfrozen(self.teacher.module.encoder)

    @property
    def further_blocks(self) -> tuple[int, ...]:
        """Blocks that the method looks at."""
        return self.term.blocks

    @property
    def compares_tokens(self) -> bool:
        """Whether the method does."""
        return self.term.wants_tokens

    def distillation_loss(self, batch: dict[str, Tensor], student: StudentPass) -> dict[str, Tensor]:
        """The method's terms, weighted; arguments as in `TaskLearning.distillation_loss`."""
        head = self.segmenter.head
        logits = pixel_logits(head.scores(student.output, student.size)) if self.term.wants_logits else None
        with torch.no_grad():
            teacher = self._teacher(batch["image"], student.tokens.grid, student.size)
        terms: dict[str, Tensor] = self.term(
            View(student.tokens, student.maps, logits), teacher, batch["label"], batch["key"]
        )
        return terms

    def _teacher(self, images: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> View:
        segmenter, logits = self.teacher.module, None
        if self.term.wants_logits:
            tokens, maps, output, _ = segmenter.passed(images, self.term.blocks)
            logits = pixel_logits(segmenter.head.scores(output, size))
        else:
            tokens, maps = segmenter.encoder(images, self.term.blocks)
        return View(resize_tokens(tokens, grid), tuple(_resized(block, grid) for block in maps), logits)


class _Bare(nn.Module):
    """A teacher without a head, looking like a segmenter."""

    blocks: tuple[int, ...] = ()

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder


def _trained(path: str, num_classes: int) -> Segmenter:
    loaded = load_segmenter(path)
    if len(loaded.label_space) != num_classes:
        raise UserError(f"teacher_segmenter: {path} tells {len(loaded.label_space)} classes apart, not {num_classes}")
    return loaded.segmenter


def _resized(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == grid:
        return maps
    return F.interpolate(maps.float(), size=grid, mode="bilinear", align_corners=False)
