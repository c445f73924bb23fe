"""Single-stage distillation and the teacher's pre-training through a real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from gkd_lightning.baselines import DensePretraining, FeatureMSE, SingleStageDistillation
from gkd_lightning.data import MiniCity, SegmentAugmentation, SourceDataModule
from gkd_lightning.encoders import EncoderSpec, encoder_state, load_student
from gkd_lightning.segment import Mask2FormerConfig, load_segmenter

STUDENT = EncoderSpec("vit_tiny_patch16_224", None, 96, 12, options={"embed_dim": 32, "depth": 4, "num_heads": 2})
TEACHER = EncoderSpec("vit_tiny_patch16_224", None, 96, 16, options={"embed_dim": 48, "depth": 2, "num_heads": 2})
HEAD = Mask2FormerConfig(
    hidden_dim=32, encoder_layers=1, decoder_layers=1, heads=2, encoder_ffn=32, decoder_ffn=32, queries=10, points=64
)


def source() -> SourceDataModule:
    return SourceDataModule(
        MiniCity("game", 8), view="segmentation", image_size=96, batch_size=4, val={"game": MiniCity("game", 2)},
        segment_augmentation=SegmentAugmentation(largest_class=1.0),
    )  # fmt: skip


def fit(module: L.LightningModule, folder: Path, steps: int, data: SourceDataModule | None = None) -> L.Trainer:
    trainer = L.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, data or source())
    return trainer


def single_stage(**more: Any) -> SingleStageDistillation:
    return SingleStageDistillation(
        teacher=TEACHER, encoder=STUDENT, num_classes=8, head=HEAD, freeze_encoder=False, window=96, stride=64, **more
    )


def test_single_stage_trains_the_encoder_with_both_losses(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = single_stage()
    before = {key: value.clone() for key, value in encoder_state(module.segmenter.encoder).items()}
    frozen = {key: value.clone() for key, value in encoder_state(module.teacher_encoder).items()}
    trainer = fit(module, tmp_path, 2)
    logged = trainer.callback_metrics
    assert {"train/loss", "train/feature"} <= set(logged)
    assert torch.isfinite(logged["train/feature"])
    after = encoder_state(module.segmenter.encoder)
    assert not torch.equal(after["patch_embed.proj.weight"], before["patch_embed.proj.weight"])
    for key, value in encoder_state(module.teacher_encoder).items():
        assert torch.equal(value, frozen[key])
    # the projection learns, too, and the teacher is neither saved nor optimised
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert {id(p) for p in module.term.parameters()} <= optimised
    assert not {id(p) for p in module.teacher.parameters()} & optimised
    assert not [key for key in module.state_dict() if "teacher" in key]


def test_weight_scales_the_feature_term() -> None:
    L.seed_everything(0)
    one, ten = single_stage(), single_stage(term=FeatureMSE(weight=10.0))
    ten.load_state_dict(one.state_dict())
    ten.teacher.module.load_state_dict(one.teacher.module.state_dict())
    batch = {
        "image": torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8),
        "label": torch.zeros(2, 96, 96, dtype=torch.uint8),
    }
    terms = [
        module.distillation_loss(batch, module.student_pass(batch["image"]))["feature"].item() for module in (one, ten)
    ]
    assert terms[1] == pytest.approx(10 * terms[0], rel=1e-5)


def test_single_stage_exports_a_plain_segmenter(tmp_path: Path) -> None:
    module = single_stage()
    trainer = fit(module, tmp_path, 1)
    assert trainer.global_step == 1
    path = module.export(tmp_path / "artefact", {"seed": 0})
    loaded = load_segmenter(path)
    assert not [name for name, _ in loaded.segmenter.named_parameters() if "teacher" in name or "term" in name]


def test_dense_pretraining_learns_and_hands_on_half_precision(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = DensePretraining(STUDENT, num_classes=8, lr=2e-3, warmup_steps=0)
    data = source()
    trainer = fit(module, tmp_path, 30, data)
    assert trainer.callback_metrics["train/pixels"] < 1.9  # ln 8 = 2.08 is chance, 1.73 was measured
    logits, presence = module(torch.rand(2, 3, 96, 96))
    assert logits.shape == (2, 8, 96, 96)
    assert presence.shape == (2, 8)
    path = module.export(tmp_path / "artefact", {"seed": 0})
    half = load_student(path)
    for key, value in encoder_state(half).items():
        torch.testing.assert_close(value, encoder_state(module.encoder)[key], atol=2e-3, rtol=1e-3)
    assert path.stat().st_size < 3 * sum(value.numel() for value in encoder_state(half).values())


def test_pixels_fall_where_they_belong() -> None:
    """The linear layer's outputs are unfolded to pixels: each patch token paints its own square only."""
    module = DensePretraining(STUDENT, num_classes=8)
    image = torch.rand(1, 3, 96, 96)
    tokens = module.encoder.tokens(image)
    logits = module(image)[0]
    own = module.pixels(tokens.patches[:, 9]).reshape(8, 12, 12)  # row 1, column 1
    torch.testing.assert_close(logits[0, :, 12:24, 12:24], own, atol=1e-5, rtol=1e-4)
