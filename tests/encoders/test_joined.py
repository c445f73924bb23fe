"""Queries in a transformer's last blocks: what they see, what sees them, what stays as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gkd_lightning.encoders import EncoderSpec, Joining, build_encoder
from tests.segment.fake import SPEC

KINDS = {
    "vit": SPEC,
    "without a class token": replace(SPEC, options={**SPEC.options, "class_token": False}),
    "registers": replace(SPEC, options={**SPEC.options, "reg_tokens": 4}),
}


def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_before_are_those_of_the_encoder_and_later_ones_see_the_queries(kind: str) -> None:
    encoder = build_encoder(KINDS[kind]).eval()
    queries = torch.randn(5, 24)
    inputs: dict[int, Tensor] = {}
    for index, block in enumerate(encoder.model.blocks):
        block.register_forward_pre_hook(lambda _, given, index=index: inputs.update({index: given[0]}))
    with torch.no_grad():
        plain, alone = encoder(images(), [0, 1, 2, 3])
        before = inputs[2]
        tokens, maps = encoder(images(), [3, 1, 0, 2], joining=Joining(queries, 2))
        expected = torch.cat([before, queries.expand(2, -1, -1)], 1)
        assert inputs[2].equal(expected)
        for block, found in zip(encoder.model.blocks[2:], tokens.joined, strict=True):
            expected = block(expected)
            assert found.equal(expected[:, -5:])
        last = expected[:, encoder.model.num_prefix_tokens : -5]
        torch.testing.assert_close(tokens.patches, encoder.model.norm(last))
    assert maps[0].flatten(2).mT.equal(last)  # in the order that was asked for
    assert maps[1].equal(alone[1])
    assert maps[2].equal(alone[0])
    assert not maps[3].allclose(alone[2], atol=1e-3)
    assert tokens.grid == plain.grid == (4, 6)
    assert plain.joined == ()
    assert not tokens.patches.allclose(plain.patches, atol=1e-3)


def test_rotary_positions_cannot_be_joined() -> None:
    small = {"embed_dim": 48, "depth": 4, "num_heads": 2}
    with torch.device("meta"):
        assert not build_encoder(
            EncoderSpec("eva02_tiny_patch14_224", image_size=32, patch_size=8, options=small)
        ).can_be_joined
        assert build_encoder(SPEC).can_be_joined
