"""Matcher and losses against transformers' stock implementation, and their behaviour at the edges."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from transformers import Mask2FormerConfig as StockConfig
from transformers.models.mask2former import modeling_mask2former as stock

from gkd_lightning.errors import UserError
from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.mask2former import HeadOutput, Mask2FormerConfig
from gkd_lightning.segment.matcher import match
from gkd_lightning.segment.points import KeyedPoints
from gkd_lightning.segment.targets import class_masks, semantic_targets
from tests.segment.shape_points import ShapePoints, rand_by_shape

CONFIG = Mask2FormerConfig(hidden_dim=32, heads=2, queries=9, points=50)
LAYERS, CLASSES = 3, 6


def random_output(batch: int = 4, seed: int = 0, queries: int = 9) -> HeadOutput:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randn(LAYERS, batch, queries, CLASSES + 1, generator=generator)
    masks = torch.stack([4 * torch.randn(batch, queries, 8, 12, generator=generator) for _ in range(LAYERS)])
    output = output_of(classes, masks)
    output.classes.requires_grad_()
    output.embeddings.requires_grad_()
    return output


def output_of(classes: Tensor, masks: Tensor) -> HeadOutput:
    """Mask logits (L, B, Q, h, w) as they are: every pixel's feature is its own place."""
    _, batch, _, height, width = masks.shape
    pixels = torch.eye(height * width).view(1, height * width, height, width)
    return HeadOutput(classes, masks.flatten(3), pixels.expand(batch, -1, -1, -1))


def random_label(batch: int = 4, seed: int = 0) -> Tensor:
    """Blocks of classes, some ignored."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, CLASSES + 1, (batch, 3, 4), generator=generator)
    blocks[blocks == CLASSES] = 255
    return blocks.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)


def stock_targets(label: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    present = [image.unique()[image.unique() < 255].long() for image in label]
    masks = [(image == ids[:, None, None]).float() for image, ids in zip(label, present, strict=True)]
    return masks, present


@pytest.fixture
def same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", rand_by_shape)


@pytest.mark.usefixtures("same_points")
@pytest.mark.parametrize("seed", range(3))
def test_matching_equals_transformers(seed: int) -> None:
    output, label = random_output(seed=seed), random_label(seed=seed)
    matching = match(output, semantic_targets(label, CLASSES), ShapePoints(output, label, CONFIG), CONFIG)
    masks, present = stock_targets(label)
    matcher = stock.Mask2FormerHungarianMatcher(cost_class=2.0, cost_mask=5.0, cost_dice=5.0, num_points=50)
    for layer in range(LAYERS):
        expected = matcher(output.masks(layer), output.classes[layer], masks, present)
        pairs = {
            (image, int(query), int(present[image][place]))
            for image, (queries, places) in enumerate(expected)
            for query, place in zip(queries, places, strict=True)
        }
        ours = zip(matching.image, matching.query[:, layer], matching.target, strict=True)
        assert {tuple(int(value) for value in pair) for pair in ours} == pairs
        for image, query, class_id in pairs:
            assert matching.query_class[layer, image, query] == class_id
        assert int((matching.query_class[layer] < CLASSES).sum()) == len(pairs) == matching.total


@pytest.mark.usefixtures("same_points")
@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_equal_transformers(seed: int) -> None:
    label = random_label(seed=seed)
    ours = random_output(seed=seed)
    losses = Mask2FormerCriterion(CLASSES, CONFIG)(ours, label, ShapePoints(ours, label, CONFIG))
    losses.total.backward()

    theirs = random_output(seed=seed)
    weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    criterion = stock.Mask2FormerLoss(StockConfig(num_labels=CLASSES, train_num_points=50), weights)
    # The stock loss calls itself for the inner layers under the names ..._0, ..._1.
    inner = [
        {"masks_queries_logits": theirs.masks(layer), "class_queries_logits": theirs.classes[layer]}
        for layer in range(LAYERS - 1)
    ]
    expected = criterion(theirs.masks(-1), theirs.classes[-1], *stock_targets(label), inner)
    total = torch.stack(
        [weights[key.rsplit("_", 1)[0] if key[-1].isdigit() else key] * expected[key] for key in expected]
    )
    total.sum().backward()

    for values, key in zip(losses, ("loss_cross_entropy", "loss_mask", "loss_dice"), strict=True):
        for layer in range(LAYERS):
            name = key if layer == LAYERS - 1 else f"{key}_{layer}"
            torch.testing.assert_close(values[layer], weights[key] * expected[name], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.classes.grad, theirs.classes.grad, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.embeddings.grad, theirs.embeddings.grad, atol=1e-6, rtol=1e-5)


def test_a_perfect_prediction_costs_nothing() -> None:
    label = random_label(1)
    targets = semantic_targets(label, CLASSES)
    classes = torch.full((LAYERS, 1, CLASSES, CLASSES + 1), -30.0)
    for class_id in range(CLASSES):
        classes[:, 0, class_id, class_id if targets.present[0, class_id] else CLASSES] = 30.0
    truth = class_masks(label, torch.zeros(CLASSES, dtype=torch.int64), torch.arange(CLASSES))
    masks = (60 * (truth - 0.5)).expand(LAYERS, 1, -1, -1, -1)
    # Points between two pixels see a mixture; the losses there do not vanish, so the points sit on centres.
    losses = Mask2FormerCriterion(CLASSES, CONFIG)(output_of(classes, masks), label, PixelCentres())
    assert float(losses.classes.sum()) == pytest.approx(0, abs=1e-5)
    assert float(losses.masks.sum()) == pytest.approx(0, abs=1e-4)
    assert float(losses.dice.sum()) == pytest.approx(0, abs=1e-4)


class PixelCentres(KeyedPoints):
    """Points at the centres of a 24 x 32 image's pixels."""

    def __init__(self) -> None:
        super().__init__([0])

    def per_mask(self, masks: list[int], layers: int, count: int, device: torch.device) -> Tensor:
        half = torch.tensor([16.0, 12.0])
        return ((super().per_mask(masks, layers, count, device) * half).floor() + 0.5) / half


