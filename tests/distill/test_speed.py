"""Stage 1's switches for time and memory: the same numbers, the same keys, less of what they save."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import nn

from gkd_lightning.distill import DomainGeneralDistillation
from gkd_lightning.distill.ema import ExponentialMovingAverage
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
