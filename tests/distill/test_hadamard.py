"""Hadamard matrices for the widths of encoders."""

from __future__ import annotations

import numpy as np
import pytest

from gkd_lightning.distill.hadamard import hadamard

WIDTHS = [1, 2, 4, 12, 20, 24, 36, 76, 96, 192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 1024, 1152, 1280, 1408,
          1536, 1664, 1792, 2048]  # fmt: skip


@pytest.mark.parametrize("order", WIDTHS)
def test_rows_are_orthogonal(order: int) -> None:
    matrix = hadamard(order)
    assert matrix is not None
    assert set(np.unique(matrix)) <= {-1.0, 1.0}
    assert np.array_equal(matrix @ matrix.T, order * np.eye(order))


@pytest.mark.parametrize("order", [0, 3, 6, 14, 50, 92, 188])
def test_orders_that_are_out_of_reach(order: int) -> None:
    assert hadamard(order) is None
