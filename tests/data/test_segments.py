"""Instances beside the classes: one map of codes goes the label's way, and nothing of the label changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gkd_lightning.data import Corrupted, Joined, MiniCity, MiniCityLabelledShapes, SourceDataModule, contents
from gkd_lightning.data.augment import SegmentAugmentation, SegmentTransform
from gkd_lightning.data.labels import label_space
from gkd_lightning.data.loading import EvaluationView, SegmentationView
from gkd_lightning.data.manifests import manifest
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.segments import has_instances, require_instances, segment_map, segments_of
from gkd_lightning.data.types import MINICITY_8, Instances, LabelSpace
from gkd_lightning.errors import UserError
from tests.data.helpers import Scribbles

CAR, PERSON = MINICITY_8.names.index("car"), MINICITY_8.names.index("person")
SPACE = LabelSpace(("road", "car"), ((0, 0, 0), (0, 0, 142)), things=("car",))


class Crowded(Scribbles):
    """Its second class is a thing; instances are columns, and the lower half of the image is a crowd."""

    label_space = SPACE
    has_instances = True
    shift = 0

    def instances(self, index: int) -> Instances:
        columns = np.arange(self.width, dtype=np.int32)[None] // 8 + 1 + self.shift
        found = np.repeat(columns, self.height, axis=0)
        found[self.height // 2 :] = 0
        return found


def test_codes_of_things_stuff_and_a_crowd() -> None:
    label = np.array([[0, 0, 1, 1], [255, 1, 1, 1]], np.uint8)
    instances = np.array([[7, 0, 1, 2], [3, 2, 0, 1]], np.int32)
    codes = segment_map(label, instances, SPACE)
    assert codes.dtype == np.int32
    # stuff has no instances, a crowd's pixel no truth, and what is ignored stays so whatever its number
    assert codes.tolist() == [[0, 0, 1 + 256, 1 + 512], [255, 1 + 512, 255, 1 + 256]]
    assert segment_map(label, instances, LabelSpace(SPACE.names, SPACE.palette)).tolist() == label.tolist()


def test_what_contradicts_itself_is_one_line() -> None:
    label = np.zeros((2, 3), np.uint8)
    with pytest.raises(UserError, match="town: the label is 3x2 but its instances 2x3"):
        segment_map(label, np.zeros((3, 2), np.int32), SPACE, "town")
    for number in (-1, 2**23):
        with pytest.raises(UserError, match=f"town: instance {number}; numbers are 0"):
            segment_map(label, np.full((2, 3), number, np.int32), SPACE, "town")


def test_things_are_classes() -> None:
    assert label_space("minicity-8").things == ("car", "person")
    assert label_space("minicity-8").thing_ids == (CAR, PERSON)
    assert label_space(["a", "b"]).things == ()
    assert label_space("minicity-8", things=["pole"]).thing_ids == (7,)
    with pytest.raises(UserError, match="things: 'bus' is none of the classes a, b"):
        label_space(["a", "b"], things=["bus"])


def test_minicity_numbers_its_cars_and_persons() -> None:
    city, plain = MiniCity("game", 12), MiniCity("game", 12, cache=False)
    several = 0
    for index in range(12):
        label, instances = city.label(index), city.instances(index)
        assert instances.dtype == np.int32
        assert ((instances > 0) == np.isin(label, (CAR, PERSON))).all()
        numbers = np.unique(instances)
        assert numbers.tolist() == list(range(numbers.max() + 1))
        for number in numbers[1:]:  # one object, one class
            assert len(np.unique(label[instances == number])) == 1
        several += numbers.max() > 1
        assert (city.instances(index) == instances).all()  # remembered
        assert (plain.instances(index) == instances).all()  # not remembered
        assert (segments_of(city, index, label).astype(np.uint8) == label).all()
    assert several > 8  # most streets have more than one object


def test_two_cars_that_touch_are_two() -> None:
    """Otherwise connected regions would do."""
    city = MiniCity("day", 60)
    touching = 0
    for index in range(60):
        label, instances = city.label(index), city.instances(index)
        beside = (label[:, 1:] == label[:, :-1]) & (instances[:, 1:] != instances[:, :-1])
        touching += bool(beside.any())
    assert touching > 3


@pytest.mark.parametrize("key", [0, 3, 11])
@pytest.mark.parametrize("size", [64, 160])  # which crops, which pads
def test_codes_are_augmented_as_the_label_is(key: int, size: int) -> None:
    city = MiniCity("game", 4)
    transform = SegmentTransform(SegmentAugmentation(), size)
    image, label = city.image(key % 4), city.label(key % 4)
    plain_image, plain_label = transform(image, label, key)
    other_image, codes = transform(image, segments_of(city, key % 4, label), key)
    assert other_image.equal(plain_image)
    assert codes.dtype == torch.int32
    assert codes.to(torch.uint8).equal(plain_label)
    assert (codes[plain_label == 255] == 255).all()
    known = set(np.unique(segments_of(city, key % 4, label))) | {255}
    assert set(codes.unique().tolist()) <= known
    assert ((codes >= 256) == torch.isin(plain_label, torch.tensor([CAR, PERSON]))).all()


def test_a_training_sample_with_segments_has_the_image_and_label_of_one_without() -> None:
    city, transform = MiniCity("game", 3), SegmentTransform(SegmentAugmentation(), 96)
    without, having = SegmentationView(city, transform), SegmentationView(city, transform, panoptic=True)
    for index in range(3):
        plain, more = without[index, 17 + index], having[index, 17 + index]
        assert set(more) - set(plain) == {"segments"}
        assert more["image"].equal(plain["image"])
        assert more["label"].equal(plain["label"])
        assert more["segments"].remainder(256).to(torch.uint8).equal(plain["label"])


def test_a_crowd_is_left_out_of_segments_and_kept_in_the_label_that_is_judged() -> None:
    data = Crowded(2)
    judged = EvaluationView(data, Protocol(), panoptic=True)[0]
    assert (judged["label"].numpy() == data.label(0)).all()
    lower = judged["segments"][10:]
    assert (lower[judged["label"][10:] == 1] == 255).all()
    assert (judged["segments"][:10] >= 256).any()
    assert "segments" not in EvaluationView(data, Protocol())[0]


def test_sets_of_sets_hand_instances_on() -> None:
    city = MiniCity("game", 2)
    for other in (Corrupted(city, "fog"), Joined([city, city])):
        assert has_instances(other)
        assert (other.instances(1) == city.instances(1)).all()
    assert not has_instances(Corrupted(Scribbles(2), "fog"))
    assert not has_instances(MiniCityLabelledShapes(2))


def test_data_without_instances_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.dataset: Scribbles tells no instances apart"):
        require_instances("data.dataset", Scribbles(2))
    data = Crowded(2)
    data.label_space = LabelSpace(SPACE.names, SPACE.palette)
    with pytest.raises(UserError, match="none of its classes is a thing"):
        require_instances("data.dataset", data)


def test_fingerprints_hold_instances_where_they_are_used() -> None:
    before, after = Crowded(3), Crowded(3)
    after.shift = 1
    for fingerprint in (contents, manifest):
        assert fingerprint(before, labels=True) == fingerprint(after, labels=True)
        assert fingerprint(before, labels=True, instances=True) != fingerprint(after, labels=True, instances=True)
        assert fingerprint(Scribbles(3), labels=True, instances=True) == fingerprint(Scribbles(3), labels=True)


def test_batches_carry_segments_once_a_model_asks(tmp_path: Path) -> None:
    data = SourceDataModule(
        MiniCity("game", 4), "segmentation", 32, 2, val={"own": MiniCity("val", 2), "bare": MiniCityLabelledShapes(2)}
    )
    assert "segments" not in next(iter(data.train_dataloader()))
    assert data.panoptic_domains == []
    data.panoptic = True
    assert next(iter(data.train_dataloader()))["segments"].shape == (2, 32, 32)
    assert data.panoptic_domains == ["own"]
    own, bare = (next(iter(loader)) for loader in data.val_dataloader())
    assert own["segments"].dtype == torch.int32
    assert "segments" not in bare
