"""A class path in the place of timm's name: built, loaded, exported, taught and segmenting like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gkd_lightning.encoders import EncoderSpec, build_encoder, export_encoder, load_student
from gkd_lightning.errors import UserError
from gkd_lightning.segment import Segmenter, load_segmenter, save_segmenter
from tests.segment.fake import HEAD, SPACE

OWN = "tests.encoders.own_encoders."
PATCHES = OWN + "Patches"


def images(size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(3))


def test_settings_reach_the_class_and_weights_its_model(tmp_path: Path) -> None:
    weights = {"weight": torch.randn(6, 3, 8, 8), "bias": torch.randn(6)}
    save_file(weights, tmp_path / "own.safetensors")
    spec = EncoderSpec(PATCHES, str(tmp_path / "own.safetensors"), 40, 8, options={"width": 6})
    encoder = build_encoder(spec)
    assert encoder.image_size == (40, 40)
    assert encoder.feature_dims == [6] * 4
    assert encoder.model.weight.equal(weights["weight"])
    assert encoder.mean.flatten().tolist() == [0.5] * 3
    assert build_encoder(EncoderSpec(PATCHES, normalization="imagenet")).std.flatten()[0] == pytest.approx(0.229)
    with pytest.raises(UserError, match=r"bias has shape \[6\], this Conv2d needs \[12\]"):
        build_encoder(EncoderSpec(PATCHES, spec.weights))


def test_it_comes_back_from_both_artefacts(tmp_path: Path) -> None:
    encoder = build_encoder(EncoderSpec(PATCHES, options={"width": 6}))
    path = export_encoder(encoder, tmp_path, stage="task_agnostic", provenance={})
    assert load_student(path).tokens(images()).patches.equal(encoder.tokens(images()).patches)
    segmenter = Segmenter.for_encoder(encoder, 3, HEAD, window=32, stride=32).eval()
    path = save_segmenter(segmenter, tmp_path, label_space=SPACE, protocol={}, provenance={})
    odd = images()[..., :29]  # no multiple of its patch
    with torch.no_grad():
        torch.testing.assert_close(load_segmenter(path).segmenter.scores(odd), segmenter.scores(odd))


def test_a_class_may_read_its_weights_itself() -> None:
    encoder = build_encoder(EncoderSpec(OWN + "ReadsItself", "hub:somewhere"))
    assert encoder.loaded == "from hub:somewhere"
    assert encoder.model.weight.eq(1).all()


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("nowhere.Teacher", {}, r"nowhere\.Teacher cannot be imported \(No module named 'nowhere'\)"),
        (OWN + "Nothing", {}, r"own_encoders\.Nothing cannot be imported \(.*has no attribute 'Nothing'\)"),
        ("torch.nn.Linear", {}, r"torch\.nn\.Linear is not derived from gkd_lightning\.encoders\.encoder\.Encoder"),
        (OWN + "WithoutForward", {}, "does not define forward"),
        (OWN + "Forgetful", {}, "its constructor does not set depth"),
        (OWN + "Outside", {}, "scale lies outside its model"),
        (PATCHES, {"options": {"widht": 3}}, r"options \{'widht': 3\} do not fit its constructor .*'widht'"),
        (PATCHES, {"patch_size": 16}, "patch_size is 16 in the configuration, and the class has 8"),
        (PATCHES, {"weights": "pretrained"}, "weights: pretrained means timm's file"),
        ("vit_smal", {}, "timm has no such model"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(name: str, more: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build_encoder(EncoderSpec(name, **more))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "own"), [("vit_medium_patch16_reg4_gap_256", False), ("vit_base_patch16_reg4_gap_256", False),
                      ("vit_small_patch14_reg4_dinov2", True), ("vit_small_patch16_dinov3", True)],
)  # fmt: skip
def test_registers_are_no_class_token(name: str, own: bool) -> None:
    encoder = build_encoder(
        EncoderSpec(name, None, 32, 8, options={"embed_dim": 24, "depth": 2, "num_heads": 2})
    ).eval()
    assert encoder.model.num_prefix_tokens == 4 + own
    with torch.no_grad():
        tokens = encoder.tokens(images())
        raw = encoder.model.forward_features(encoder.normalize(images()))
    mean = raw[:, 4 + own :].mean(1)
    torch.testing.assert_close(tokens.cls, raw[:, 0] if own else mean)
    assert torch.allclose(tokens.cls, mean) is not own
    torch.testing.assert_close(tokens.patches, raw[:, 4 + own :])
