"""The teachers that ship: timm's files fit, tokens and geometry are what they are said to be, licences are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from gkd_lightning.chain import MetaOperations
from gkd_lightning.deploy import terms_of
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.files import shipped_root
from gkd_lightning.recipes.yaml_text import read_yaml

TEACHERS = sorted((shipped_root() / "configs/teacher").glob("*.yaml"))
SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
GEOMETRY = {  # width, patch, side, tokens before the patches
    "aimv2_l": (1024, 14, 224, 0), "clip_b": (768, 16, 224, 1), "dinov2_s_reg": (384, 14, 518, 5),
    "dinov3_7b": (4096, 16, 256, 5), "eva02_clip_l": (1024, 14, 336, 1), "franca_b": (768, 14, 518, 1),
    "franca_l": (1024, 14, 224, 1), "mae_h": (1280, 14, 224, 1),
    "metaclip_h": (1280, 14, 224, 1), "openclip_h": (1280, 14, 224, 1), "pe_core_l": (1024, 14, 336, 1),
    "pe_spatial_g": (1536, 14, 448, 0), "radio_b": (768, 16, 512, 8), "radio_so400m": (1152, 16, 512, 10),
    "siglip2_so400m": (1152, 16, 512, 0), "tipsv2_b": (768, 14, 448, 2),
}  # fmt: skip

GATED = {"franca_b": 2048, "franca_l": 2736, "franca_g": 4096}  # (int(4 * width * 2 / 3) + 7) // 8 * 8 hidden values


@pytest.mark.parametrize("path", TEACHERS, ids=lambda path: path.stem)
def test_a_teacher_is_what_its_fragment_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built without values; its weights are the keys and shapes of timm's own file, which is not downloaded."""
    usual = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda model, pretrained=False, **rest: usual(model, **rest))
    given = read_yaml(path)
    spec = EncoderSpec(**{**given, "weights": given["weights"] if given["weights"] == "pretrained" else None})
    with torch.device("meta"), MetaOperations():
        encoder = build_encoder(spec).to("meta")
        blocks = [0, encoder.depth - 1]
        tokens, maps = encoder(torch.empty(1, 3, *encoder.image_size), blocks)
    rows, columns = encoder.grid(encoder.image_size)
    assert tokens.grid == (rows, columns)
    assert tokens.patches.shape == (1, rows * columns, encoder.embed_dim)
    assert tokens.cls.shape == (1, encoder.embed_dim)
    dims = encoder.feature_dims if encoder.hierarchical else [encoder.feature_dims[block] for block in blocks]
    assert [each.shape[1] for each in maps] == dims
    if path.stem in GATED:
        assert encoder.model.blocks[0].mlp.fc2.in_features == GATED[path.stem]
    if path.stem in GEOMETRY:
        side = encoder.image_size[0]
        assert (encoder.embed_dim, encoder.patch_size, side, encoder.model.num_prefix_tokens) == GEOMETRY[path.stem]
    comment, terms = path.read_text().splitlines()[0], terms_of(given["name"], given["weights"])
    assert comment.endswith(f"; {terms.title}")
    assert terms.commercial in ("yes", "no", "on its terms")
    assert ("no class token" in comment) == (not getattr(encoder, "has_class_token", False))
    assert ("one size" in comment) == encoder.fixed_size


@pytest.mark.parametrize(
    ("name", "patch", "options"),
    [
        ("dinov3_s", 16, {}),
        ("siglip2_b", 16, {}),
        ("clip_b", 16, {}),
        ("mae_b", 16, {}),
        ("pe_core_b", 16, {}),
        ("pe_spatial_g", 14, {"mlp_ratio": 4}),
        ("sam_b", 16, {"neck_chans": 16, "global_attn_indexes": [1], "window_size": 2}),
        ("aimv2_l", 14, {"num_heads": 3}),
        ("eva02_clip_b", 16, {}),
        ("radio_b", 16, {}),
        ("tipsv2_b", 14, {}),
    ],
)
def test_tokens_of_small_ones(name: str, patch: int, options: dict[str, Any]) -> None:
    """Every patch's token depends on its patch, masks hide it, and another size works or is refused in one line."""
    given = read_yaml(shipped_root() / f"configs/teacher/{name}.yaml")
    side = 4 * patch
    changes = {"weights": None, "image_size": side, "options": {**SMALL, **options}}
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec(**{**given, **changes})).eval()
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        for parameter in encoder.model.parameters():
            parameter.normal_(std=0.2)
        tokens, maps = encoder(images, [1, 0])
        assert tokens.patches.shape == (2, 16, encoder.embed_dim)
        assert [tuple(each.shape) for each in maps] == [(2, 24, 4, 4)] * 2
        assert tokens.patches.isfinite().all()
        assert tokens.patches.std(1).mean() > 1e-3
        if not getattr(encoder, "has_class_token", False):
            torch.testing.assert_close(tokens.cls, tokens.patches.mean(1))
        mask = torch.zeros(2, 16, dtype=torch.bool)
        mask[:, 5] = True
        other = images.clone()
        other[:, :, patch : 2 * patch, patch : 2 * patch] = 0.5
        hidden, again = encoder.tokens(images, mask).patches, encoder.tokens(other, mask).patches
        torch.testing.assert_close(hidden, again)
        assert not torch.allclose(hidden, tokens.patches)
        wide = torch.rand(1, 3, side, 2 * side)
        if encoder.fixed_size:
            with pytest.raises(UserError, match=rf"laid out for {side}x{side} images and got .*set its image_size"):
                encoder.tokens(wide)
        else:
            assert encoder.tokens(wide).grid == (4, 8)
    with pytest.raises(UserError, match="not a multiple of the patch size"):
        encoder.tokens(torch.rand(1, 3, side + 1, side))


def test_a_norm_that_options_move_away_is_missed() -> None:
    with pytest.raises(UserError, match="leave the model without a final norm, its tokens would be raw"):
        build_encoder(EncoderSpec("vit_tiny_patch16_224", options={**SMALL, "fc_norm": True}))
    encoder = build_encoder(EncoderSpec("vit_base_patch16_radio_v3", image_size=64, options=SMALL))
    assert isinstance(encoder.model.norm, nn.Identity)  # published so


def test_sams_own_file(tmp_path: Path) -> None:
    """Its two layers after attention have other names, and the decoder lies beside it."""
    options = {**SMALL, "neck_chans": 16, "window_size": 2}
    spec = EncoderSpec("samvit_base_patch16", image_size=64, options={**options, "global_attn_indexes": [1]})
    torch.manual_seed(0)
    original = build_encoder(spec).eval()
    named = {key.replace(".mlp.fc", ".mlp.lin"): value for key, value in original.model.state_dict().items()}
    state = {f"image_encoder.{key}": value for key, value in named.items()}
    torch.save({**state, "mask_decoder.iou_token.weight": torch.ones(1, 4)}, tmp_path / "sam_vit_b.pth")
    found = build_encoder(EncoderSpec(**{**vars(spec), "weights": str(tmp_path / "sam_vit_b.pth")})).eval()
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(found.tokens(images).patches, original.tokens(images).patches)
    assert "ignored mask_decoder.* (1 tensors)" in str(found.loaded)
    with pytest.raises(UserError, match="there is no block 2"):
        found.features(images, [2])
    with pytest.raises(UserError, match="patch_size is 8, and SAM's encoder has 16"):
        build_encoder(EncoderSpec(**{**vars(spec), "patch_size": 8}))
