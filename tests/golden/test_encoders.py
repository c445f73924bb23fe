"""Resizing of patch kernels and position embeddings against the official code (golden case c)."""

import pytest
import torch

from gkd_lightning.encoders.state import resize_patch_kernel, resize_position_embedding
from tests.golden.harness import Golden

POSITIONS = {
    "pos_16to32_domain": ((16, 16), (32, 32), "bicubic"),
    "eva_pos_16to32": ((16, 16), (32, 32), "bicubic"),
    "pos_14to16_dino": ((14, 14), (16, 16), "bicubic"),
    "pos_37to32_teacher_domain": ((37, 37), (32, 32), "bicubic"),
    "runtime_offset0.1_37to16_square": ((37, 37), (16, 16), "bicubic-offset"),
    "runtime_offset0.1_37to16x32_nonsquare": ((37, 37), (16, 32), "bicubic-offset"),
}


@pytest.mark.parametrize("name", ["patch_14to16", "patch_16to14", "eva_patch_14to16"])
def test_patch_kernels(name: str) -> None:
    golden = Golden("c_interpolation")
    size = int(name.rsplit("to", 1)[1])
    golden.compare(f"{name}.out", resize_patch_kernel(golden.input(f"{name}.in"), (size, size)), atol=1e-5)


@pytest.mark.parametrize("name", POSITIONS)
def test_position_embeddings(name: str) -> None:
    golden = Golden("c_interpolation")
    source, target, rule = POSITIONS[name]
    resized = resize_position_embedding(golden.input(f"{name}.in"), source, target, 1, rule)  # type: ignore[arg-type]
    golden.compare(f"{name}.out", resized, atol=1e-5)


def test_distilled_deit_drops_its_distillation_row() -> None:
    golden = Golden("c_interpolation")
    positions = golden.input("pos_14to16_deit_distilled.in")
    kept = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    golden.compare("pos_14to16_deit_distilled.out", resize_position_embedding(kept, (14, 14), (16, 16), 1), atol=1e-5)


def test_timms_rules_are_not_the_official_ones() -> None:
    """The reason for a switch: pseudo-inverse kernels and antialiased positions differ a lot."""
    golden = Golden("c_interpolation")
    kernel = golden.input("patch_14to16.in")
    official, timm = (resize_patch_kernel(kernel, (16, 16), rule) for rule in ("bicubic", "pseudo-inverse"))
    assert (official - timm).abs().max() > 0.1
    positions = golden.input("pos_37to32_teacher_domain.in")
    official, timm = (
        resize_position_embedding(positions, (37, 37), (32, 32), 1, rule) for rule in ("bicubic", "pseudo-inverse")
    )
    assert (official - timm).abs().max() > 0.01
