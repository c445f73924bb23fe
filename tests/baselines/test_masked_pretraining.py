"""Pre-training by hidden patches: what is hidden and compared, that it is learned, what is handed on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch

from gkd_lightning.baselines import MaskedPretraining
from gkd_lightning.baselines.masked_pretraining import normalized_patches
from gkd_lightning.data import MiniCity, SourceDataModule
from gkd_lightning.encoders import EncoderSpec, encoder_state, load_student
from gkd_lightning.errors import UserError
from tests.baselines.test_baselines import fit

SPEC = EncoderSpec(
    "vit_tiny_patch16_224", None, 32, 8,
    options={"embed_dim": 48, "depth": 2, "num_heads": 2, "class_token": False, "global_pool": "avg"},
)  # fmt: skip


def streets() -> SourceDataModule:
    return SourceDataModule(MiniCity("wild", 64), "distillation", [32, 48], 16, num_workers=0)


def test_it_learns_and_hands_on_an_encoder_with_its_mask_token(tmp_path: Path) -> None:
    L.seed_everything(0)
    module = MaskedPretraining(SPEC, lr=3e-3, warmup_steps=0)
    before = module.encoder.mask_token.detach().clone()
    trainer = fit(module, tmp_path, 80, streets())
    assert trainer.callback_metrics["train/loss"] < 0.95  # the answer 0 costs 1, 0.93 was measured
    assert not module.encoder.mask_token.equal(before)
    path = module.export(tmp_path / "artefact", {"seed": 0})
    student = load_student(path)
    for key, value in encoder_state(student).items():
        torch.testing.assert_close(value, encoder_state(module.encoder)[key], atol=2e-3, rtol=1e-3)
    tokens = student.tokens(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(tokens.cls, tokens.patches.mean(1))


def test_only_hidden_patches_count_and_their_pixels_are_not_seen() -> None:
    torch.manual_seed(0)
    module = MaskedPretraining(SPEC).eval()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, 5] = True  # row 1, column 1
    loss = module._hidden(images, mask)
    wanted = normalized_patches(module.encoder.normalize(images), 8)
    found = module.pixels(module.encoder.tokens(images, mask).patches)
    torch.testing.assert_close(loss, (found - wanted)[:, 5].square().mean())
    with torch.no_grad():
        other = images.detach().clone()
        other[:, :, 8:16, 8:16] = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(
            module.encoder.tokens(other, mask).patches, module.encoder.tokens(images, mask).patches
        )


def test_patches_are_in_the_order_of_the_tokens() -> None:
    images = torch.rand(2, 3, 16, 24)
    patches = normalized_patches(images, 8)
    assert patches.shape == (2, 6, 192)
    own = images[:, :, 8:16, 8:16].flatten(1)
    expected = (own - own.mean(1, keepdim=True)) / own.std(1, keepdim=True, correction=0)
    torch.testing.assert_close(patches[:, 4], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (replace(SPEC, options={"embed_dim": 48, "depth": 2, "num_heads": 2}), "has a class token, which would learn"),
        (EncoderSpec("resnet10t", None, 32), "resnet10t is no plain transformer"),
    ],
)
def test_encoders_that_cannot_be_trained_so(spec: EncoderSpec, told: str) -> None:
    with pytest.raises(UserError, match=told):
        MaskedPretraining(spec)
