"""Cosines between gradients: known ones, opposite ones, and by part of an encoder."""

from __future__ import annotations

import math

import pytest
import torch

from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.evaluate.gradient_conflict import conflicts, gradients, part_of


def test_a_hand_computed_example() -> None:
    task = {"model.blocks.0.w": torch.tensor([3.0, 0.0]), "model.norm.w": torch.tensor([4.0])}
    other = {"model.blocks.0.w": torch.tensor([0.0, 2.0]), "model.norm.w": torch.tensor([-1.5])}
    found = conflicts(task, other)
    assert list(found) == ["encoder", "block_0"]  # the final norm is in no part
    assert found["encoder"].cosine == pytest.approx(-6 / (5 * 2.5))
    assert found["encoder"].task_norm == pytest.approx(5.0)
    assert found["encoder"].distillation_norm == pytest.approx(2.5)
    assert found["block_0"].cosine == 0


def test_a_gradient_that_vanishes_has_no_cosine() -> None:
    found = conflicts({"blocks.0.w": torch.ones(2)}, {"blocks.0.w": torch.zeros(2)})
    assert math.isnan(found["encoder"].cosine)
    assert found["encoder"].distillation_norm == 0


def test_parts_come_in_the_order_of_the_network() -> None:
    names = ["blocks.10.w", "blocks.2.w", "patch_embed.proj.weight", "cls_token", "blocks.0.w"]
    values = {name: torch.ones(1) for name in names}
    assert list(conflicts(values, values)) == ["encoder", "patch_embedding", "block_0", "block_2", "block_10"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.patch_embed.proj.weight", "patch_embedding"), ("model.blocks.11.attn.qkv.bias", "block_11"),
        ("model.pos_embed", None), ("model.norm.weight", None), ("mask_token", None),
        ("model.stages_2.blocks.4.conv_dw.weight", "block_2"), ("model.stem_0.weight", "patch_embedding"),
        ("model.layers.1.blocks.0.norm1.weight", "block_1"),
    ],
)  # fmt: skip
def test_parts_of_names(name: str, part: str | None) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_every_block_of_an_encoder_is_a_part(name: str) -> None:
    encoder = build_encoder(EncoderSpec(name, image_size=32 if "vit" in name else None))
    parts = {part_of(key) for key, _ in encoder.named_parameters()}
    assert {f"block_{index}" for index in range(encoder.depth)} | {"patch_embedding"} <= parts


def test_gradients_leave_no_trace() -> None:
    reached, unreached = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = gradients((2 * reached).sum(), {"reached": reached, "unreached": unreached})
    assert found["reached"].tolist() == [2, 2]
    assert found["unreached"].tolist() == [0, 0, 0]
    assert reached.grad is None
