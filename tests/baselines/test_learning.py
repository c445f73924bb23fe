"""Every method learns: steps on MiniCity take a third or half of its own loss, and only the student gets gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
from torch import nn

from gkd_lightning.baselines import (
    CIRKD,
    CWD,
    G2SD,
    AfDCD,
    DistillationTerm,
    FeatureMSE,
    LogitKD,
    Proteus,
    SingleStageDistillation,
    TinyMIM,
    ViTKD,
)
from gkd_lightning.data import DistillAugmentation, MiniCity, SegmentAugmentation, SourceDataModule
from gkd_lightning.distill import Distillation, DomainGeneralDistillation, Objective
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.segment import LinearHead, Mask2FormerConfig, TaskLearning

TEACHER = EncoderSpec(
    "vit_tiny_patch16_224", "asset:minicity_teacher", 48, 8, options={"embed_dim": 192, "depth": 5, "num_heads": 6}
)
STUDENT = EncoderSpec("vit_tiny_patch16_224", None, 48, 8, options={"embed_dim": 48, "depth": 4, "num_heads": 3})
HEAD = Mask2FormerConfig(
    hidden_dim=32, encoder_layers=1, decoder_layers=1, heads=2, encoder_ffn=32, decoder_ffn=32, queries=10, points=64
)
TASK: dict[str, Any] = {
    "num_classes": 8, "window": 48, "stride": 48, "lr": 2e-3, "scales": (2.0, 1.0, 0.5, 0.25)
}  # fmt: skip


class Record(L.Callback):
    """What a term was in every step, and the gradients of the last one."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self.values: list[float] = []
        self.student: dict[str, float | None] = {}
        self.teacher: list[str] = []

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *rest: Any) -> None:
        self.values.append(sum(float(trainer.callback_metrics[f"train/{name}"]) for name in self.names))

    def on_after_backward(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        student: nn.Module = module.student if hasattr(module, "student") else module.segmenter.encoder
        self.student = {
            name: None if value.grad is None else float(value.grad.abs().max())
            for name, value in student.named_parameters()
            if value.requires_grad
        }
        if hasattr(module, "teacher"):
            self.teacher += [name for name, value in module.teacher.named_parameters() if value.grad is not None]

    def fall(self) -> float:
        """The loss at the end, as a share of that at the start."""
        return float(np.mean(self.values[-10:]) / np.mean(self.values[:5]))


def learn(
    module: L.LightningModule, names: Iterable[str], folder: Path, steps: int, view: str = "segmentation"
) -> Record:
    """Eight images, again and again."""
    data = SourceDataModule(
        MiniCity("game", 8, cache=True), view=view, image_size=48, batch_size=4,
        segment_augmentation=SegmentAugmentation(flip=0, distortion=0, largest_class=1.0),
        distill_augmentation=DistillAugmentation(scale=(0.9, 1.0), rand_augment="", erasing=0),
    )  # fmt: skip
    record = Record(names)
    trainer = L.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[record],
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, use_distributed_sampler=False,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, data)
    assert len(record.values) == steps
    return record


def check(record: Record, factor: float) -> None:
    assert record.fall() < factor, f"{record.fall():.3f} of the loss are left"
    missing = [name for name, value in record.student.items() if value is None or value == 0]
    assert record.student
    assert not missing, f"no gradient reached {missing}"
    assert not record.teacher


@pytest.fixture(scope="module")
def teacher_segmenter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shipped teacher with a head that has learnt the eight images."""
    folder = tmp_path_factory.mktemp("teacher")
    L.seed_everything(0)
    module = TaskLearning(encoder=TEACHER, head=HEAD, freeze_encoder=True, **TASK)
    learn(module, ["loss"], folder, 120)
    return str(module.export(folder, {"seed": 0}))


# Method, names of its terms, share of its own loss that may be left, after so many steps.
SINGLE_STAGE: dict[str, tuple[Callable[[], DistillationTerm], tuple[str, ...], float, int]] = {
    "feature_mse": (FeatureMSE, ("feature",), 0.5, 200),
    "single_stage_qsd": (lambda: FeatureMSE(alignment="qsd", attention_scale=None), ("feature",), 0.7, 100),
    "logit_kd": (LogitKD, ("logits",), 0.5, 60),
    "cwd": (CWD, ("cwd",), 0.5, 120),
    "cwd of scores": (lambda: CWD("logits", weight=3.0, tau=1.0), ("cwd",), 0.5, 60),
    "cirkd": (lambda: CIRKD(logit_weight=0), ("pairs", "pixels", "regions"), 0.5, 160),
    "afdcd": (lambda: AfDCD(logit_weight=0, pool=2, patch=3), ("generation", "contrast"), 0.5, 200),
    "vitkd": (ViTKD, ("mimic", "generation"), 0.5, 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", SINGLE_STAGE)
def test_a_single_stage_method_learns_from_the_teacher(method: str, teacher_segmenter: str, tmp_path: Path) -> None:
    build, names, factor, steps = SINGLE_STAGE[method]
    L.seed_everything(0)
    term = build()
    if term.wants_logits:
        parts: dict[str, Any] = {"teacher_segmenter": teacher_segmenter, "head": HEAD}
    else:  # the head is beside the point: the plainest
        parts = {"teacher": TEACHER, "head": LinearHead()}
    module = SingleStageDistillation(term=term, encoder=STUDENT, freeze_encoder=False, **parts, **TASK)
    check(learn(module, names, tmp_path, steps), factor)


PRE_DISTILLATION: dict[str, tuple[Callable[[], Objective], tuple[str, ...], float, int]] = {
    "proteus": (Proteus, ("loss",), 0.5, 60),
    "tinymim": (TinyMIM, ("loss",), 0.5, 100),
    "g2sd": (lambda: G2SD(dim=32, depth=1, heads=2), ("loss",), 0.5, 60),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", PRE_DISTILLATION)
def test_a_pre_distillation_learns_from_the_teacher(method: str, tmp_path: Path) -> None:
    build, names, factor, steps = PRE_DISTILLATION[method]
    L.seed_everything(0)
    module = Distillation(TEACHER, STUDENT, build(), lr=2e-3, schedule="step", reference_batch_size=None)
    check(learn(module, names, tmp_path, steps, "distillation"), factor)


TWO_STAGE: dict[str, tuple[dict[str, Any], float, int]] = {
    "gkd": ({"attention_scale": None}, 0.5, 60),
    "gkd, official scale": ({}, 0.5, 80),
    "two-stage mse": ({"alignment": "projection", "beta": 0.0, "gamma": 0.0}, 0.5, 60),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", TWO_STAGE)
def test_domain_general_distillation_learns_from_the_teacher(method: str, tmp_path: Path) -> None:
    arguments, factor, steps = TWO_STAGE[method]
    L.seed_everything(0)
    module = DomainGeneralDistillation(
        TEACHER, STUDENT, lr=2e-3, schedule="step", reference_batch_size=None, **arguments
    )
    check(learn(module, ["loss"], tmp_path, steps, "distillation"), factor)


@pytest.mark.slow
def test_no_distillation_learns_from_labels(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = TaskLearning(encoder=STUDENT, head=HEAD, freeze_encoder=False, **TASK)
    check(learn(module, ["loss"], tmp_path, 80), 0.7)
