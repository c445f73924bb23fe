"""Things one by one: what a head learns from, what it finds, and a training from end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gkd_lightning.data import MiniCity, MiniCityLabelledShapes, SourceDataModule
from gkd_lightning.errors import UserError
from gkd_lightning.segment import (
    LinearHead,
    Mask2FormerConfig,
    TaskLearning,
    finds_segments,
    instance_masks,
    load_segmenter,
    panoptic_maps,
    queries_of,
    segments_found,
)
from gkd_lightning.segment.criterion import Mask2FormerCriterion
from gkd_lightning.segment.mask2former import HeadOutput
from gkd_lightning.segment.matcher import match
from gkd_lightning.segment.points import KeyedPoints
from gkd_lightning.segment.targets import class_masks, panoptic_targets, semantic_targets
from tests.segment.fake import HEAD, SPEC, FakeData
from tests.segment.test_module import trainer

SKY, ROAD, CAR = range(3)
CAR_1, CAR_2 = CAR + 256, CAR + 512
PANOPTIC = replace(HEAD, segments="panoptic")


def test_three_things_are_three_targets() -> None:
    codes = torch.tensor(
        [
            [[SKY, SKY, SKY, 255], [CAR_1, CAR_2, CAR + 9 * 256, ROAD], [CAR_1, CAR_2, ROAD, ROAD]],
            [[255, 255, 255, 255], [255, 255, CAR_2, CAR_2], [255, 255, 255, 255]],
        ],
        dtype=torch.int32,
    )
    targets = panoptic_targets(codes)
    assert targets.present.tolist() == [[True] * 5, [True] + [False] * 4]
    assert targets.classes is not None
    assert targets.classes[0].tolist() == [SKY, ROAD, CAR, CAR, CAR]
    assert targets.classes[1, 0] == CAR
    assert int(targets.highest) == CAR
    masks = class_masks(targets.label, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 2, 4, 0]))
    assert masks[0].tolist() == [[1, 1, 1, 0], [0] * 4, [0] * 4]
    assert masks[1].tolist() == [[0] * 4, [1, 0, 0, 0], [1, 0, 0, 0]]
    assert masks[2].tolist() == [[0] * 4, [0, 0, 1, 0], [0] * 4]
    assert masks[3].tolist() == [[0] * 4, [0, 0, 1, 1], [0] * 4]
    nothing = panoptic_targets(torch.full((2, 3, 3), 255, dtype=torch.int32))
    assert not nothing.present.any()


def random_output(queries: int = 6, images: int = 2) -> HeadOutput:
    generator = torch.Generator().manual_seed(5)
    return HeadOutput(
        torch.randn(3, images, queries, 4, generator=generator),
        torch.randn(3, images, queries, 8, generator=generator),
        torch.randn(images, 8, 6, 6, generator=generator),
    )


def test_without_things_the_loss_is_the_semantic_one() -> None:
    label = torch.randint(0, 3, (2, 24, 24), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    label[:, :4] = 255
    label[0][label[0] == 1] = 2  # a class that one image lacks
    output, points = random_output(), [KeyedPoints([3, 4]) for _ in range(2)]
    semantic = Mask2FormerCriterion(3, HEAD)(output, label, points[0])
    panoptic = Mask2FormerCriterion(3, PANOPTIC)(output, label.int(), points[1])
    for one, other in zip(semantic, panoptic, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def drawn(regions: list[Tensor], size: int = 24) -> Tensor:
    """Mask logits (1, Q, size, size) of boolean regions."""
    return torch.stack([torch.where(region, 8.0, -8.0) for region in regions])[None]


def region(top: int, bottom: int, left: int, right: int) -> Tensor:
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def logits_of(kinds: list[int], sure: float = 9.0) -> Tensor:
    """Class logits (1, Q, 4) of queries that are sure of their class; 3 is no object."""
    classes = torch.zeros(1, len(kinds), 4)
    classes[0, range(len(kinds)), kinds] = sure
    return classes


def test_two_cars_are_matched_by_two_queries_of_one_class() -> None:
    codes = torch.full((1, 24, 24), SKY, dtype=torch.int32)
    codes[0, 12:, :12], codes[0, 12:, 12:] = CAR_1, CAR_2
    masks = drawn([region(0, 12, 0, 24), region(12, 24, 12, 24), region(0, 2, 0, 2), region(12, 24, 0, 12)])
    # pixels are their own features, so that embeddings are masks
    output = HeadOutput(
        logits_of([SKY, CAR, 3, CAR])[None], masks.flatten(2)[None], torch.eye(576).view(1, 576, 24, 24)
    )
    matching = match(output, panoptic_targets(codes), KeyedPoints([0]), PANOPTIC)
    assert matching.counts == [3]
    assert matching.total == 3
    assert matching.query_class.flatten().tolist() == [SKY, CAR, 3, CAR]
    by_target = dict(zip(matching.target.tolist(), matching.query[:, 0].tolist(), strict=True))
    assert by_target == {0: 0, 1: 3, 2: 1}
    right = Mask2FormerCriterion(3, PANOPTIC)(output, codes, KeyedPoints([0]))
    merged = Mask2FormerCriterion(3, HEAD)(output, (codes % 256).to(torch.uint8), KeyedPoints([0]))
    assert float(merged.total) > 2 * float(right.total)  # one mask for both cars is what this output is not


def test_a_class_that_is_none_is_told() -> None:
    codes = torch.full((2, 24, 24), 7 + 256, dtype=torch.int32)
    with pytest.raises(UserError, match="label id 7 in a training label, but num_classes is 3"):
        match(random_output(), panoptic_targets(codes), KeyedPoints([0, 1]), PANOPTIC)


def test_a_panoptic_map_by_hand() -> None:
    masks = drawn(
        [
            region(0, 12, 0, 12),  # sky, left
            region(0, 12, 12, 24),  # sky, right: stuff of one class is one segment
            region(12, 24, 0, 12),  # a car
            region(12, 24, 12, 24),  # another car
            region(12, 24, 14, 24),  # a less sure car over most of the other: it wins nothing
            region(12, 24, 0, 24),  # road that calls itself no object
        ]
    )
    classes = torch.cat([logits_of([SKY, SKY, CAR, CAR]), logits_of([CAR], 5.0), logits_of([3])], 1)
    (found,) = panoptic_maps(classes, masks, (24, 24), things=[CAR])
    assert found.codes.dtype == torch.int32
    assert (found.codes[:12] == SKY).all()
    assert (found.codes[12:, :12] == CAR_1).all()
    assert (found.codes[12:, 12:] == CAR_2).all()
    assert sorted(found.scores) == [SKY, CAR_1, CAR_2]
    assert all(score > 0.99 for score in found.scores.values())
    (merged,) = panoptic_maps(classes, masks, (24, 24), things=[])
    assert (merged.codes[12:] == CAR).all()


def test_thresholds_leave_out_the_unsure_and_the_hidden() -> None:
    masks = drawn([region(0, 24, 0, 24), region(0, 24, 0, 20)])
    classes = torch.cat([logits_of([SKY], 3.0), logits_of([CAR])], 1)  # 0.87 and 0.9996
    (hidden,) = panoptic_maps(classes, masks, (24, 24), things=[CAR])
    assert (hidden.codes[:, :20] == CAR_1).all()
    assert (hidden.codes[:, 20:] == 255).all()  # of the sky a sixth is seen, and then it is no segment
    (seen,) = panoptic_maps(classes, masks, (24, 24), things=[CAR], overlap_threshold=0.1)
    assert (seen.codes[:, 20:] == SKY).all()
    (alone,) = panoptic_maps(classes, masks, (24, 24), things=[CAR], score_threshold=0.9)
    assert sorted(alone.scores) == [CAR_1]
    (none,) = panoptic_maps(classes, masks, (48, 30), things=[CAR], score_threshold=1)
    assert none.codes.shape == (48, 30)
    assert (none.codes == 255).all()
    assert none.scores == {}


def test_instances_are_things_and_sorted_by_score() -> None:
    masks = drawn([region(0, 4, 0, 4), region(8, 12, 8, 12), region(0, 24, 0, 24)])
    classes = torch.cat([logits_of([CAR], 2.0), logits_of([CAR]), logits_of([SKY])], 1)
    (found,) = instance_masks(classes, masks, (24, 24), [CAR], most=4)
    assert found.masks[0].equal(region(8, 12, 8, 12))
    assert found.classes.eq(CAR).all()
    assert found.scores[0] > 0.99
    assert (found.scores.diff() <= 0).all()
    (nothing,) = instance_masks(classes, drawn([region(0, 0, 0, 0)] * 3), (24, 24), [CAR])
    assert len(nothing.scores) == 0


def data(**changes: object) -> SourceDataModule:
    options = {"val": {"val": MiniCity("val", 3), "bare": MiniCityLabelledShapes(2)}, "val_batch_size": 2, **changes}
    return SourceDataModule(MiniCity("game", 4), "segmentation", 32, 2, **options)


def test_from_end_to_end(tmp_path: Path) -> None:
    """Trained, judged where there are instances, exported, loaded, and asked again."""
    torch.manual_seed(0)
    head = replace(PANOPTIC, score_threshold=0.0, overlap_threshold=0.0)
    model = TaskLearning(SPEC, 8, head, window=32, stride=16, lr=1e-3)
    run, source = trainer(tmp_path, max_steps=3), data()
    run.fit(model, source)
    run.validate(model, source, verbose=False)
    assert model.domain_scores["bare"].panoptic is None
    found = model.domain_scores["val"].panoptic
    assert found is not None
    assert found.things == ("car", "person")
    assert sum(found.missed) > 0
    assert set(run.callback_metrics) >= {"val/val/pq", "val/val/miou", "val/bare/miou"}
    assert "val/bare/pq" not in run.callback_metrics

    model.export(tmp_path, {})
    loaded = load_segmenter(tmp_path)
    assert loaded.label_space.things == ("car", "person")
    assert finds_segments(loaded.segmenter)
    assert loaded.record["head"]["segments"] == "panoptic"
    image = torch.from_numpy(source.val["val"].image(0)).permute(2, 0, 1)[None]
    (one,) = segments_found(loaded.segmenter, queries_of(loaded.segmenter, image), (50, 70), loaded.label_space)
    assert one.codes.shape == (50, 70)
    assert set(one.codes.unique().tolist()) - {255} == set(one.scores)


def test_a_semantic_head_asks_for_no_segments(tmp_path: Path) -> None:
    model, run, source = TaskLearning(SPEC, 8, HEAD, window=32, stride=16), trainer(tmp_path, max_steps=1), data()
    run.fit(model, source)
    assert not source.panoptic
    assert not finds_segments(model.segmenter)
    assert all(score.panoptic is None for score in model.domain_scores.values())
    assert not TaskLearning(SPEC, 8, LinearHead(), window=32, stride=16).panoptic


def test_data_that_cannot_teach_it_are_one_line(tmp_path: Path) -> None:
    model = TaskLearning(SPEC, 8, PANOPTIC, window=32, stride=16)
    source = SourceDataModule(MiniCityLabelledShapes(4), "segmentation", 32, 2)
    with pytest.raises(UserError, match=r"data\.dataset: MiniCityLabelledShapes tells no instances apart"):
        trainer(tmp_path).fit(model, source)


def test_a_data_module_of_ones_own_without_segments_is_one_line(tmp_path: Path) -> None:
    model = TaskLearning(SPEC, 3, PANOPTIC, window=32, stride=16)
    with pytest.raises(UserError, match="data: its batches have no `segments`"):
        trainer(tmp_path).fit(model, FakeData())


def test_the_record_says_how_segments_are_found_where_they_are() -> None:
    names = {"segments", "score_threshold", "overlap_threshold"}
    assert not names & Mask2FormerConfig().record.keys()
    assert names <= PANOPTIC.record.keys()
    assert Mask2FormerConfig(**PANOPTIC.record) == PANOPTIC


def test_semantic_targets_are_what_they_were() -> None:
    """No class of its own for a target: the head pays nothing for what it does not use."""
    assert semantic_targets(torch.zeros(1, 4, 4, dtype=torch.uint8), 3).classes is None
    assert np.isfinite(float(Mask2FormerCriterion(3, HEAD)(
        random_output(images=1), torch.zeros(1, 24, 24, dtype=torch.uint8), KeyedPoints([1])
    ).total))  # fmt: skip
