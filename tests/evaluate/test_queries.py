"""Which patches ask, and what is said about their attention."""

from __future__ import annotations

import pytest
import torch

from gkd_lightning.evaluate.queries import attention_agreement, choose_queries, mean_distance, row_entropy


def test_entropy_is_0_for_one_token_and_1_for_all() -> None:
    attention = torch.stack([torch.eye(16)[3], torch.full((16,), 1 / 16)])
    assert row_entropy(attention).tolist() == pytest.approx([0, 1])


def test_the_surest_and_the_most_undecided_keep_apart() -> None:
    entropy = torch.full((144,), 0.5)
    entropy[[0, 1, 13, 60]] = torch.tensor([0.0, 0.01, 0.02, 0.1])  # the first three are neighbours
    entropy[[143, 5]] = torch.tensor([1.0, 0.9])
    assert choose_queries(entropy, (12, 12), "confident", 2) == [(0, 0), (5, 0)]
    assert choose_queries(entropy, (12, 12), "diffuse", 2) == [(11, 11), (0, 5)]


@pytest.mark.parametrize(("grid", "count"), [((12, 12), 4), ((12, 12), 1), ((3, 20), 6), ((2, 2), 9)])
def test_a_regular_grid(grid: tuple[int, int], count: int) -> None:
    places = choose_queries(torch.zeros(grid[0] * grid[1]), grid, "grid", count)
    assert len(places) == len(set(places)) == min(count, grid[0] * grid[1])
    assert all(0 <= row < grid[0] and 0 <= column < grid[1] for row, column in places)
    if (grid, count) == ((12, 12), 4):
        assert places == [(3, 3), (3, 9), (9, 3), (9, 9)]


def test_distances_in_patches() -> None:
    attention = torch.zeros(12, 12)
    attention[0, 0] = attention[0, 3] = 0.5  # a grid of 3 x 4: the query itself, and the end of its row
    attention[5, 1] = 1.0  # (1, 1) looks at (0, 1)
    assert mean_distance(attention, (3, 4))[[0, 5]].tolist() == pytest.approx([1.5, 1.0])


def test_agreement_is_a_correlation() -> None:
    similarity = torch.tensor([[0.1, 0.4, 0.9], [0.1, 0.4, 0.9], [0.1, 0.4, 0.9]])
    attention = torch.stack([similarity[0] / 1.4, (1 - similarity[0]) / 1.6, torch.full((3,), 1 / 3)])
    assert attention_agreement(attention, similarity).tolist() == pytest.approx([1, -1, 0], abs=1e-6)
