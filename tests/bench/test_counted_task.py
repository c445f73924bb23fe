"""What a stage-2 step does, counted: more floating point operations or host reads than these are a regression."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gkd_bench import inference, task
from gkd_bench.counting import Operations, counted
from gkd_bench.stock_head import stock_model
from gkd_bench.task import Step, StockStep, batch_of, task_module, vit_small
from gkd_bench.undone import UNDONE
from gkd_lightning.segment import criterion
from gkd_lightning.segment.chunks import FULL_VALUES
from gkd_lightning.segment.head import Mask2FormerConfig
from gkd_lightning.segment.matcher import match
from tests.segment.fake import SPEC

HEAD = Mask2FormerConfig(
    hidden_dim=32, encoder_layers=2, decoder_layers=3, heads=2, encoder_ffn=48, decoder_ffn=40, queries=24, points=30
)
SIZE = 64


def step(undone: str = "") -> Step:
    module = task_module(SPEC, HEAD)
    if undone:
        UNDONE[undone](module)
    module.train()
    return Step(module, module, batch_of(2, SIZE, "cpu"), "fp32")


@pytest.fixture(autouse=True)
def _own_match() -> Iterator[None]:
    yield
    vars(criterion)["match"] = match


class HostNumbers(TorchDispatchMode):
    """Tensors made of numbers on the host: on a GPU, sending one there stops the host unless it is told not to."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made += func._schema.name == "aten::lift_fresh"
        return func(*args, **(kwargs or {}))


FLOPS = 123_093_120
"""Of an image, forward and backward, in matrix products, convolutions and attention."""


def host_copies(work: Step, monkeypatch: pytest.MonkeyPatch) -> int:
    """Calls of `Tensor.cpu()` in a step: copies that a CPU run does not make and a GPU waits for."""
    calls: list[int] = []
    original = torch.Tensor.cpu
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "cpu", lambda self: calls.append(self.numel()) or original(self))
        work.step()
    return len(calls)


def test_operations_and_host_reads_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    work = step()
    work.step()  # fills the caches of positions
    assert counted(work.step) == {"flops_per_image": FLOPS, "host_reads": 0}
    assert host_copies(work, monkeypatch) == 1  # the matcher's costs
    with HostNumbers() as numbers:
        work.step()
    assert numbers.made == 5 + 1  # the matching, sent without waiting; uncertain points, chosen so on a CPU only


def test_a_step_in_bf16_is_few_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official head and a frozen ViT-S, four images, in a GPU's order; on a GPU two kernels do what sampling takes.

    Counted without compilation: views are left out, the optimiser's and the host's own operations are not.
    """
    monkeypatch.setattr("gkd_lightning.segment.chunks.CACHED_VALUES", FULL_VALUES)
    module = task_module(vit_small(64), Mask2FormerConfig(points=64))
    module.prepare(bf16=True)
    work = Step(module, module, batch_of(4, 64, "cpu"), "bf16")
    work.step()  # fills the caches of positions
    with Operations() as found:
        work.step()
    assert found.total <= 3000
    assert found.casts <= 80


def test_the_same_weights_give_the_same_logits_as_transformers() -> None:
    module = task_module(SPEC, HEAD)
    model = stock_model(module.segmenter).eval()
    images = batch_of(2, SIZE, "cpu")["image"]
    with torch.no_grad():
        ours = module.segmenter(images)
        theirs = model(images, output_auxiliary_logits=True)
    layers = [*theirs.auxiliary_logits, {"masks_queries_logits": theirs.masks_queries_logits}]
    assert len(layers) == len(ours.classes)
    for layer, found in enumerate(layers):
        torch.testing.assert_close(ours.masks(layer), found["masks_queries_logits"], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ours.classes[-1], theirs.class_queries_logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_transformers_step_runs_and_does_more(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = StockStep(task_module(SPEC, HEAD), batch_of(2, SIZE, "cpu"), precision)
    stock.step()
    count = counted(stock.step)
    assert count["flops_per_image"] > FLOPS
    assert count["host_reads"] >= HEAD.encoder_layers  # "is all of this finite?", and more in some of its releases
    assert host_copies(stock, monkeypatch) == 2 * (HEAD.decoder_layers + 1)  # image by image, layer by layer


@pytest.mark.parametrize("lever", UNDONE)
def test_every_lever_can_be_undone(lever: str) -> None:
    """With one undone, the step still starts from the same loss (but for other random points)."""
    with torch.no_grad():
        whole, part = (float(step(each).total()) for each in ("", lever))
    assert part == pytest.approx(whole, rel=0.05 if "losses" in lever else 1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_rows_have_names_of_their_own_and_targets_that_exist(device: str) -> None:
    for comparison in (*task.comparisons(device), *inference.comparisons(device)):
        names = [contender.name for contender in comparison.contenders]
        assert len(set(names)) == len(names)
        assert names[0].startswith("transformers'")
        for contender in comparison.contenders:
            module, _, function = contender.target.rpartition(":")
            signature = inspect.signature(getattr(importlib.import_module(module), function))
            signature.bind(device=device, **contender.options)


def test_the_evaluation_workload_counts_its_images() -> None:
    module = task_module(SPEC, HEAD)
    work = inference.Sliding(module.segmenter.eval(), batch_of(2, SIZE, "cpu")["image"], bf16=False)
    module.segmenter.window, module.segmenter.stride = 32, 21
    assert work.step() == 2
