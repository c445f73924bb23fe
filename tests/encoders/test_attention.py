"""Attention on a CPU: fused, tiled or plain, by precision and length; always the same numbers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from gkd_lightning.encoders import EncoderSpec, build_encoder, checkpoint_activations
from gkd_lightning.encoders.attention import TiledAttention, suit_attention, tiled_attention

STUDENT = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 16, "depth": 4, "num_heads": 2})


@pytest.mark.parametrize(
    ("side", "autocast", "fused", "tiled"),
    [
        (128, False, True, False),
        (128, True, True, True),
        (96, False, True, False),
        (96, True, False, False),
        (32, False, False, False),
    ],
)
def test_attention_on_a_cpu_follows_precision_and_length(side: int, autocast: bool, fused: bool, tiled: bool) -> None:
    def chosen() -> set[tuple[bool, bool]]:
        return {(block.attn.fused_attn, "forward" in vars(block.attn)) for block in encoder.model.blocks}

    encoder = build_encoder(STUDENT)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        encoder.tokens(torch.rand(1, 3, side, side))
    assert chosen() == {(fused, tiled)}
    encoder.model.to(torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        encoder.tokens(torch.rand(1, 3, 128, 128))
    assert chosen() == {(True, True)}
    encoder.model.to(torch.float32)
    with torch.no_grad():
        encoder.tokens(torch.rand(1, 3, 128, 128))
    assert chosen() == {(True, False)}
    encoder.model.blocks[0].compile()  # lazily: nothing is compiled before a pass
    suit_attention(encoder.model.to(torch.bfloat16), torch.device("cpu"), 256)
    assert chosen() == {(False, False)}


@pytest.mark.parametrize("recomputed", [False, True])
def test_attention_in_tiles_is_plain_attention_in_bf16(recomputed: bool) -> None:
    def trained(tokens: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(0)
        encoder = build_encoder(STUDENT)
        if recomputed:
            checkpoint_activations(encoder)
        with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
            patch.setattr("gkd_lightning.encoders.attention._WORTH_TILING", tokens)
            patches = encoder.tokens(torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))).patches
        patches.float().square().mean().backward()
        learning = [each.grad for each in encoder.parameters() if each.grad is not None]
        assert len(learning) > 20
        return patches, learning

    (plain, plain_gradients), (tiled, tiled_gradients) = trained(10**9), trained(144)
    assert torch.equal(tiled, plain)
    for ours, theirs in zip(tiled_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02 * float(theirs.abs().max()))


def test_tiles_of_heads_give_the_gradients_of_softmax_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkd_lightning.encoders.attention._TILE", 2 * 7 * 9 * 8)  # two of six heads at a time
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 7, 4), (2, 3, 9, 4), (2, 3, 9, 4))
    qkv = [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]
    torch.testing.assert_close(tiled_attention(*qkv), F.scaled_dot_product_attention(*qkv))
    assert torch.autograd.gradcheck(tiled_attention, qkv)


def test_only_plain_attention_is_tiled() -> None:
    qkv = [torch.rand(1, 2, 5, 4) for _ in range(3)]
    seen = torch.ones(5, 5, dtype=torch.bool).tril()
    expected = F.scaled_dot_product_attention(*qkv, attn_mask=seen)
    with TiledAttention():
        torch.testing.assert_close(F.scaled_dot_product_attention(*qkv, attn_mask=seen), expected)
        torch.testing.assert_close(F.scaled_dot_product_attention(*qkv, is_causal=True), expected)
        scaled = F.scaled_dot_product_attention(*qkv, scale=0.1)
    torch.testing.assert_close(scaled, F.scaled_dot_product_attention(*qkv, scale=0.1))


def test_a_copy_of_an_encoder_that_ran_in_tiles_attends_by_itself() -> None:
    encoder = build_encoder(STUDENT)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        encoder.tokens(images)
        copied = copy.deepcopy(encoder)
        assert copied.model.blocks[0].attn.forward.__self__ is copied.model.blocks[0].attn  # type: ignore[union-attr]
        torch.nn.init.zeros_(copied.model.blocks[0].attn.qkv.weight)  # type: ignore[union-attr, arg-type]
        assert not torch.equal(copied.tokens(images).patches, encoder.tokens(images).patches)


def test_a_model_that_ran_on_a_cpu_attends_on_a_gpu_as_timm_chose() -> None:
    encoder = build_encoder(STUDENT)
    encoder.model.blocks[1].attn.fused_attn = False  # as timm chooses for layers that the fused kernel cannot compute
    chosen = [block.attn.fused_attn for block in encoder.model.blocks]
    for side in (32, 128):  # plain, then in tiles
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            encoder.tokens(torch.rand(1, 3, side, side))
        ran = [block.attn.fused_attn for block in encoder.model.blocks]
        assert ran == [side == 128] * 4
        for _ in range(2):  # pass after pass
            suit_attention(encoder.model, torch.device("cuda"), (side // 8) ** 2)
            assert [block.attn.fused_attn for block in encoder.model.blocks] == chosen
            assert not any("forward" in vars(block.attn) for block in encoder.model.blocks)
