"""SegFormer's head beside the one of the library transformers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from gkd_lightning.errors import UserError
from gkd_lightning.segment import Level, PixelLosses, SegformerHead, load_segmenter
from gkd_lightning.segment.head_choice import build_head
from tests.segment.fake import FakeData
from tests.segment.test_module import Losses, module, trainer


def theirs(dims: list[int], width: int, classes: int) -> SegformerDecodeHead:
    torch.manual_seed(1)
    config = SegformerConfig(
        hidden_sizes=dims, decoder_hidden_size=width, num_labels=classes, classifier_dropout_prob=0.0
    )
    return SegformerDecodeHead(config)


@pytest.mark.parametrize(
    ("dims", "width", "classes"),
    [([384] * 4, 256, 19), ([64, 128, 320, 512], 256, 150), ([64, 128, 320, 512], 768, 150)],
    ids=["ViT-S", "MiT-B1", "MiT-B5"],
)
def test_it_has_as_many_parameters_as_the_published_one(dims: list[int], width: int, classes: int) -> None:
    own = build_head(SegformerHead(width), dims, classes)
    count = sum(parameter.numel() for parameter in own.parameters())
    assert count == sum(parameter.numel() for parameter in theirs(dims, width, classes).parameters())


def test_it_gives_the_numbers_of_the_published_one() -> None:
    """But for the norm, which is put into theirs."""
    other, own = theirs([6, 8, 10, 12], 32, 5), build_head(SegformerHead(32), [6, 8, 10, 12], 5)
    nn.init.normal_(own.norm.weight)
    other.batch_norm = own.norm
    for mine, published in zip(own.projections, other.linear_projections, strict=True):
        mine.load_state_dict({"weight": published.proj.weight[..., None, None], "bias": published.proj.bias})
    shares = other.linear_fuse.weight.chunk(4, dim=1)  # theirs has the coarsest level first
    own.fuse.weight.data.copy_(torch.cat(shares[::-1], dim=1))
    own.classes.load_state_dict(other.classifier.state_dict())
    generator = torch.Generator().manual_seed(0)
    levels = [
        Level(torch.randn(2, dim, 4, 6, generator=generator), scale)
        for dim, scale in zip([6, 8, 10, 12], (4.0, 2.0, 1.0, 0.5), strict=True)
    ]
    found, expected = own(levels), other([level.enlarged() for level in levels])
    assert found.shape == (2, 5, 16, 24)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_it_learns_is_judged_saved_and_loaded(tmp_path: Path) -> None:
    losses = PixelLosses(dice=1.0, ohem=0.5, boundary=0.2, class_weights=[1.0, 2.0, 1.0])
    noted = Losses(tmp_path / "losses.pt")
    model = module(head=SegformerHead(32, losses=losses), lr=2e-2)
    run = trainer(tmp_path, max_steps=24, callbacks=[noted])
    run.fit(model, FakeData())
    assert torch.stack(noted.values[-3:]).mean() < 0.7 * torch.stack(noted.values[:3]).mean()
    terms = {"train/loss_entropy", "train/loss_ohem", "train/loss_dice", "train/loss_boundary"}
    assert set(run.callback_metrics) >= {*terms, "val/fog/miou"}
    assert model.domain_scores["town"].miou > 50
    path = model.export(tmp_path / "out", {"seed": 3})
    record = json.loads(path.with_name("segmenter.json").read_text())["head"]
    assert record["class_path"] == "gkd_lightning.segment.segformer_head.SegformerHead"
    assert record["init_args"] == {"width": 32, "dropout": 0.0, "losses": asdict(losses)}
    loaded = load_segmenter(path).segmenter
    assert loaded.head.record == record
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        scores = loaded.scores(images)
        assert scores.equal(model.eval()(images))
    torch.testing.assert_close(scores.sum(1), torch.ones(1, 40, 56))


def test_dropout_is_for_training_alone() -> None:
    head = build_head(SegformerHead(32, dropout=0.5), [6] * 4, 3)
    levels = [Level(torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(0)))] * 4
    assert not head(levels).equal(head(levels))
    head.eval()
    assert head(levels).equal(head(levels))


def test_heads_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"head\.width: 100 must be a multiple of 32 \(group norm\)"):
        SegformerHead(100)
    with pytest.raises(UserError, match=r"head\.losses\.class_weights: 2 weights, but there are 3 classes"):
        build_head(SegformerHead(losses=PixelLosses(class_weights=[1, 2])), [6] * 4, 3)
    with pytest.raises(UserError, match="dropout: 1; give a number at least 0 and below 1"):
        SegformerHead(dropout=1)
