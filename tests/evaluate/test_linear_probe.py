"""The closed-form probe against a planted map and against a direct solution."""

from __future__ import annotations

import pytest
import torch

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.linear_probe import LinearProbe, class_shares


def tokens(count: int = 40, dim: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, count, dim, generator=generator) * torch.tensor([1, 10, 0.1, 3, 1, 1.0][:dim]) + 2


def test_shares_of_a_patch() -> None:
    labels = torch.tensor([[[0, 0, 1, 255], [0, 2, 1, 255]]])
    shares = class_shares(labels, (1, 2), 3)
    assert torch.equal(shares, torch.tensor([[[0.75, 0, 0.25], [0, 0.5, 0]]]))


def test_a_planted_map_is_found() -> None:
    x = tokens()
    planted = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).double() * 0.01
    planted -= planted.mean(1, keepdim=True)  # so that the shares of a patch sum to 1
    shares = x.double() @ planted + 1 / 3
    probe = LinearProbe(6, 3, ridge=1e-9)
    probe.add(x, shares)
    weight, bias = probe.solve()
    torch.testing.assert_close(x.double() @ weight + bias, shares, atol=1e-5, rtol=0)
    torch.testing.assert_close(weight, planted, atol=1e-5, rtol=0)


def test_the_same_as_direct_least_squares_in_any_order_of_batches() -> None:
    x = tokens()
    labels = torch.randint(0, 3, (4, 8, 20), generator=torch.Generator().manual_seed(2))
    labels[0, :3] = 255
    shares = class_shares(labels, (4, 10), 3)
    one, many = LinearProbe(6, 3, 1e-10), LinearProbe(6, 3, 1e-10)
    one.add(x, shares)
    for index in (2, 0, 3, 1):
        many.add(x[index : index + 1], shares[index : index + 1])
    weights = shares.sum(-1).flatten().double()
    design = torch.cat([x.flatten(0, 1).double(), torch.ones(160, 1, dtype=torch.float64)], 1)
    target = shares.flatten(0, 1).double() / weights.clamp_min(1e-12)[:, None]
    root = weights.sqrt()[:, None]
    direct = torch.linalg.lstsq(design * root, target * root).solution
    for probe in (one, many):
        weight, bias = probe.solve()
        torch.testing.assert_close(torch.cat([weight, bias[None]]), direct, atol=1e-6, rtol=1e-6)


def test_prediction_has_the_labels_size_and_the_right_class() -> None:
    x = torch.zeros(1, 4, 2)
    x[0, :2, 0], x[0, 2:, 1] = 1, 1  # upper row is class 0, lower row is class 1
    labels = torch.tensor([0, 0, 0, 1, 1, 1]).view(1, 6, 1).expand(1, 6, 8)
    probe = LinearProbe(2, 2, 1e-3)
    probe.add(x, class_shares(labels, (2, 2), 2))
    assert torch.equal(probe.solve().predict(x, (2, 2), (6, 8)), labels)


def test_a_constant_channel_and_an_absent_class_are_no_problem() -> None:
    x = tokens()
    x[..., 3] = 7
    probe = LinearProbe(6, 5)
    probe.add(x, class_shares(torch.randint(0, 3, (4, 8, 20)), (4, 10), 5))
    assert all(torch.isfinite(part).all() for part in probe.solve())


def test_mistakes() -> None:
    with pytest.raises(UserError, match="ridge"):
        LinearProbe(2, 2, 0.0)
    probe = LinearProbe(6, 3)
    probe.add(tokens(), class_shares(torch.full((4, 8, 20), 255), (4, 10), 3))
    with pytest.raises(UserError, match="none of its training images"):
        probe.solve()
