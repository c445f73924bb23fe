"""What reading changes without a word is counted, and told where data are looked at before a training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.data import FolderSegmentation, ProxyImages, check_dataset, image_and_label, noted_conversions
from gkd_lightning.data.labels import read_stored_label
from gkd_lightning.errors import UserError
from tests.data.helpers import save, write_folder

PHOTO = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
TWELVE_BITS = np.random.RandomState(0).randint(0, 4096, (20, 30)).astype(np.uint16)


def exif(orientation: int) -> Pillow.Exif:
    found = Pillow.Exif()
    found[0x0112] = orientation
    return found


def alpha(value: int) -> np.ndarray:
    return np.dstack([PHOTO, np.full((20, 30), value, np.uint8)])


def told(folder: Path) -> str:
    dataset = ProxyImages(str(folder))
    with noted_conversions() as found:
        for index in range(len(dataset)):
            dataset.image(index)
    return str(found)


def test_nothing_is_said_of_what_is_read_as_it_is(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", PHOTO, exif=exif(1))
    save(tmp_path / "b.png", PHOTO)
    save(tmp_path / "c.png", PHOTO[..., 0])
    save(tmp_path / "d.bmp", PHOTO)
    save(tmp_path / "e.png", alpha(255))
    assert told(tmp_path) == ""


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_turned_pictures(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a.{suffix}", PHOTO, exif=exif(6))
    save(tmp_path / f"b.{suffix}", PHOTO)
    assert told(tmp_path) == "of 2 images 1 are turned by EXIF"


def test_few_bits_in_wide_files_and_alpha(tmp_path: Path) -> None:
    save(tmp_path / "a.png", TWELVE_BITS)
    save(tmp_path / "b.tif", TWELVE_BITS)
    save(tmp_path / "c.png", alpha(100))
    save(tmp_path / "d.png", PHOTO)
    assert told(tmp_path) == (
        "of 4 images 2 use 16 bits (brightest value 16 of 255 after conversion), "
        "1 have alpha that is composited over black"
    )
    check, _ = check_dataset(ProxyImages(str(tmp_path)))
    assert check.notes == [told(tmp_path)]
    assert check.problems == []


def test_colours_of_16_bits(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((9, 9, 3), 4095, np.uint16))
    cv2.imwrite(str(tmp_path / "b.tif"), np.full((9, 9, 3), 4095, np.uint16))
    assert told(tmp_path) == "of 2 images 2 use 16 bits (brightest value 15 of 255 after conversion)"


def test_a_turned_image_beside_a_mask_that_is_not(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a", "b"])
    save(images / "a.png", PHOTO[:16, :24], exif=exif(6))
    data = FolderSegmentation(str(images), str(labels), ["road", "car"])
    message = "a: the image is 16x24 but its label 24x16, as EXIF turns the image and not the label: save both upright"
    with pytest.raises(UserError, match=message):
        image_and_label(data, 0)
    check, _ = check_dataset(data)
    assert check.odd_sized == [
        "a (image 16x24, label 24x16, as EXIF turns the image and not the label: save both upright)"
    ]
    save(images / "a.png", np.rot90(PHOTO[:16, :24]))  # no EXIF is to blame
    with pytest.raises(UserError, match="a: the image is 16x24 but its label 24x16; `gkd data check`"):
        image_and_label(data, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_that_is_turned_as_its_image_is(tmp_path: Path, orientation: int, suffix: str) -> None:
    ids = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30) % 7
    save(tmp_path / f"labels/a.{suffix}", ids, exif=exif(orientation))
    save(tmp_path / "images/a.png", np.dstack([ids] * 3), exif=exif(orientation))
    data = FolderSegmentation(
        str(tmp_path / "images"), str(tmp_path / "labels"), list("abcdefg"), label_suffix=f".{suffix}"
    )
    image, label = image_and_label(data, 0)
    assert np.array_equal(image[..., 0], label)
    assert np.array_equal(read_stored_label(data.label_path(0)), label)
