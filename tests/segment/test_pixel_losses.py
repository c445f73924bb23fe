"""Losses of every pixel against plain NumPy and against other libraries' code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.mask2former.modeling_mask2former import dice_loss

from gkd_lightning.errors import UserError
from gkd_lightning.segment.pixel_losses import PixelCriterion, PixelLosses

CLASSES = 4
ALL = PixelLosses(1.0, ohem=0.5, dice=2.0, boundary=0.25, ohem_min_kept=20, class_weights=[0.5, 1, 2, 4])


def batch(images: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (B, 4, 12, 10) and labels: blocks of three classes, image i without truth in its first 2i rows."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, CLASSES, 12, 10, generator=generator)
    labels = torch.randint(0, 3, (images, 3, 2), generator=generator)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(5, 2).to(torch.uint8)
    for image in range(images):
        labels[image, : 2 * image] = 255
    return logits, labels


def only(name: str, **settings: object) -> PixelCriterion:
    return PixelCriterion(PixelLosses(**{"cross_entropy": 0.0, name: 1.0, **settings}), CLASSES)


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (B, K, H, W) and labels of the batch in float64, and where they are known."""
    logits, labels = batch()
    exp = np.exp(logits.double().numpy())
    return exp / exp.sum(1, keepdims=True), labels.numpy(), labels.numpy() != 255


def probability_of_truth() -> np.ndarray:
    probability, labels, known = arrays()
    picked = np.take_along_axis(probability, np.where(known, labels, 0)[:, None], 1)[:, 0]
    return np.where(known, picked, np.nan)