def test_an_image_without_truth_only_teaches_no_object() -> None:
    output = random_output(batch=2)
    label = random_label(2)
    label[1] = 255
    losses = Mask2FormerCriterion(CLASSES, CONFIG)(output, label, KeyedPoints([1, 2]))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    gradient = output.embeddings.grad
    assert gradient is not None
    assert not gradient[:, 1].any()
    assert gradient[:, 0].flatten(1).any(1).all()


def test_a_batch_without_any_truth() -> None:
    output = random_output(batch=2)
    label = torch.full((2, 24, 32), 255, dtype=torch.uint8)
    losses = Mask2FormerCriterion(CLASSES, CONFIG)(output, label, KeyedPoints([1, 2]))
    losses.total.backward()
    assert not losses.masks.any()
    assert not losses.dice.any()
    assert output.embeddings.grad is not None  # in the graph, so that no rank waits for another's gradients


def test_more_classes_than_queries() -> None:
    """The best pairs are matched, the other classes of that layer stay alone."""
    config = Mask2FormerConfig(hidden_dim=32, heads=2, queries=3, points=50)
    output, label = random_output(queries=3), random_label()
    targets = semantic_targets(label, CLASSES)
    assert int(targets.present.sum(1).max()) > 3
    matching = match(output, targets, KeyedPoints([1, 2, 3, 4]), config)
    assert matching.matched.sum(0).tolist() == [matching.total] * LAYERS
    assert matching.total == int(targets.present.sum(1).clamp(max=3).sum())
    losses = Mask2FormerCriterion(CLASSES, config)(output, label, KeyedPoints([1, 2, 3, 4]))
    losses.total.backward()
    assert torch.isfinite(losses.total)


def test_divergence_ends_in_one_line() -> None:
    output = random_output()
    with torch.no_grad():
        output.embeddings[1, 2, 3] = torch.nan
    with pytest.raises(UserError, match=r"layer 1, image 2 of the batch.*lower lr") as caught:
        Mask2FormerCriterion(CLASSES, CONFIG)(output, random_label(), KeyedPoints([1, 2, 3, 4]))
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_class() -> None:
    label = random_label()
    label[0, 0, 0] = 18
    with pytest.raises(UserError, match=r"label id 18 .* num_classes is 6"):
        Mask2FormerCriterion(CLASSES, CONFIG)(random_output(), label, KeyedPoints([1, 2, 3, 4]))


def test_one_copy_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda self: calls.append(self.numel()) or original(self))
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero"):
        monkeypatch.setattr(Tensor, name, lambda *_, name=name: pytest.fail(f"Tensor.{name} waits for the device"))
    Mask2FormerCriterion(CLASSES, CONFIG)(random_output(), random_label(), KeyedPoints([1, 2, 3, 4]))
    assert len(calls) == 1


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    output, label = random_output(), random_label()
    mine = slice(rank, None, 2)
    part = HeadOutput(output.classes[:, mine], output.embeddings[:, mine], output.pixels[mine])
    losses = Mask2FormerCriterion(CLASSES, CONFIG)(part, label[mine], KeyedPoints([1, 2, 3, 4][mine]))
    losses.total.backward()
    gradients = [output.classes.grad, output.embeddings.grad]
    torch.save((torch.stack(losses), gradients), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_ranks_give_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    """Both normalisers are reduced; the images have different numbers of classes, so it matters."""
    output, label = random_output(), random_label()
    present = semantic_targets(label, CLASSES).present.sum(1)
    assert int(present[::2].sum()) != int(present[1::2].sum())
    losses = Mask2FormerCriterion(CLASSES, CONFIG)(output, label, KeyedPoints([1, 2, 3, 4]))
    losses.total.backward()
    multiprocessing.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    (first, first_gradients), (second, second_gradients) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    torch.testing.assert_close((first + second) / 2, torch.stack(losses), atol=1e-6, rtol=1e-6)
    whole = [output.classes.grad, output.embeddings.grad]
    for one, a, b in zip(whole, first_gradients, second_gradients, strict=True):
        torch.testing.assert_close((a + b) / 2, one, atol=1e-6, rtol=1e-5)
