"""Recorded passes on a card: the numbers of the function itself, and no silent use of memory that was overwritten."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gkd_lightning.segment.captured import Captured
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.mask2former import Mask2FormerConfig
from gkd_lightning.segment.pyramid import Level

pytestmark = pytest.mark.gpu

SMALL = Mask2FormerConfig(
    hidden_dim=64, encoder_layers=2, decoder_layers=3, heads=4, encoder_ffn=64, decoder_ffn=64, queries=20, points=30
)


def network(device: str) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(device)


def called(captured: Captured, layers: nn.Sequential, images: Tensor) -> Tensor:
    return captured(lambda each: (layers(each),), [images], list(layers.parameters()))[0]


def test_gradients_add_up_as_they_do_without_a_recording(device: str) -> None:
    plain = network(device)
    layers = copy.deepcopy(plain)
    captured = Captured()
    for seed in range(4):
        images = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)).to(device).requires_grad_()
        same = images.detach().clone().requires_grad_()
        expected, found = plain(images), called(captured, layers, same)
        torch.testing.assert_close(found, expected)
        expected.square().sum().backward()
        found.square().sum().backward()
        torch.testing.assert_close(same.grad, images.grad)
        for own, other in zip(layers.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad)
            if seed > 1:  # two batches are accumulated, then two steps of one
                with torch.no_grad():
                    own -= 0.1 * own.grad
                    other -= 0.1 * other.grad
                own.grad = other.grad = None


def test_what_does_not_fit_the_recording_is_computed_as_ever(device: str) -> None:
    layers, captured = network(device), Captured()
    images = torch.randn(3, 8, device=device)
    called(captured, layers, images)
    more = torch.randn(5, 8, device=device)
    first, second = called(captured, layers, more), called(captured, layers, more + 1)
    torch.testing.assert_close(first, layers(more))
    torch.testing.assert_close(second, layers(more + 1))
    first.sum().backward()
    with torch.no_grad():
        torch.testing.assert_close(called(captured, layers, images), layers(images))


def test_parameters_elsewhere_are_recorded_anew(device: str) -> None:
    layers, captured = network(device), Captured()
    images = torch.randn(3, 8, device=device)
    called(captured, layers, images)
    moved = copy.deepcopy(layers)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(called(captured, moved, images), moved(images))


def test_a_pass_whose_memory_was_used_again_is_not_differentiated(device: str) -> None:
    if device == "cpu":
        pytest.skip("nothing is recorded on a CPU")
    layers, captured = network(device), Captured()
    images = torch.randn(3, 8, device=device)
    first = called(captured, layers, images).sum()
    called(captured, layers, images + 1)
    with pytest.raises(RuntimeError, match="once, before the next one begins"):
        first.backward()
    once = called(captured, layers, images).sum()
    once.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once, before the next one begins"):
        once.backward()


def answer(head: Mask2FormerHead, maps: list[Tensor], bf16: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradients of maps and parameters of a sum of them."""
    own = [each.clone().requires_grad_() for each in maps]
    with torch.autocast(maps[0].device.type, torch.bfloat16, enabled=bf16):
        output = head([Level(each, scale) for each, scale in zip(own, (4, 2, 1, 0.5), strict=True)])
    torch.stack([each.float().square().mean() for each in output]).sum().backward()
    return list(output), [each.grad for each in (*own, *head.parameters()) if each.grad is not None]


@pytest.mark.parametrize("bf16", [False, True])
def test_the_head_learns_as_without_a_recording(device: str, bf16: bool) -> None:
    torch.manual_seed(0)
    plain = Mask2FormerHead([32] * 4, 5, SMALL).to(device)
    head = copy.deepcopy(plain)
    head._captured = Captured()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        maps = [torch.randn(2, 32, 8, 8, generator=generator).to(device) for _ in range(4)]
        (expected, by), (found, of) = answer(plain, maps, bf16), answer(head, maps, bf16)
        assert len(of) == len(by) == len(maps) + len(list(plain.parameters()))
        for one, other in zip([*found, *of], [*expected, *by], strict=True):
            # A mask's value next to 0 may fall on the other side: sums come in any order.
            apart, length = (float(each.detach().norm()) for each in (one - other, other))
            assert apart <= (0.1 if bf16 else 1e-3) * length + 1e-6
        with torch.no_grad():
            for own, other in zip(head.parameters(), plain.parameters(), strict=True):
                other -= 0.05 * other.grad
                own.copy_(other)
        plain.zero_grad()
        head.zero_grad()