def test_cross_entropy_with_class_weights_is_torchs() -> None:
    logits, labels = batch()
    weights = [0.5, 1.0, 2.0, 4.0]
    expected = F.cross_entropy(logits, labels.long(), torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(only("cross_entropy", class_weights=weights)(logits, labels).total, expected)


@pytest.mark.parametrize(("threshold", "kept"), [(0.3, 0), (0.3, 50), (0.05, 7), (0.9, 10**6)])
def test_the_hard_pixels_are_those_of_mmsegs_rule_for_each_image(threshold: float, kept: int) -> None:
    total, count = 0.0, 0
    for each in probability_of_truth():
        known = each[~np.isnan(each)]
        limit = max(np.sort(known)[min(kept, len(known) - 1)], threshold)
        total, count = total - np.log(known[known < limit]).sum(), count + (known < limit).sum()
    logits, labels = batch()
    found = only("ohem", ohem_threshold=threshold, ohem_min_kept=kept)(logits, labels).total
    assert float(found) == pytest.approx(total / count, rel=1e-5)


def test_dice_is_mask2formers_for_probabilities_of_classes() -> None:
    logits, labels = batch()
    rows, truths = [], []
    for image in range(3):
        known = labels[image] != 255
        probability = logits[image].softmax(0)[:, known]
        for own in labels[image][known].unique().tolist():
            rows.append(F.pad(probability[own].logit(), (0, 120 - known.sum()), value=-1e9))
            truths.append(F.pad((labels[image][known] == own).float(), (0, 120 - known.sum())))
    expected = dice_loss(torch.stack(rows), torch.stack(truths), len(rows))
    torch.testing.assert_close(only("dice")(logits, labels).total, expected)


def pooled(values: np.ndarray, side: int) -> np.ndarray:
    padded = np.pad(values, side // 2, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side)).max((2, 3))


def test_boundary_is_one_minus_f1_of_the_edges() -> None:
    probability, labels, known = arrays()
    losses = []
    for image in range(3):
        inside = 1 - pooled(1.0 - known[image], 3)
        for own in range(CLASSES):
            found, true = (
                (pooled(1 - each, 3) - (1 - each)) * inside
                for each in (probability[image, own] * known[image], (labels[image] == own).astype(float))
            )
            if true.sum():
                precision = (found * pooled(true, 5)).sum() / found.sum()
                recall = (true * pooled(found, 5)).sum() / true.sum()
                losses.append(1 - 2 * precision * recall / (precision + recall))
    assert len(losses) > 3
    assert float(only("boundary")(*batch()).total) == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_perfect_answer_has_no_edge_missed() -> None:
    _, labels = batch()
    sure = 50 * F.one_hot(labels.long().clamp(max=3), CLASSES).movedim(-1, 1).float()
    assert float(only("boundary")(sure, labels).total) == pytest.approx(0, abs=1e-5)
    assert float(only("dice")(sure, labels).total) == pytest.approx(0, abs=1e-5)


def test_terms_are_weighted_and_add_up() -> None:
    logits, labels = batch()
    losses = PixelCriterion(ALL, CLASSES)(logits, labels)
    assert list(losses.terms) == ["loss_entropy", "loss_ohem", "loss_dice", "loss_boundary"]
    torch.testing.assert_close(losses.total, sum(losses.terms.values()))
    alone = only("dice", class_weights=ALL.class_weights)(logits, labels).total
    torch.testing.assert_close(losses.terms["loss_dice"], 2 * alone)


def test_logits_are_enlarged_to_the_labels() -> None:
    logits, labels = batch()
    small = F.avg_pool2d(logits, 2)
    large = F.interpolate(small, (12, 10), mode="bilinear", align_corners=False)
    criterion = PixelCriterion(ALL, CLASSES)
    torch.testing.assert_close(criterion(small, labels).total, criterion(large, labels).total)


def test_ranks_with_different_shares_of_truth_are_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = batch(4)
    criterion = PixelCriterion(ALL, CLASSES)

    def spread(mean: Callable[[Tensor], Tensor], images: slice) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr("gkd_lightning.segment.pixel_losses.mean_over_ranks", mean)
        own = logits[images].clone().requires_grad_()
        total = criterion(own, labels[images]).total
        return total.detach(), torch.autograd.grad(total, own)[0]

    counts: list[Tensor] = []

    def noted(values: Tensor) -> Tensor:
        counts.append(values)
        return values

    whole, gradient = spread(noted, slice(4))
    for half in (slice(2), slice(2, 4)):
        spread(noted, half)
    torch.testing.assert_close(counts[1] + counts[2], counts[0])
    ranks = [spread(lambda _: counts[0] / 2, half) for half in (slice(2), slice(2, 4))]
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, whole)  # DDP takes the mean of the gradients
    torch.testing.assert_close(torch.cat([own for _, own in ranks]) / 2, gradient)


@pytest.mark.parametrize("nothing", ["all", "one image"])
def test_images_without_truth_teach_nothing(nothing: str) -> None:
    logits, labels = batch()
    labels[slice(None) if nothing == "all" else 1] = 255
    logits.requires_grad_()
    losses = PixelCriterion(ALL, CLASSES)(logits, labels)
    losses.total.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[1].any()
    if nothing == "all":
        assert float(losses.total) == 0


def test_losses_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"head\.losses: all weights are 0, nothing would be learned"):
        PixelCriterion(PixelLosses(cross_entropy=0), CLASSES)
    with pytest.raises(UserError, match=r"head\.losses\.class_weights: 3 weights, but there are 4 classes"):
        PixelCriterion(PixelLosses(class_weights=[1, 1, 1]), CLASSES)
    with pytest.raises(UserError, match=r"class_weights\[1\]: 0; give a number above 0"):
        PixelLosses(class_weights=[1, 0, 1, 1])
    with pytest.raises(UserError, match="dice: -1; give a number at least 0"):
        PixelLosses(dice=-1)
    logits, labels = batch()
    labels[0, -1, -1] = 4
    with pytest.raises(UserError, match="label id 4 in a training label, but num_classes is 4"):
        PixelCriterion(PixelLosses(), CLASSES)(logits, labels)
