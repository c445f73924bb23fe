"""Two processes (gloo) with two teachers follow one process with the whole batch: statistics, dropping, gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from gkd_lightning.data.keys import sample_key
from gkd_lightning.distill import Distillation, TeacherSpec
from gkd_lightning.distill.distillation import freeze_unreached
from tests.distill.test_module import STUDENT, TEACHER
from tests.distill.test_several_teachers import OTHER, built

STEPS = 6


class Step(nn.Module):
    """What a trainer does in a step, without one."""

    def __init__(self, module: Distillation) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        passes = self.module.passes(images, keys)
        return self.module.objective.loss(self.module.objective(passes), passes)


def trained(balance: Any, rank: int = 0, ranks: int = 1) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and state after a few steps on every `ranks`-th image, from image `rank` on."""
    torch.set_num_threads(1)
    teachers = {
        "near": TeacherSpec(TEACHER, standardise="phi_s", statistics_steps=4),  # 32 class tokens of 24 channels
        "far": TeacherSpec(OTHER, 0.5, input_size=48, standardise="mean_std", statistics_steps=2),
    }
    module = built(teachers, balance=balance)
    freeze_unreached(module)
    step: nn.Module = Step(module)
    if ranks > 1:  # stops in the second step if a parameter has got no gradient in the first
        step = DistributedDataParallel(step, broadcast_buffers=False)
    optimizer = torch.optim.SGD([value for value in module.parameters() if value.requires_grad], lr=0.05)
    losses = []
    for number in range(STEPS):
        generator = torch.Generator().manual_seed(number)
        images = torch.randint(0, 256, (8, 3, *STUDENT.hw), dtype=torch.uint8, generator=generator)  # type: ignore[misc]
        keys = torch.tensor([sample_key(0, number, position) for position in range(8)])
        module.objective.begin_step(number)
        optimizer.zero_grad()
        loss = step(images[rank::ranks], keys[rank::ranks])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {key: value.detach() for key, value in module.state_dict().items()}


def _rank(rank: int, folder: str, balance: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(trained(balance, rank, 2), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("balance", ["dropping", "magnitude"])
def test_two_ranks_follow_one(balance: str, tmp_path: Path) -> None:
    losses, state = trained(balance)
    multiprocessing.start_processes(_rank, (str(tmp_path), balance), nprocs=2, start_method="fork")
    (first, mine), (second, theirs) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first != second  # each has images of its own
    assert [(a + b) / 2 for a, b in zip(first, second, strict=True)] == pytest.approx(losses, rel=1e-5)
    for key, value in state.items():
        assert torch.equal(mine[key], theirs[key]) or key.endswith("pending"), key
        if key.endswith(("mean", "scatter", "count")):
            torch.testing.assert_close(mine[key], value, rtol=1e-10, atol=1e-10)
        elif not key.endswith("pending"):
            torch.testing.assert_close(mine[key], value, rtol=1e-3, atol=1e-5)
