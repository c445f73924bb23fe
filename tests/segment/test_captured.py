"""Where nothing can be recorded; on a card, see `tests/gpu/test_captured.py`."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import Tensor

from gkd_lightning.segment import Mask2FormerHead
from gkd_lightning.segment.captured import Captured
from tests.segment.test_module import module


def test_on_a_cpu_the_function_is_called_each_time() -> None:
    weight = torch.ones(3, requires_grad=True)
    calls: list[Tensor] = []

    def function(images: Tensor) -> tuple[Tensor, ...]:
        calls.append(images)
        return (images * weight,)

    captured = Captured()
    for factor in (1.0, 2.0):
        images = torch.full((3,), factor)
        (found,) = captured(function, [images], [weight])
        found.sum().backward()
    assert len(calls) == 2
    assert weight.grad is not None
    assert weight.grad.tolist() == [3.0, 3.0, 3.0]


def test_a_copy_of_a_model_records_its_own() -> None:
    captured = Captured()
    captured._recording = object()  # type: ignore[assignment]
    for copied in (copy.deepcopy(captured), pickle.loads(pickle.dumps(captured))):
        assert copied._recording is None


def test_what_was_recorded_ends_with_the_training() -> None:
    learning = module()
    head = learning.segmenter.head
    assert isinstance(head, Mask2FormerHead)
    head.compile_parts()
    assert head._captured is not None
    learning.teardown("fit")
    assert head._captured is None
