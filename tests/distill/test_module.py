"""Stage 1 through a real trainer: what moves, what stays, what is handed on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from gkd_lightning.data import MiniCityShapes, ProxyDataModule
from gkd_lightning.data.keys import sample_key
from gkd_lightning.distill import DomainGeneralDistillation, resize_tokens
from gkd_lightning.encoders import EncoderSpec, Tokens, encoder_state, load_student
from gkd_lightning.errors import UserError

STUDENT = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 16, "depth": 2, "num_heads": 2})
TEACHER = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 24, "depth": 2, "num_heads": 2})
CNN = EncoderSpec("resnet10t", None, 32)


class Noise(L.LightningDataModule):
    """Eight noise images in batches of four."""

    batch_size = 4
    domain_names = ("noise",)

    def train_dataloader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(0)
        items = [
            {
                "image": torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator),
                "key": sample_key(0, 0, position),
            }
            for position in range(8)
        ]
        return DataLoader(items, batch_size=4)  # type: ignore[arg-type]


def fit(module: DomainGeneralDistillation, folder: Path, ckpt_path: Path | None = None, **trainer: Any) -> L.Trainer:
    settings = {"max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
                "enable_model_summary": False, "enable_checkpointing": False, "default_root_dir": folder,
                "log_every_n_steps": 1}  # fmt: skip
    runner = L.Trainer(**{**settings, **trainer})
    runner.fit(module, Noise(), ckpt_path=ckpt_path, weights_only=True)
    return runner


@pytest.mark.parametrize("teacher", [TEACHER, CNN])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_student_learns_and_the_teacher_does_not_move(teacher: EncoderSpec, precision: str, tmp_path: Path) -> None:
    L.seed_everything(0)
    module = DomainGeneralDistillation(teacher, STUDENT, health_every_n_steps=1, reference_batch_size=4)
    frozen = {key: value.clone() for key, value in encoder_state(module.teacher.module).items()}
    start = {key: value.clone() for key, value in encoder_state(module.student).items()}
    trainer = fit(module, tmp_path, precision=precision)
    for key, value in encoder_state(module.teacher.module).items():
        expected = (
            frozen[key].bfloat16() if precision == "bf16-mixed" and frozen[key].is_floating_point() else frozen[key]
        )
        assert torch.equal(value.to(expected.dtype), expected), key
    moved = [key for key, value in encoder_state(module.student).items() if not torch.equal(value, start[key])]
    assert len(moved) == len(start)
    logged = trainer.callback_metrics
    for name in ("train/loss", "train/fea", "train/patch", "train/token", "health/cosine", "health/entropy"):
        assert torch.isfinite(logged[name]), name
    assert {"health/grad_fea", "health/grad_patch", "health/grad_token"} <= set(logged)


def test_distillation_reduces_the_loss(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = DomainGeneralDistillation(TEACHER, STUDENT, lr=3e-3, reference_batch_size=None, attention_scale=None)
    batch = next(iter(Noise().train_dataloader()))
    with torch.no_grad():
        module.log_step = lambda values: None  # type: ignore[method-assign]
        module.health.every_n_steps = 0
        before = module.training_step(batch, 0)
    again = DomainGeneralDistillation(TEACHER, STUDENT, lr=3e-3, reference_batch_size=None, attention_scale=None)
    again.load_state_dict(module.state_dict())
    again.teacher.module.load_state_dict(module.teacher.module.state_dict())
    fit(again, tmp_path, max_epochs=30)
    again.log_step = lambda values: None  # type: ignore[method-assign]
    again.health.every_n_steps = 0
    with torch.no_grad():
        assert again.training_step(batch, 0) < 0.9 * before


def test_checkpoint_has_no_teacher_and_plain_hyper_parameters(tmp_path: Path) -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT)
    trainer = fit(module, tmp_path, max_steps=1, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert not [key for key in checkpoint["state_dict"] if "teacher" in key]
    assert [key for key in checkpoint["state_dict"] if key.startswith("student.")]
    assert checkpoint["hyper_parameters"]["student"]["options"]["embed_dim"] == 16


def test_export_hands_on_the_chosen_weights(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = DomainGeneralDistillation(TEACHER, STUDENT, ema_decay=0.5, hand_on="ema", reference_batch_size=4)
    fit(module, tmp_path)
    path = module.export(tmp_path / "artefact", {"seed": 0})
    handed = encoder_state(load_student(path))
    raw, averaged = encoder_state(module.student), encoder_state(module.ema.module)  # type: ignore[union-attr]
    for key, value in handed.items():
        assert torch.equal(value, averaged[key])
    assert not torch.equal(raw["cls_token"], averaged["cls_token"])
    record = json.loads((tmp_path / "artefact" / "student.json").read_text())
    assert record["provenance"] == {"seed": 0, "handed_on": "ema"}


def test_learning_rate_follows_the_global_batch_and_the_epoch(tmp_path: Path) -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT, lr=5e-4)
    trainer = fit(module, tmp_path, max_epochs=3)
    assert module.configure_optimizers()["optimizer"].param_groups[0]["lr"] == pytest.approx(5e-4 * 4 / 512)
    assert trainer.lr_scheduler_configs[0].interval == "epoch"


def test_epoch_schedule_needs_epochs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="schedule=epoch needs"):
        fit(DomainGeneralDistillation(TEACHER, STUDENT), tmp_path, max_epochs=-1, max_steps=2)


def test_without_a_masked_term_nothing_is_masked(tmp_path: Path) -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT, beta=0)
    assert module.masks((32, 32)) is None
    fit(module, tmp_path, max_epochs=1)
    assert not module.student.mask_token.requires_grad


@pytest.mark.parametrize(
    ("weights", "told"),
    [((0, 0, 0), "alpha=0, beta=0, gamma=0: not all"), ((-1, 1, 1), "alpha: -1; give a number at least 0")],
)
def test_impossible_weights(weights: tuple[float, float, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        DomainGeneralDistillation(TEACHER, STUDENT, *weights)


def test_ema_without_decay() -> None:
    with pytest.raises(UserError, match="needs ema_decay"):
        DomainGeneralDistillation(TEACHER, STUDENT, hand_on="ema")


def test_a_teacher_of_another_grid_is_resized_bilinearly() -> None:
    patches = torch.arange(4.0).reshape(1, 4, 1)
    resized = resize_tokens(Tokens(torch.zeros(1, 1), patches, (2, 2)), (4, 4))
    expected = torch.nn.functional.interpolate(patches.reshape(1, 1, 2, 2), size=(4, 4), mode="bilinear")
    torch.testing.assert_close(resized.patches.reshape(4, 4), expected[0, 0])
    module = DomainGeneralDistillation(CNN, STUDENT)
    assert module.passes(torch.rand(2, 3, 32, 32), torch.arange(2)).teacher.patches.shape == (2, 16, 512)


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_a_backbone_as_student_gives_what_two_full_passes_give(name: str) -> None:
    """Batch normalisation mixes images: whole ones must not see the masked ones. 80 px: a map that rounds."""
    torch.manual_seed(0)
    module = DomainGeneralDistillation(TEACHER, EncoderSpec(name, None, 64))
    images = torch.rand(4, 3, 80, 80)
    passes = module.passes(images, torch.arange(4))
    full = torch.cat([passes.hidden, torch.zeros_like(passes.hidden)])
    torch.testing.assert_close(passes.student.patches, module.student.tokens(images).patches)
    torch.testing.assert_close(passes.all_masked, module.student.tokens(images, full).patches)
    assert torch.equal(passes.masked, passes.all_masked[:2])


def test_masked_images_leave_running_statistics_alone() -> None:
    images, left = torch.rand(4, 3, 64, 64), []
    for beta in (0, 1):
        torch.manual_seed(0)
        module = DomainGeneralDistillation(TEACHER, EncoderSpec("resnet10t", None, 64), beta=beta).train()
        before = {name: value.clone() for name, value in module.student.named_buffers() if "running" in name}
        module.objective(module.passes(images, torch.arange(4)))
        left.append(dict(module.student.named_buffers()))
        assert all(not torch.equal(left[-1][name], value) for name, value in before.items())
    assert before
    for name, value in left[0].items():
        torch.testing.assert_close(left[1][name], value)


def test_a_batch_that_masks_nothing_is_refused() -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT)
    with pytest.raises(UserError, match=r"mask_probability: 0.5 of a batch of 1 per device is no image"):
        module.passes(torch.rand(1, 3, 32, 32), torch.arange(1))


def test_a_ratio_that_hides_nothing_is_refused() -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT, mask_ratio=0.05)
    with pytest.raises(UserError, match=r"mask_ratio: 0.05 of 16 patch tokens hides none"):
        module.passes(torch.rand(4, 3, 32, 32), torch.arange(4))


@pytest.mark.parametrize(
    ("sides", "told"),
    [
        ([32, 44], "vit_tiny_patch16_224: image size 44x44 is not a multiple of the patch size 8"),
        ([32, 48], "vit_tiny_patch16_224 is laid out for 32x32 images and got 48x48"),
    ],
)
def test_sizes_that_an_encoder_does_not_take_are_told_before_the_first_step(sides: list[int], told: str) -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT)
    module.teacher.module.fixed_size = True
    data = ProxyDataModule(MiniCityShapes(8), sides, 4)
    module._trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    with pytest.raises(UserError, match=told):
        module.setup("fit")


def test_masks_follow_the_size_of_the_images() -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT)
    data = ProxyDataModule(MiniCityShapes(8), [32, 48], 4)
    module._trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    module.setup("fit")
    assert data.in_workers is not None
    for side, tokens in ((32, 16), (48, 36)):
        batch = {"image": torch.zeros(4, 3, side, side), "key": torch.arange(4)}
        assert data.in_workers(batch)["mask"].shape == (2, tokens)


def test_stochastic_depth_draws_for_each_view() -> None:
    torch.manual_seed(0)
    spec = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={**STUDENT.options, "drop_path_rate": 0.5})
    module = DomainGeneralDistillation(TEACHER, spec).train()
    passes = module.passes(torch.rand(8, 3, 32, 32), torch.arange(8))
    assert passes.all_masked.shape == passes.student.patches.shape
    assert not torch.equal(passes.all_masked[4:], passes.student.patches[4:])
    module.eval()
    passes = module.passes(torch.rand(8, 3, 32, 32), torch.arange(8))
    torch.testing.assert_close(passes.all_masked[4:], passes.student.patches[4:])


@pytest.mark.parametrize("reference", [512, None])
def test_the_rate_never_rises(tmp_path: Path, reference: int | None) -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT, lr=5e-4, min_lr=1e-5, reference_batch_size=reference)
    fit(module, tmp_path, max_epochs=3)
    optimisation = module.configure_optimizers()
    base = optimisation["optimizer"].param_groups[0]["initial_lr"]
    rates = [base * optimisation["lr_scheduler"]["scheduler"].lr_lambdas[0](epoch) for epoch in range(5)]
    assert base == (5e-4 if reference is None else 5e-4 * 4 / 512)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(base / 50)


def test_a_ramp_needs_steps() -> None:
    with pytest.raises(UserError, match="warmup_steps: 5 needs schedule=step"):
        DomainGeneralDistillation(TEACHER, STUDENT, warmup_steps=5)


def test_a_diverged_student_is_not_handed_on(tmp_path: Path) -> None:
    module = DomainGeneralDistillation(TEACHER, STUDENT, lr=1e6, reference_batch_size=None)
    fit(module, tmp_path)
    with pytest.raises(UserError, match=r"student.safetensors: is not written, for .* the training diverged"):
        module.export(tmp_path / "artefact", {})
    assert not (tmp_path / "artefact" / "student.safetensors").exists()
