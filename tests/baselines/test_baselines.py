"""Single-stage distillation and the teacher's pre-training through a real trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from gkd_lightning.baselines import (
    AfDCD,
    DensePretraining,
    DistillationTerm,
    FeatureMSE,
    LogitKD,
    Proteus,
    SingleStageDistillation,
    View,
    ViTKD,
)
from gkd_lightning.baselines.g2sd import visible_tokens
from gkd_lightning.baselines.logit_kd import pixel_kl
from gkd_lightning.data import MiniCity, SegmentAugmentation, SourceDataModule
from gkd_lightning.distill import Distillation
from gkd_lightning.encoders import EncoderSpec, Tokens, TransformerEncoder, build_encoder, encoder_state, load_student
from gkd_lightning.segment import (
    HeadSettings,
    LinearHead,
    Mask2FormerConfig,
    Segmenter,
    load_segmenter,
    save_segmenter,
)

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


def fit(
    module: L.LightningModule,
    folder: Path,
    steps: int,
    data: SourceDataModule | None = None,
    resume: Path | None = None,
) -> L.Trainer:
    trainer = L.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, use_distributed_sampler=False,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, data or source(), ckpt_path=resume, weights_only=True)
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
        "key": torch.tensor([1, 2]),
    }
    terms = [
        module.distillation_loss(batch, module.student_pass(batch["image"]))["feature"].item() for module in (one, ten)
    ]
    assert terms[1] == pytest.approx(10 * terms[0], rel=1e-5)


@pytest.mark.parametrize(("ours", "theirs"), [(LinearHead, lambda: HEAD), (lambda: HEAD, LinearHead)])
def test_scores_are_compared_whatever_the_heads(
    ours: Callable[[], HeadSettings], theirs: Callable[[], HeadSettings], tmp_path: Path
) -> None:
    L.seed_everything(0)
    teacher = Segmenter.for_encoder(build_encoder(TEACHER), 8, theirs(), [0, 0, 1, 1], window=96, stride=64)
    path = save_segmenter(teacher, tmp_path, label_space=source().label_space, protocol={}, provenance={})
    module = SingleStageDistillation(
        term=LogitKD(), teacher_segmenter=str(path), encoder=STUDENT, num_classes=8, head=ours(), freeze_encoder=False
    )
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    batch = {"image": images, "label": torch.zeros(2, 96, 96, dtype=torch.uint8), "key": torch.tensor([1, 2])}
    student = module.student_pass(images)
    (term,) = module.distillation_loss(batch, student).values()
    scores = [student_scores := module.segmenter.head.scores(student.output, student.size)]
    with torch.no_grad():
        scores.append(teacher.eval().head.scores(teacher(images), student.size))
    assert student.size == (32, 32)
    torch.testing.assert_close(term, LogitKD().weight * pixel_kl(*((each + 1e-6).log() for each in scores), 1.0))
    assert student_scores.requires_grad
    term.backward()
    assert all(parameter.grad is not None for parameter in module.segmenter.head.parameters())


@pytest.mark.parametrize("name", ["vit_medium_patch16_reg4_gap_256", "vit_small_patch14_reg4_dinov2"])
def test_g2sd_takes_no_register_for_a_class_token(name: str) -> None:
    options = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    student = build_encoder(EncoderSpec(name, None, 96, 12, options=options)).eval()
    assert isinstance(student, TransformerEncoder)
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8, generator=torch.manual_seed(0))
    everything = torch.arange(64).expand(2, -1)
    with torch.no_grad():
        found, whole = visible_tokens(student, images, everything), student.tokens(images)
    torch.testing.assert_close(found, torch.cat([whole.cls[:, None], whole.patches], 1), atol=1e-5, rtol=1e-4)


def pre_distillation() -> Distillation:
    return Distillation(TEACHER, STUDENT, Proteus(), schedule="step", reference_batch_size=None)


@pytest.mark.parametrize("build", [lambda: single_stage(term=ViTKD()), pre_distillation], ids=["single", "pre"])
def test_a_checkpoint_holds_plain_values_and_resumes(build: Callable[[], L.LightningModule], tmp_path: Path) -> None:
    data = source()
    if build is pre_distillation:
        data = SourceDataModule(MiniCity("game", 8), view="distillation", image_size=96, batch_size=4)
    trainer = fit(build(), tmp_path, 1, data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    names = torch.load(tmp_path / "one.ckpt", weights_only=True)["state_dict"]  # nothing but tensors and plain values
    assert not [name for name in names if name.startswith("teacher.")]
    again = fit(build(), tmp_path, 2, data, resume=tmp_path / "one.ckpt")
    assert again.global_step == 2


@pytest.mark.parametrize("term", [ViTKD(), AfDCD(logit_weight=0, groups=4, pool=2, patch=2)], ids=["vitkd", "afdcd"])
def test_what_is_hidden_of_a_sample_follows_its_key_alone(term: DistillationTerm) -> None:
    generator = torch.Generator().manual_seed(0)
    term.attach(8, 16, 3)

    def network(width: int) -> View:
        tokens = Tokens(torch.zeros(2, width), torch.randn(2, 16, width, generator=generator), (4, 4))
        maps = tuple(torch.randn(2, width, 4, 4, generator=generator) for _ in term.blocks)
        return View(tokens, maps)

    def swapped(view: View) -> View:
        tokens = Tokens(view.tokens.cls.flip(0), view.tokens.patches.flip(0), view.tokens.grid)
        return View(tokens, tuple(part.flip(0) for part in view.blocks))

    student, teacher, labels = network(8), network(16), torch.zeros(2, 4, 4, dtype=torch.uint8)
    keys = torch.tensor([11, 12])
    first = {name: value.item() for name, value in term(student, teacher, labels, keys).items()}
    torch.manual_seed(1)  # no generator of the process takes part
    again = term(swapped(student), swapped(teacher), labels, keys.flip(0))
    other = term(student, teacher, labels, keys + 5)
    assert {name: value.item() for name, value in again.items()} == pytest.approx(first, rel=1e-5)
    assert any(value.item() != pytest.approx(first[name], rel=1e-3) for name, value in other.items())


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
