"""Pre-training by two looks that agree: what is the same place, what keeps tokens apart, that it is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch

from gkd_lightning.baselines import AgreementPretraining
from gkd_lightning.baselines.agreement_pretraining import covariance, shortfall
from gkd_lightning.baselines.two_looks import another_light, two_pieces
from gkd_lightning.data import MiniCity, SourceDataModule
from gkd_lightning.encoders import EncoderSpec, encoder_state, load_student
from gkd_lightning.errors import UserError
from tests.baselines.test_baselines import fit

SPEC = EncoderSpec(
    "vit_tiny_patch16_224", None, 32, 8,
    options={"embed_dim": 48, "depth": 2, "num_heads": 2, "class_token": False, "global_pool": "avg"},
)  # fmt: skip


def streets(size: int) -> SourceDataModule:
    return SourceDataModule(MiniCity("wild", 64), "distillation", size, 16, num_workers=0)


def test_it_learns_without_collapsing_and_hands_on_the_encoder(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = AgreementPretraining(SPEC, width=64, lr=2e-3, warmup_steps=0)
    images = torch.stack([torch.from_numpy(MiniCity("day", 8).image(index)) for index in range(8)])
    images = images.permute(0, 3, 1, 2)[..., :48, :48]
    with torch.no_grad():
        before, parts = module._agreement(images, torch.arange(8))
        trainer = fit(module, tmp_path, 60, streets(48))
        after, terms = module._agreement(images, torch.arange(8))
    assert after < 0.8 * before  # 0.69 was measured
    assert terms["variance"] < parts["variance"]
    assert {"train/invariance", "train/variance", "train/covariance"} <= set(trainer.callback_metrics)
    student = load_student(module.export(tmp_path / "artefact", {"seed": 0}))
    for key, value in encoder_state(student).items():
        torch.testing.assert_close(value, encoder_state(module.encoder)[key], atol=2e-3, rtol=1e-3)


def test_shared_tokens_show_the_same_pixels_and_pieces_lie_apart() -> None:
    """The pixels are numbered, so that equal numbers are equal places."""
    height, width = 64, 88
    numbered = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width).expand(2, 3, -1, -1)
    starts = set()
    for key in range(60):
        first, second, shared = two_pieces(numbered, 32, 8, key)
        assert first.shape == second.shape == (2, 3, 32, 32)
        cut = [
            piece[..., 8 * rows.start : 8 * rows.stop, 8 * columns.start : 8 * columns.stop]
            for piece, (rows, columns) in zip((first, second), shared, strict=True)
        ]
        assert cut[0].equal(cut[1])
        starts.add((first[0, 0, 0, 0].item(), second[0, 0, 0, 0].item()))
        again, _, _ = two_pieces(numbered, 32, 8, key)
        assert again.equal(first)
    assert len(starts) > 40


def test_a_light_is_its_samples_own() -> None:
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    keys = torch.tensor([5, 2**62 + 1, 9])
    lit = another_light(images, keys, 0)
    assert (lit.shape, lit.dtype) == (images.shape, torch.float32)
    assert 0 <= lit.min() < lit.max() <= 1
    assert another_light(images[1:], keys[1:], 0).equal(lit[1:])
    assert another_light(images.float() / 255, keys, 0).allclose(lit)
    assert not another_light(images, keys, 1).allclose(lit, atol=0.05)


def test_the_terms_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(50, 6) * torch.tensor([0.2, 0.5, 1.0, 2.0, 3.0, 0.0])
    matrix = torch.cov(tokens.T)
    deviations = (matrix.diagonal() + 1e-4).sqrt()
    torch.testing.assert_close(shortfall(tokens), (1 - deviations).clamp(min=0).mean())
    expected = (matrix - matrix.diagonal().diag()).square().sum() / 6
    torch.testing.assert_close(covariance(tokens), expected)
    assert covariance(tokens[:, :1]) == 0


def test_what_it_cannot_do_is_one_line() -> None:
    with pytest.raises(UserError, match="has a class token, which would learn nothing"):
        AgreementPretraining(replace(SPEC, options={"embed_dim": 48, "depth": 2, "num_heads": 2}))
    with pytest.raises(UserError, match="is no plain transformer"):
        AgreementPretraining(EncoderSpec("resnet18", None, 32))
    module = AgreementPretraining(SPEC, width=64)
    with pytest.raises(UserError, match=r"data.image_size: 32x32: two pieces of 32x32 pixels.*at least 40x40"):
        module.dry_step(torch.zeros(2, 3, 32, 32))
