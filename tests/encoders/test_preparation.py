"""Weights of frozen networks in bf16: autocast's own numbers, and nothing lost of what was loaded."""

from __future__ import annotations

import pytest
import torch

from gkd_lightning.encoders import (
    EncoderSpec,
    Frozen,
    LowRank,
    PartlyFrozen,
    adamw,
    add_low_rank,
    build_encoder,
    hold_in_bf16,
    prepare_encoders,
    release,
)
from gkd_lightning.encoders.encoder import Encoder

SMALL = {"embed_dim": 48, "depth": 3, "num_heads": 3}
DINO = EncoderSpec("vit_small_patch14_dinov2", None, 56, 14, options=SMALL)
EVA = EncoderSpec("eva02_tiny_patch14_224", None, 56, 14, options={"embed_dim": 48, "depth": 2, "num_heads": 2})
CNN = EncoderSpec("convnext_atto", None, 64)


def network(spec: EncoderSpec) -> Encoder:
    torch.manual_seed(0)
    made = build_encoder(spec).eval()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith(("gamma", "gamma_1", "gamma_2")):
                value.uniform_(0.5, 1.0)
    return made


def tokens(encoder: Encoder, size: int) -> torch.Tensor:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return encoder.tokens(images).patches


@pytest.mark.parametrize("spec", [DINO, EVA, CNN], ids=["dinov2", "eva02", "convnext"])
def test_the_numbers_are_those_of_autocast(spec: EncoderSpec) -> None:
    encoder = Frozen(network(spec)).module
    expected = tokens(encoder, spec.hw[0])  # type: ignore[index]
    hold_in_bf16(encoder)
    types = {name: value.dtype for name, value in encoder.named_parameters()}
    assert sum(dtype == torch.bfloat16 for dtype in types.values()) > 10
    assert all(dtype == torch.float32 for name, dtype in types.items() if "norm" in name or "pos_embed" in name)
    assert torch.equal(tokens(encoder, spec.hw[0]), expected)  # type: ignore[index]


def test_norms_and_the_residual_stream_in_fp32_are_nearer_to_fp32() -> None:
    encoder, rounded = Frozen(network(DINO)).module, Frozen(network(DINO)).module
    images = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    exact = encoder.tokens(images).patches
    hold_in_bf16(encoder)
    rounded.model.to(torch.bfloat16)
    error, whole = ((tokens(each, 56).float() - exact).norm() / exact.norm() for each in (encoder, rounded))
    assert error < 0.7 * whole


def test_a_network_that_is_written_is_written_as_it_was() -> None:
    frozen = Frozen(network(DINO))
    before = {key: value.clone() for key, value in frozen.module.state_dict().items()}
    prepare_encoders(frozen.module, device=torch.device("cpu"), bf16=True, compile=None, written=True)
    assert frozen.module.model.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
    for state in (frozen.module.state_dict(), frozen.kept_state()):
        assert list(state) == list(before)
        assert all(torch.equal(value, before[key]) for key, value in state.items())
    release(frozen.module)
    assert all(value.dtype == torch.float32 for value in frozen.module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in frozen.module.state_dict().items())


def test_what_learns_stays_in_fp32() -> None:
    partly = PartlyFrozen(network(DINO), ["model.blocks.2", "model.norm"])
    hold_in_bf16(partly.module, written=True)
    learning = [value.dtype for value in partly.module.parameters() if value.requires_grad]
    assert set(learning) == {torch.float32}
    assert partly.module.model.blocks[1].attn.qkv.weight.dtype == torch.bfloat16
    low = network(DINO)
    PartlyFrozen(low, add_low_rank(low, LowRank(rank=2)))
    hold_in_bf16(low)
    attention = low.model.blocks[0].attn.qkv
    assert attention.original.weight.dtype == torch.float32  # whoever asks for the sum of both gets it unrounded
    assert low.model.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16


def test_adamw_is_fused_unless_lightning_refuses() -> None:
    class Run:
        def __init__(self, clip: float | None, precision: str) -> None:
            self.gradient_clip_val, self.precision = clip, precision

    def fused(*run: object) -> bool:
        groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "weight_decay": 0.0}]
        return bool(adamw(groups, 1e-3, Run(*run) if run else None).defaults["fused"])  # type: ignore[arg-type]

    assert fused()
    assert fused(None, "bf16-mixed")
    assert fused(1.0, "32-true")
    assert not fused(1.0, "bf16-mixed")
