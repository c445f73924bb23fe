from __future__ import annotations

import pytest
import torch

from gkd_lightning.encoders import EncoderSpec, build_encoder, fixed_to

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", SMALL),
        ("vit_small_patch14_reg4_dinov2", SMALL),
        ("vit_small_patch16_dinov3", SMALL),
        ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}),
    ],
)
@pytest.mark.parametrize("factor", [(1, 1), (2, 3), (3, 2)])
def test_tokens_are_those_of_the_encoder(name: str, options: dict[str, object], factor: tuple[int, int]) -> None:
    torch.manual_seed(0)
    side = 56 if "patch14" in name else 64
    encoder = build_encoder(EncoderSpec(name, None, side, options=options)).eval()
    size = (factor[0] * encoder.patch_size * 2, factor[1] * encoder.patch_size * 2)
    fixed = fixed_to(encoder, size)
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        ours, theirs = encoder.tokens(images), fixed.tokens(images)
    assert torch.allclose(theirs.patches, ours.patches, atol=1e-5)
    assert torch.allclose(theirs.cls, ours.cls, atol=1e-5)
    assert encoder.tokens(torch.rand(1, 3, side, side)).grid == encoder.grid((side, side))  # as it was
