"""Corruptions: deterministic, of any size, and worse with every step of severity."""

import numpy as np
import pytest

from gkd_lightning.data.corruptions import CORRUPTIONS, Corrupted, corrupt
from gkd_lightning.data.minicity import MiniCity
from gkd_lightning.data.types import Image, SegmentationDataset
from gkd_lightning.errors import UserError


@pytest.fixture(scope="module")
def photo() -> Image:
    """A street of 192×256 pixels."""
    return np.kron(MiniCity("day", 1).image(0), np.ones((2, 2, 1), np.uint8))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_severity_is_monotone(corruption: str, photo: Image) -> None:
    distances = [
        np.abs(corrupt(photo, corruption, severity).astype(int) - photo).mean() for severity in (1, 2, 3, 4, 5)
    ]
    assert distances[0] > 1
    assert distances == sorted(distances), distances


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("size", [(8, 8), (33, 97), (120, 64), (96, 96)])
def test_any_size(corruption: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for severity in (1, 5):
        result = corrupt(image, corruption, severity)
        assert result.shape == image.shape
        assert result.dtype == np.uint8


def test_the_same_key_gives_the_same_picture_and_leaves_the_input_alone(photo: Image) -> None:
    before = photo.copy()
    for corruption in CORRUPTIONS:
        one, again, other = (corrupt(photo, corruption, 3, key=key) for key in ((1, 2), (1, 2), (1, 3)))
        assert np.array_equal(one, again), corruption
        assert not np.array_equal(one, other), corruption
    assert np.array_equal(photo, before)


def test_black_and_white_images_survive() -> None:
    for value in (0, 255):
        for corruption in CORRUPTIONS:
            corrupt(np.full((40, 60, 3), value, np.uint8), corruption, 5)


def test_a_corrupted_dataset_keeps_labels_and_names() -> None:
    clean = MiniCity("game", 3)
    foggy = Corrupted(clean, "fog", severity=4, seed=9)
    assert isinstance(foggy, SegmentationDataset)
    assert len(foggy) == 3
    assert foggy.label_space is clean.label_space
    assert foggy.name(2) == clean.name(2)
    assert np.array_equal(foggy.label(2), clean.label(2))
    assert np.array_equal(foggy.image(2), foggy.image(-1))
    assert not np.array_equal(foggy.image(2), clean.image(2))
    assert not np.array_equal(foggy.image(2), Corrupted(clean, "fog", severity=4, seed=8).image(2))


@pytest.mark.parametrize(("corruption", "severity", "says"), [
    ("hail", 3, "'hail'.*night, fog, rain, snow, blur, noise"),
    ("fog", 0, "severity: 0; give a number at least 1 and at most 5"),
    ("fog", 6, "severity: 6; give a number at least 1 and at most 5"),
])  # fmt: skip
def test_what_there_is_not_is_said_in_one_line(corruption: str, severity: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Corrupted(MiniCity("game", 1), corruption, severity)


def test_one_image_alone_has_the_same_severities() -> None:
    with pytest.raises(UserError, match=r"'fog'.*severity 0.*1, 2, 3, 4, 5"):
        corrupt(np.zeros((8, 8, 3), np.uint8), "fog", 0)
