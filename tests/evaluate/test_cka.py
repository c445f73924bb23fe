"""Linear CKA against hand-computed values, its invariances, and batches that change nothing; the linear map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.cka import LinearCKA
from gkd_lightning.evaluate.linear_map import LinearMap


def drawn(samples: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(width: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(drawn(width, width, seed))[0]


def linear_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Of one layer each, (n, p) and (n, q)."""
    cka = LinearCKA([first.shape[1]], [second.shape[1]])
    cka.add([first], [second])
    return float(cka.matrix()[0, 0])


def test_a_hand_computed_example() -> None:
    """X = (1, -1, 0), Y = ((1, 0), (0, 1), (-1, -1)): X'Y = (1, -1), |X'X| = 2, |Y'Y| = |((2, 1), (1, 2))| = √10."""
    x = torch.tensor([[1.0], [-1.0], [0.0]])
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    assert linear_cka(x, y) == pytest.approx(2 / (2 * 10**0.5))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 50))
def test_invariances(seed: int, first: int, second: int, factor: float) -> None:
    x, y = drawn(40, first, seed), drawn(40, second, seed + 1)
    expected = linear_cka(x, y)
    assert 0 <= expected <= 1 + 1e-9
    assert linear_cka(y, x) == pytest.approx(expected)
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(factor * x @ rotation(first, seed) + 3, y @ rotation(second, seed)) == pytest.approx(expected)


def test_a_stretched_axis_does_change_it() -> None:
    x, y = drawn(60, 4), drawn(60, 4) @ torch.diag(torch.tensor([10.0, 1, 1, 1], dtype=torch.float64))
    assert linear_cka(x, y) < 0.9


def test_unrelated_layers_are_near_0() -> None:
    assert linear_cka(drawn(4000, 8, 1), drawn(4000, 8, 2)) < 0.02


def test_batches_and_layers() -> None:
    first, second = [drawn(50, 3, 1), drawn(50, 5, 2)], [drawn(50, 4, 3), drawn(50, 3, 1) * 100 + 7]
    cka = LinearCKA([3, 5], [4, 3])
    for start, stop in ((0, 7), (7, 20), (20, 50)):
        cka.add([part[start:stop] for part in first], [part[start:stop] for part in second])
    expected = [[linear_cka(x, y) for y in second] for x in first]
    np.testing.assert_allclose(cka.matrix().numpy(), expected, rtol=1e-9)
    assert expected[0][1] == pytest.approx(1)


def test_large_means_do_not_drown_what_varies() -> None:
    x = drawn(100, 3)
    assert linear_cka((x + 1000).float(), x.float()) == pytest.approx(1, abs=1e-4)


def test_what_cannot_be_compared() -> None:
    cka = LinearCKA([2], [2])
    with pytest.raises(ValueError, match="no sample"):
        cka.matrix()
    with pytest.raises(ValueError, match="same samples"):
        cka.add([torch.ones(3, 2)], [torch.ones(4, 2)])
    assert linear_cka(torch.ones(5, 2), drawn(5, 2)) == 0  # a constant layer


def test_the_linear_map_finds_the_line_and_lets_gradients_pass() -> None:
    x, weight, bias = drawn(200, 5) * 4 + 2, drawn(5, 3, 1), drawn(1, 3, 2)[0]
    fit = LinearMap(5, 3, ridge=1e-9)
    for part in x.split(33):
        fit.add(part, part @ weight + bias)
    line = fit.solve()
    torch.testing.assert_close(line.weight, weight, rtol=1e-5, atol=1e-6)
    tokens = torch.ones(2, 5, requires_grad=True)
    mapped = line(tokens)
    mapped.sum().backward()
    torch.testing.assert_close(mapped[0].double(), weight.sum(0) + bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(tokens.grad[0].double(), weight.sum(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="no token"):
        LinearMap(2, 2).solve()
    with pytest.raises(UserError, match="ridge: 0"):
        LinearMap(2, 2, ridge=0)
