"""A step without values counts what the step with values does and keeps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import lightning as L
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from gkd_lightning.chain.operation_counts import HalfProducts, MetaOperations, SavedActivations
from gkd_lightning.distill import DomainGeneralDistillation
from gkd_lightning.flops import flop_counter
from gkd_lightning.segment import TaskLearning, lean
from gkd_lightning.segment.sampling import plain_samples
from tests.chain.artefacts import HEAD, spec

MODULES: dict[str, Callable[[], L.LightningModule]] = {
    "stage 1": lambda: DomainGeneralDistillation(spec(48), spec()),
    "stage 2, frozen": lambda: TaskLearning(spec(), 8, head=HEAD, window=32, stride=32),
    "stage 2, trained": lambda: TaskLearning(spec(), 8, head=HEAD, window=32, stride=32, freeze_encoder=False),
}


def kept_on_the_cpu(module: L.LightningModule, images: torch.Tensor) -> int:
    """Bytes that autograd really keeps; without the step's graph nothing would hold them."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        module.dry_step(images)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("name", MODULES)
def test_counts_are_those_of_a_real_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Deformable attention keeps its arguments alone, as its kernels on a GPU do.
    monkeypatch.setattr(lean, "deformable_samples", partial(checkpoint, plain_samples, use_reentrant=True))
    real = MODULES[name]()
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    kept = kept_on_the_cpu(real, images)
    with flop_counter() as measured:
        real.dry_step(images).backward()
    for _ in range(2):  # worked out, and remembered
        with torch.device("meta"), MetaOperations():
            module = MODULES[name]()
        module.to("meta")
        with MetaOperations() as counted:
            with SavedActivations([*module.parameters(), *module.buffers()]) as saved:
                loss = module.dry_step(images.to("meta"))
            loss.backward()
        assert loss.is_meta
        assert all(value.grad is None or value.grad.shape == value.shape for value in module.parameters())
        assert counted.flops == pytest.approx(
            measured.get_total_flops(), rel=0.1
        )  # a kernel may compute attention anew
        assert saved.bytes == pytest.approx(kept, rel=0.03)  # softmax statistics of the kernel


def test_a_layer_by_hand() -> None:
    with torch.device("meta"):
        layer, x = nn.Linear(3, 5), torch.empty(2, 3, requires_grad=True)
    with MetaOperations() as counted:
        with SavedActivations([*layer.parameters()]) as saved:
            y = layer(x).relu()
        y.sum().backward()
    assert counted.flops == 3 * 2 * (2 * 3 * 5)
    assert saved.bytes == 4 * (2 * 3 + 2 * 5)  # the input, and relu's output; the weight is there anyway
    with torch.inference_mode(), MetaOperations() as counted:
        assert layer(x).shape == (2, 5)
    assert counted.flops == 2 * 2 * 3 * 5


def test_views_and_real_tensors_are_never_remembered() -> None:
    with MetaOperations():
        x = torch.zeros(2, 3, device="meta")
        assert x.t().untyped_storage() is x.untyped_storage()
        assert x.unsqueeze_(0).shape == (1, 2, 3)
        assert [(torch.ones(2) * value).sum().item() for value in (1, 3)] == [2, 6]


def test_bf16_by_hand() -> None:
    """Products take and give two bytes a value, the norm reads and keeps four; copies of weights are left out."""
    with torch.device("meta"):
        norm, up, down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        x = torch.empty(2, 3, 8, requires_grad=True)
    saved = SavedActivations([*norm.parameters(), *up.parameters(), *down.parameters()])
    with MetaOperations(), saved, HalfProducts(saved):
        y = x + down(nn.functional.gelu(up(norm(x))))
    assert y.dtype == torch.float32  # the residual stream
    statistics, tokens = 2 * 4, 6
    assert saved.bytes == tokens * (8 * 4 + statistics + 8 * 2 + 16 * 2 + 16 * 2)
