"""Queries that are made of the tokens of all blocks: the formula, and whom a gradient reaches."""

from __future__ import annotations

import torch

from gkd_lightning.encoders import LinkedQueries, Refinement, add_refinement, build_encoder, refining_tokens
from tests.segment.fake import SPEC


def test_two_blocks_by_hand() -> None:
    """D = C = 1, N = 2, m = 2: 2 T + 1 is (3, -1) and (7, 3); the most, the mean and the last make 100, 10 and 1."""
    link = LinkedQueries(1, 1)
    with torch.no_grad():
        link.project.weight.fill_(2)
        link.project.bias.fill_(1)
        link.join.weight.copy_(torch.tensor([[100.0, 10.0, 1.0]]))
        link.join.bias.fill_(0.5)
        queries = link(torch.tensor([[[3.0], [1.0]], [[1.0], [-1.0]]]))
    first = 100 * 7 + 10 * (7 + 3) / 2 + 3 + 0.5
    second = 100 * 3 + 10 * (3 - 1) / 2 - 1 + 0.5
    torch.testing.assert_close(queries, torch.tensor([[first], [second]]))


def test_every_block_gets_a_gradient() -> None:
    encoder = build_encoder(SPEC)
    add_refinement(encoder, Refinement(tokens=5, rank=2))
    drawn = torch.get_rng_state()
    link = LinkedQueries(24, 8)
    assert torch.get_rng_state().equal(drawn)  # what is drawn next is that of a run without
    tokens = refining_tokens(encoder)
    for index, block in enumerate(encoder.model.blocks):
        assert tokens[index].equal(block.refining_tokens())
    queries = link(tokens)
    assert tuple(queries.shape) == (5, 8)
    queries.square().sum().backward()
    learning = [*link.parameters(), *(p for b in encoder.model.blocks for p in b.refining_tokens.parameters())]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in learning)
