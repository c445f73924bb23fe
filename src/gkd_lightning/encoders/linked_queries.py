"""Queries for a head, made of the tokens that refine an encoder's blocks (Rein, arXiv 2312.04265, section 3.3).

Written from the paper's formulas: a token of every block answers for the same instances as the query of its number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinkedQueries(nn.Module):
    """``Q = [max_i Q_i, mean_i Q_i, Q_N] W + b`` over the N blocks, with ``Q_i = T_i W_q + b_q``.

    All blocks share both layers. With 256-wide queries they are 0.46 M of the paper's 2.99 M for DINOv2-L.

    Args:
        width: D, of the tokens.
        query_width: C, of the queries.
    """

    def __init__(self, width: int, query_width: int) -> None:
        super().__init__()
        # Drawn aside: what is drawn after it is that of a run without.
        with torch.random.fork_rng(devices=[]):
            self.project = nn.Linear(width, query_width)
            self.join = nn.Linear(3 * query_width, query_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, m, D) tokens, those of the last block last, to (m, C)."""
        each = self.project(tokens)
        queries: Tensor = self.join(torch.cat([each.amax(0), each.mean(0), each[-1]], dim=-1))
        return queries
