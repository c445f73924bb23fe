"""Tokens, maps, masks, freezing, hand-over: the encoder contract on a ViT, an EVA02 and CNNs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gkd_lightning.encoders import (
    EncoderSpec,
    Frozen,
    build_encoder,
    encoder_state,
    export_encoder,
    load_student,
)
from gkd_lightning.errors import UserError

TINY = {"embed_dim": 24, "depth": 3, "num_heads": 2}
VIT = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options=TINY)
EVA = EncoderSpec("eva02_tiny_patch14_224.mim_in22k", None, 32, 8, options=TINY)
CNN = EncoderSpec("resnet10t", None, 64)
SWIN = EncoderSpec("swin_tiny_patch4_window7_224", None, 64, options={"embed_dim": 12, "depths": [1, 1, 1, 1]})


def images(size: int = 32, batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(3))


@pytest.mark.parametrize("spec", [VIT, EVA])
def test_transformer_tokens_and_maps_in_one_pass(spec: EncoderSpec) -> None:
    encoder = build_encoder(spec).eval()
    tokens, maps = encoder(images(), [2, 0])
    assert tokens.cls.shape == (2, 24)
    assert tokens.patches.shape == (2, 16, 24)
    assert tokens.grid == (4, 4)
    assert [tuple(m.shape) for m in maps] == [(2, 24, 4, 4)] * 2
    # the last block's raw map, normed, is what the tokens are: and blocks come in the order asked for
    normed = encoder.model.norm(maps[0].flatten(2).transpose(1, 2))
    torch.testing.assert_close(normed, tokens.patches)
    assert not torch.equal(maps[0], maps[1])
    torch.testing.assert_close(encoder.features(images(), [0])[0], maps[1])
    assert not isinstance(encoder.model.norm, nn.Identity)


@pytest.mark.parametrize("spec", [CNN, SWIN])
def test_feature_map_encoder(spec: EncoderSpec) -> None:
    encoder = build_encoder(spec).eval()
    tokens, maps = encoder(images(64))
    assert encoder.hierarchical
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2]
    assert [m.shape[1] for m in maps] == encoder.feature_dims
    assert tokens.grid == (2, 2)
    assert tokens.patches.shape == (2, 4, encoder.embed_dim)
    torch.testing.assert_close(tokens.cls, tokens.patches.mean(1))
    torch.testing.assert_close(tokens.patches[0, 1], maps[-1][0, :, 0, 1])  # row-major, channels where they belong


@pytest.mark.parametrize(
    "spec", [CNN, SWIN, EncoderSpec("tf_efficientnet_lite0", None, 64), EncoderSpec("convnext_atto", None, 64)]
)
def test_no_parameter_of_a_hierarchical_student_is_unused(spec: EncoderSpec) -> None:
    encoder = build_encoder(spec)
    encoder.tokens(images(64)).patches.square().sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_uint8_and_float_images_are_the_same_input() -> None:
    encoder = build_encoder(VIT)
    torch.testing.assert_close(encoder.normalize(images()), encoder.normalize(images().float() / 255))


def test_each_encoder_owns_its_statistics() -> None:
    clip, imagenet = (
        build_encoder(EVA),
        build_encoder(EncoderSpec(**{**vars(EVA), "normalization": "imagenet"})),
    )
    assert clip.mean.flatten().tolist() == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert imagenet.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.parametrize("spec", [VIT, EVA])
def test_masked_patches_cannot_be_seen(spec: EncoderSpec) -> None:
    encoder = build_encoder(spec).eval()
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 5] = True  # row 1, column 1
    one, other = images(batch=1), images(batch=1).clone()
    other[:, :, 8:16, 8:16] = 255 - other[:, :, 8:16, 8:16]
    torch.testing.assert_close(encoder.tokens(one, mask).patches, encoder.tokens(other, mask).patches)
    assert not torch.allclose(encoder.tokens(one).patches, encoder.tokens(other).patches)
    assert not torch.allclose(encoder.tokens(one, ~mask).patches, encoder.tokens(other, ~mask).patches)


def test_a_cnn_masks_input_patches() -> None:
    encoder = build_encoder(CNN).eval()
    mask = torch.tensor([[True, False, False, False]])
    one, other = images(64, 1), images(64, 1).clone()
    other[:, :, :32, :32] = 7
    torch.testing.assert_close(encoder.tokens(one, mask).patches, encoder.tokens(other, mask).patches)


def test_the_mask_token_learns_and_no_mask_lingers() -> None:
    encoder = build_encoder(VIT)
    encoder.tokens(images(), torch.ones(2, 16, dtype=torch.bool)).patches.square().sum().backward()
    assert encoder.mask_token.grad.abs().sum() > 0
    with pytest.raises(RuntimeError):
        encoder.tokens(images(), torch.ones(2, 7, dtype=torch.bool))
    assert encoder._mask is None


def test_size_that_the_patch_grid_cannot_take() -> None:
    with pytest.raises(UserError, match=r"36x36 is not a multiple of the patch size 8; the nearest that fits is 32x32"):
        build_encoder(VIT).tokens(images(36))


def test_another_size_than_the_layout() -> None:
    assert build_encoder(VIT).tokens(images(40)).grid == (5, 5)
    with pytest.raises(UserError, match="laid out for 32x32 images and got 40x40"):
        build_encoder(EVA).tokens(images(40))


def test_block_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="no block 3"):
        build_encoder(VIT).features(images(), [3])


def test_unknown_model_and_unknown_option() -> None:
    with pytest.raises(UserError, match="vit_smal_patch16_224"):
        build_encoder(EncoderSpec("vit_smal_patch16_224"))
    with pytest.raises(UserError, match="embed_dimm"):
        build_encoder(EncoderSpec("vit_tiny_patch16_224", options={"embed_dimm": 3}))


class Parent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = Frozen(build_encoder(VIT))
        self.linear = nn.Linear(2, 2)


def test_frozen_means_frozen() -> None:
    parent = Parent()
    before = {key: value.clone() for key, value in encoder_state(parent.teacher.module).items()}
    parent.train()
    assert not any(module.training for module in parent.teacher.modules())
    assert not any(parameter.requires_grad for parameter in parent.teacher.parameters())
    assert set(parent.state_dict()) == {"linear.weight", "linear.bias"}
    parent.load_state_dict(parent.state_dict(), strict=True)
    tokens, _ = parent.teacher(images())
    assert not tokens.patches.requires_grad
    assert not tokens.patches.is_inference()
    for key, value in encoder_state(parent.teacher.module).items():
        assert torch.equal(value, before[key])


def test_strict_loading_still_notices_other_missing_keys() -> None:
    with pytest.raises(RuntimeError, match=r"linear\.bias"):
        Parent().load_state_dict({"linear.weight": torch.zeros(2, 2)}, strict=True)


@pytest.mark.parametrize("spec", [VIT, EVA, CNN])
def test_hand_over_is_exact(spec: EncoderSpec, tmp_path: Path) -> None:
    encoder = build_encoder(spec).eval()
    path = export_encoder(encoder, tmp_path, stage="task_agnostic", provenance={"parent": None})
    again = load_student(path).eval()
    size = 64 if spec is CNN else 32
    torch.testing.assert_close(again.tokens(images(size)).patches, encoder.tokens(images(size)).patches, atol=0, rtol=0)
    record = json.loads((tmp_path / "student.json").read_text())
    assert record["stage"] == "task_agnostic"
    assert record["encoder"]["weights"] is None
    assert set(record["versions"]) >= {"torch", "timm", "gkd_lightning"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["student.json", "student.safetensors"]


def test_next_stage_may_change_the_geometry(tmp_path: Path) -> None:
    """1a hands a 4x4 grid of 8 px patches to 1b, which wants 3x6 patches of 16 px; then back from the rectangle."""
    first = build_encoder(VIT)
    path = export_encoder(first, tmp_path / "a", stage="task_agnostic", provenance={})
    second = build_encoder(EncoderSpec(VIT.name, str(path), [48, 96], 16, options=TINY))
    assert second.tokens(torch.rand(1, 3, 48, 96)).grid == (3, 6)
    torch.testing.assert_close(second.model.blocks[1].mlp.fc1.weight, first.model.blocks[1].mlp.fc1.weight)
    path = export_encoder(second, tmp_path / "b", stage="domain_agnostic", provenance={})
    record = json.loads((tmp_path / "b/student.json").read_text())
    assert "resized pos_embed [1, 17, 24] -> [1, 19, 24]" in record["loaded"]
    assert "resized patch_embed.proj.weight" in record["loaded"]
    third = build_encoder(EncoderSpec(VIT.name, str(path), 32, 8, options=TINY))
    assert third.tokens(torch.rand(1, 3, 32, 32)).grid == (4, 4)


def test_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    path = export_encoder(build_encoder(VIT), tmp_path, stage="x", provenance={})
    with pytest.raises(UserError, match=r"student\.safetensors: not a checkpoint of this VisionTransformer"):
        build_encoder(EncoderSpec(VIT.name, str(path), 32, 8, options={**TINY, "depth": 4}))
    with pytest.raises(UserError, match=r"needs \[48"):
        build_encoder(EncoderSpec(VIT.name, str(path), 32, 8, options={**TINY, "embed_dim": 48}))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {tmp_path}/exploded",))

    torch.save({"model": Bomb()}, tmp_path / "student.safetensors")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        build_encoder(EncoderSpec(VIT.name, str(tmp_path / "student.safetensors"), 32, 8, options=TINY))
    assert not (tmp_path / "exploded").exists()


def test_missing_weights_and_unknown_asset(tmp_path: Path) -> None:
    for weights in (str(tmp_path / "none.safetensors"), "asset:nothing"):
        with pytest.raises(UserError, match="no such"):
            build_encoder(EncoderSpec(VIT.name, weights, 32, 8, options=TINY))


def test_square_file_without_metadata_and_classifier_keys(tmp_path: Path) -> None:
    """A timm file as published: no metadata, a classifier that an encoder has no use for."""
    encoder = build_encoder(VIT)
    state = {**encoder.model.state_dict(), "head.weight": torch.zeros(10, 24), "head.bias": torch.zeros(10)}
    save_file(state, tmp_path / "timm.safetensors")
    again = build_encoder(EncoderSpec(VIT.name, str(tmp_path / "timm.safetensors"), 64, 8, options=TINY))
    assert again.tokens(images(64)).grid == (8, 8)
    assert again.mask_token.abs().sum() == 0


@pytest.mark.skipif("GKD_DATA" not in os.environ, reason="needs the real weights beside GKD_DATA")
def test_real_imagenet_weights_load() -> None:
    weights = Path(os.environ["GKD_DATA"]).parent / "weights" / "tf_efficientnet_lite2.safetensors"
    encoder = build_encoder(EncoderSpec("tf_efficientnet_lite2", str(weights))).eval()
    assert encoder.tokens(images(224)).patches.shape == (2, 49, 352)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"class_token": False}),
        ("vit_tiny_patch16_224", {}),
        ("vit_base_patch16_siglip_224", {"depth": 1, "embed_dim": 24, "num_heads": 2}),
        ("eva02_tiny_patch14_224", {"depth": 2}),
    ],
)
def test_tokens_come_after_the_final_norm_and_every_weight_is_reached(name: str, options: dict[str, Any]) -> None:
    encoder = build_encoder(EncoderSpec(name, image_size=28 if "14" in name else 32, options=options))
    encoder.train()
    with torch.no_grad():
        encoder.model.norm.weight.fill_(3.0)
    tokens = encoder.tokens(torch.rand(2, 3, *encoder.image_size))
    assert tokens.patches.std(-1, unbiased=False).mean().item() == pytest.approx(3.0, abs=0.05)
    (tokens.patches.square().sum() + tokens.cls.sum()).backward()
    unused = [key for key, parameter in encoder.model.named_parameters() if parameter.grad is None]
    assert unused == []


def test_a_transformer_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"beit_base_patch16_224: gives maps of stride 16; wanted is"):
        build_encoder(EncoderSpec("beit_base_patch16_224", options={"depth": 2, "embed_dim": 24, "num_heads": 2}))


@pytest.mark.parametrize("name", ["convnext_atto", "resnet10t"])
@pytest.mark.parametrize("size", [(64, 64), (80, 112), (72, 40)])
def test_the_grid_of_a_backbone_is_that_of_its_map(name: str, size: tuple[int, int]) -> None:
    encoder = build_encoder(EncoderSpec(name, image_size=64))
    rows, columns = encoder.grid(size)
    mask = torch.zeros(1, rows * columns, dtype=torch.bool)
    mask[:, 0] = True
    tokens = encoder.tokens(torch.rand(1, 3, *size), mask)
    assert tokens.grid == (rows, columns)
    assert tokens.patches.shape[1] == rows * columns


def test_stages_from_a_stride_on_are_joined_to_tokens() -> None:
    joined = build_encoder(EncoderSpec("convnext_atto", image_size=64, token_stride=8))
    plain = build_encoder(EncoderSpec("convnext_atto", image_size=64))
    plain.load_state_dict(joined.state_dict())
    tokens, maps = joined(images(64))
    assert (joined.patch_size, joined.embed_dim, tokens.grid) == (8, sum(joined.feature_dims[1:]), (8, 8))
    assert joined.grid((64, 96)) == (8, 12)
    fine, middle, coarse = maps[1:]
    assert torch.equal(tokens.patches[0, 9, : fine.shape[1]], fine[0, :, 1, 1])
    between = tokens.patches[0, 9, fine.shape[1] : fine.shape[1] + middle.shape[1]]  # a quarter of the way to the next
    rows = 0.75 * middle[0, :, 0] + 0.25 * middle[0, :, 1]
    torch.testing.assert_close(between, 0.75 * rows[:, 0] + 0.25 * rows[:, 1])
    torch.testing.assert_close(tokens.patches[0, 0, -coarse.shape[1] :], coarse[0, :, 0, 0])
    torch.testing.assert_close(tokens.cls, tokens.patches.mean(1))
    for here, there in zip(maps, plain.features(images(64), ()), strict=True):
        assert torch.equal(here, there)


def test_a_stride_of_tokens_survives_the_artefact(tmp_path: Path) -> None:
    student = build_encoder(EncoderSpec("convnext_atto", image_size=64, token_stride=16))
    again = load_student(export_encoder(student, tmp_path, stage="task_agnostic", provenance={}))
    assert again.spec.token_stride == 16
    assert torch.equal(again.eval().tokens(images(64)).patches, student.eval().tokens(images(64)).patches)


def test_a_plain_transformer_has_no_stages_to_join() -> None:
    with pytest.raises(UserError, match="token_stride: 8 joins the stages of a hierarchical backbone"):
        build_encoder(EncoderSpec(**{**vars(VIT), "token_stride": 8}))


def test_a_backbone_of_one_size_says_so() -> None:
    encoder = build_encoder(EncoderSpec("swin_tiny_patch4_window7_224", options={"depths": [1, 1, 1, 1]}))
    assert encoder.grid((224, 224)) == (7, 7)
    with pytest.raises(UserError, match="laid out for 224x224 images and got 240x224"):
        encoder.tokens(torch.rand(1, 3, 240, 224))
