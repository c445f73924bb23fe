"""Stage 1's switches for time and memory: the same numbers, the same keys, less of what they save."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from gkd_lightning.data import DistillAugmentation, MiniCityShapes, ProxyDataModule
from gkd_lightning.distill import DomainGeneralDistillation
from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.distill.health import DistillationHealth
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.errors import UserError

SMALL = {"embed_dim": 16, "depth": 4, "num_heads": 2}
STUDENT = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options=SMALL)
TEACHER = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={**SMALL, "embed_dim": 24})
CNN = EncoderSpec("resnet10t", None, 32)


def module(**options: Any) -> DomainGeneralDistillation:
    torch.manual_seed(0)
    return DomainGeneralDistillation(TEACHER, STUDENT, **options)


def loss_gradients_and_kept_bytes(made: DomainGeneralDistillation) -> tuple[float, list[torch.Tensor], int]:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    weights = {parameter.untyped_storage().data_ptr() for parameter in made.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = made.train().dry_step(images)
    loss.backward()
    gradients = [each.grad for each in made.parameters() if each.grad is not None]
    return loss.item(), gradients, sum(size for pointer, size in kept.items() if pointer not in weights)


def test_recomputed_activations_change_no_number_and_are_not_kept() -> None:
    loss, gradients, kept = loss_gradients_and_kept_bytes(module())
    again, recomputed, less = loss_gradients_and_kept_bytes(module(activation_checkpointing=True))
    assert again == loss
    assert len(recomputed) == len(gradients)
    for one, other in zip(gradients, recomputed, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    # Beside what hooks see, every block keeps its input: 6 images of 17 tokens, 16 channels, 4 bytes.
    assert less + SMALL["depth"] * 6 * 17 * 16 * 4 < 0.5 * kept


def test_switches_want_a_plain_transformer() -> None:
    with pytest.raises(UserError, match=r"activation_checkpointing: resnet10t is no plain transformer; set it to"):
        DomainGeneralDistillation(TEACHER, CNN, activation_checkpointing=True)
    with pytest.raises(UserError, match=r"compile: resnet10t and resnet10t has no transformer blocks"):
        DomainGeneralDistillation(CNN, CNN, compile=True).prepare(bf16=False)


def test_compiling_is_asked_of_every_block_and_renames_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    made = module(compile=True)
    keys = list(made.state_dict())
    made.prepare(bf16=False)
    assert compiled == [*made.teacher.module.model.blocks, *made.student.model.blocks]
    assert list(made.state_dict()) == keys
    compiled.clear()
    module().prepare(bf16=False)
    assert not compiled


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"compile: needs a C\+\+ compiler"):
        module(compile=True).prepare(bf16=False)


@pytest.mark.slow
def test_compiled_blocks_give_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced, split into forward and backward and run without a compiler, which would take a minute.
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_module(self, backend="aot_eager"))
    loss, gradients, _ = loss_gradients_and_kept_bytes(module())
    made = module(compile=True, activation_checkpointing=True)
    keys = list(made.state_dict())
    made.prepare(bf16=False)
    again, compiled, _ = loss_gradients_and_kept_bytes(made)
    assert again == pytest.approx(loss, rel=1e-5)
    for one, other in zip(gradients, compiled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert list(made.state_dict()) == keys


def test_the_average_of_all_tensors_at_once_is_that_of_each() -> None:
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = ExponentialMovingAverage(student, 0.9)
    expected = {key: value.clone() for key, value in ema.module.state_dict().items()}
    for step in range(3):
        with torch.no_grad():
            for value in student.state_dict().values():
                value.add_(step + 1)
        ema.update(student)
        for key, value in student.state_dict().items():
            moved = expected[key] * 0.9 + 0.1 * value if value.is_floating_point() else value
            expected[key] = moved.clone()
    for key, value in ema.module.state_dict().items():
        torch.testing.assert_close(value, expected[key])
    assert ema.module[1].num_batches_tracked == 6  # type: ignore[index]


def test_the_average_follows_tensors_that_are_replaced() -> None:
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = ExponentialMovingAverage(student, 0.5)
    ema.update(student)
    both = nn.ModuleList([student, ema])
    both.double()  # buffers become other tensors
    student.load_state_dict({key: torch.ones_like(value) for key, value in student.state_dict().items()}, assign=True)
    before = {key: value.clone() for key, value in ema.module.state_dict().items()}
    ema.update(student)
    for key, value in ema.module.state_dict().items():
        expected = 0.5 * before[key] + 0.5 if value.is_floating_point() else torch.ones_like(value)
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    ema.update(other)
    assert torch.equal(ema.module[0].bias, 0.5 * (0.5 * before["0.bias"] + 0.5) + 0.5 * other[0].bias)


def test_health_is_measured_in_logged_steps() -> None:
    health = DistillationHealth(50)
    due = [step for step in range(10, 200, 10) if health.due(step, 10)]
    assert due == [10, 60, 110, 160]
    assert [step for step in range(7, 140, 7) if health.due(step, 7)] == [7, 63, 112]
    assert all(DistillationHealth(1).due(step, 10) for step in range(10, 50, 10))
    assert not DistillationHealth(0).due(10, 10)


def test_masks_are_drawn_by_the_workers_as_in_the_step(tmp_path: Path) -> None:
    class Seen(L.Callback):
        def __init__(self) -> None:
            self.batches: list[dict[str, Any]] = []

        def on_train_batch_start(self, trainer: L.Trainer, made: L.LightningModule, batch: Any, index: int) -> None:
            self.batches.append(batch)

    def fit(augmentation: DistillAugmentation, **options: Any) -> tuple[DomainGeneralDistillation, Seen]:
        made, seen = module(schedule="step", reference_batch_size=None, **options), Seen()
        data = ProxyDataModule(MiniCityShapes(8), 32, 4, num_workers=1, augmentation=augmentation)
        L.Trainer(
            max_steps=3, max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[seen],
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
            use_distributed_sampler=False,
        ).fit(made, data)  # fmt: skip
        return made, seen

    for on_device in (False, True):
        made, seen = fit(DistillAugmentation(on_device=on_device))
        assert len(seen.batches) == 3
        for batch in seen.batches:
            assert torch.equal(batch["mask"], made.passes(batch["image"], batch["key"]).hidden)
    _, unmasked = fit(DistillAugmentation(), beta=0)
    assert "mask" not in unmasked.batches[0]
