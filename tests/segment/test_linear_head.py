"""A head that is not Mask2Former, through all that stage 2 does; and one of a user's own."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.chain.operation_counts import MetaOperations
from gkd_lightning.encoders import Frozen, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.segment import (
    Level,
    LinearHead,
    Mask2FormerConfig,
    PixelLosses,
    SegformerHead,
    SegmentationHead,
    Segmenter,
    TaskLosses,
    load_segmenter,
    save_segmenter,
)
from gkd_lightning.segment.head_choice import build_head, settings_of
from tests.segment.fake import HEAD, SPACE, SPEC, FakeData
from tests.segment.test_module import Losses, module, trainer


class NoSettings(SegmentationHead):
    """The least a head is: one layer, no constructor."""

    def attach(self, feature_dims: Sequence[int], num_classes: int) -> None:
        self.layer = nn.Conv2d(feature_dims[0], num_classes, 1)

    def forward(self, pyramid: Sequence[Level]) -> Tensor:
        return self.layer(pyramid[0].map)

    def loss(self, output: Tensor, labels: Tensor, keys: Tensor) -> TaskLosses:
        assert keys.device.type == "cpu"
        total = F.cross_entropy(F.interpolate(output, labels.shape[-2:]), labels.long(), ignore_index=255)
        return TaskLosses(total, {"loss_pixels": total})

    def scores(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(output, size).softmax(1)


class WithSettings(NoSettings):
    def __init__(self, width: int = 4, **more: Any) -> None:
        super().__init__()


def pyramid(batch: int = 2) -> list[Level]:
    generator = torch.Generator().manual_seed(0)
    return [Level(torch.randn(batch, 6, 4, 3, generator=generator), scale) for scale in (4, 2, 1, 0.5)]


@pytest.mark.parametrize("level", [0, 2])
def test_it_is_a_matrix_on_the_normalised_levels_side_by_side(level: int) -> None:
    torch.manual_seed(1)
    head = build_head(LinearHead(level), [6] * 4, 5)
    for norm in head.norms:
        nn.init.normal_(norm.weight)
    nn.init.normal_(head.bias)
    levels, size = pyramid(), (16, 12) if level == 0 else (4, 3)
    normed = [
        each._replace(map=F.layer_norm(each.map.movedim(1, -1), (6,), norm.weight, norm.bias).movedim(-1, 1))
        for each, norm in zip(levels, head.norms, strict=True)
    ]
    side_by_side = torch.cat(
        [F.interpolate(each.enlarged(), size, mode="bilinear", align_corners=False) for each in normed], dim=1
    )
    matrix = torch.cat([projection.weight for projection in head.projections], dim=1)
    expected = F.conv2d(side_by_side, matrix, head.bias.flatten())
    torch.testing.assert_close(head(levels), expected, atol=1e-6, rtol=1e-5)


def test_its_loss_is_the_mean_over_labelled_pixels() -> None:
    head = build_head(LinearHead(), [6] * 4, 3)
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(128).view(2, 8, 8).remainder(3).to(torch.uint8)
    labels[0, :5] = 255
    losses = head.loss(logits, labels, torch.zeros(2, dtype=torch.int64))
    picked = logits.log_softmax(1).gather(1, labels.long().clamp(max=2)[:, None])[:, 0]
    torch.testing.assert_close(losses.total, -picked[labels != 255].mean())
    assert list(losses.terms) == ["loss_entropy"]
    nothing = head.loss(logits, torch.full_like(labels, 255), torch.zeros(2, dtype=torch.int64))
    assert float(nothing.total) == 0
    labels[1, 0, 0] = 3
    with pytest.raises(UserError, match="label id 3 in a training label, but num_classes is 3"):
        head.loss(logits, labels, torch.zeros(2, dtype=torch.int64))


def test_ranks_with_different_shares_of_truth_are_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    head = build_head(LinearHead(), [6] * 4, 3)
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[0, :7] = 255
    keys = torch.zeros(2, dtype=torch.int64)
    whole = head.loss(logits, labels, keys).total
    mean = (labels != 255).sum() / 2
    monkeypatch.setattr("gkd_lightning.segment.pixel_losses.mean_over_ranks", lambda count: mean.float()[None])
    ranks = [head.loss(logits[i : i + 1], labels[i : i + 1], keys[i : i + 1]).total for i in range(2)]
    torch.testing.assert_close(sum(ranks) / 2, whole)  # DDP takes the mean of the gradients


def test_it_learns_is_judged_saved_and_loaded(tmp_path: Path) -> None:
    model, losses = module(head=LinearHead(level=1), lr=2e-2), Losses(tmp_path / "losses.pt")
    run = trainer(tmp_path, max_steps=24, callbacks=[losses])
    run.fit(model, FakeData())
    assert torch.stack(losses.values[-3:]).mean() < 0.7 * torch.stack(losses.values[:3]).mean()
    assert set(run.callback_metrics) >= {"train/loss", "train/loss_entropy", "val/fog/miou"}
    assert model.domain_scores["town"].miou > 50
    path = model.export(tmp_path / "out", {"seed": 3})
    record = json.loads(path.with_name("segmenter.json").read_text())
    expected = {
        "class_path": "gkd_lightning.segment.linear_head.LinearHead",
        "init_args": {"level": 1, "losses": asdict(PixelLosses())},
    }
    assert record["head"] == model.hparams["head"] == expected
    loaded = load_segmenter(path).segmenter
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        scores = loaded.scores(images)
        assert scores.equal(model.eval()(images))
    torch.testing.assert_close(scores.sum(1), torch.ones(1, 40, 56))


ALL_LOSSES = PixelLosses(ohem=1.0, dice=1.0, boundary=1.0)


@pytest.mark.parametrize(
    "head", [HEAD, replace(HEAD, encoder_layers=0), LinearHead(), SegformerHead(32, losses=ALL_LOSSES)]
)
def test_a_step_is_counted_without_content(head: Any) -> None:
    with torch.device("meta"), MetaOperations():
        model = module(head=head)
    with MetaOperations() as operations:
        loss = model.to("meta").dry_step(torch.empty(2, 3, 32, 32, dtype=torch.uint8, device="meta"))
    assert operations.flops > 0
    loss.backward()
    learned = [parameter for parameter in model.segmenter.head.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in learned)  # DDP waits for each


@pytest.mark.parametrize(
    ("head", "arguments"), [(NoSettings(), {}), (WithSettings(8, deep=[1, 2]), {"width": 8, "deep": [1, 2]})]
)
def test_a_heads_record_is_how_it_was_called(head: SegmentationHead, arguments: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter.for_encoder(Frozen(build_encoder(SPEC)), 3, head, window=32, stride=20)
    path = save_segmenter(segmenter, tmp_path, label_space=SPACE, protocol={}, provenance={})
    loaded = load_segmenter(path).segmenter
    assert loaded.head.record == {"class_path": f"{__name__}.{type(head).__name__}", "init_args": arguments}
    for again in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert again.record == head.record
        assert again.layer.weight.equal(head.layer.weight)


def test_mask2formers_record_is_what_it_always_was(tmp_path: Path) -> None:
    """Artefacts written before heads could be chosen are read, and those written now are read there."""
    segmenter = Segmenter.for_encoder(build_encoder(SPEC), 3, HEAD)
    save_segmenter(segmenter, tmp_path, label_space=SPACE, protocol={}, provenance={})
    record = json.loads((tmp_path / "segmenter.json").read_text())
    of_segments = {"segments", "score_threshold", "overlap_threshold"}  # of panoptic heads, which there were none of
    assert record["head"] == {name: value for name, value in asdict(HEAD).items() if name not in of_segments}
    assert settings_of({"queries": 7}) == Mask2FormerConfig(queries=7)


def test_heads_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"head\.level: 4, but there are levels 0 to 3"):
        build_head(LinearHead(4), [6] * 4, 3)
    used = LinearHead()
    build_head(used, [6] * 4, 3)
    with pytest.raises(UserError, match="this LinearHead is in use already"):
        build_head(used, [6] * 4, 3)
    with pytest.raises(UserError, match="arguments of WithSettings must be plain values"):
        build_head(WithSettings(deep=object()), [6] * 4, 3)
    with pytest.raises(UserError, match=r"head: nowhere\.Head cannot be imported \(No module named 'nowhere'\)"):
        settings_of({"class_path": "nowhere.Head", "init_args": {}})
    with pytest.raises(UserError, match=r"head: torch\.nn\.Linear is not derived from .*SegmentationHead"):
        settings_of({"class_path": "torch.nn.Linear", "init_args": {}})
