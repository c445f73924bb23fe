"""JPEG files decoded at a reduced size: the same crop, a little different, and never with too few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from gkd_lightning.data import DistillAugmentation, DistillTransform, FolderSegmentation, ProxyImages, sample_key
from gkd_lightning.data.augment.crops import crop_of_file, resized_crop
from gkd_lightning.data.folder import CamVid
from gkd_lightning.data.loading import DistillationView
from gkd_lightning.errors import UserError
from tests.data.helpers import save

CUBIC = Pillow.Resampling.BICUBIC
NOISE = np.random.RandomState(0).randint(0, 256, (24, 32, 3)).astype(np.uint8)
PHOTO = np.asarray(Pillow.fromarray(NOISE).resize((640, 480), CUBIC))


def decoded_widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Width of every picture that is resized from now on."""
    widths: list[int] = []
    resize = Pillow.Image.resize

    def note(self: Pillow.Image, *arguments: object, **settings: object) -> Pillow.Image:
        widths.append(self.width)
        return resize(self, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Pillow.Image, "resize", note)
    return widths


@pytest.mark.parametrize(("side", "width"), [(40, 80), (50, 80), (51, 160), (100, 160), (101, 320), (200, 320)])
def test_the_crop_keeps_enough_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, width: int) -> None:
    path, box = save(tmp_path / "a.jpg", PHOTO, quality=95), (60, 100, 400, 480)
    expected = np.asarray(resized_crop(np.array(Pillow.open(path)), box, side, CUBIC)).astype(int)
    widths = decoded_widths(monkeypatch)
    crop = np.asarray(crop_of_file(path, lambda height, width: box, side, CUBIC)).astype(int)
    assert widths == [width]
    assert crop.shape == (side, side, 3)
    assert np.abs(crop - expected).mean() < 3
    shifted = np.roll(expected, 1, axis=1)
    assert np.abs(crop - expected).mean() < 0.7 * np.abs(crop - shifted).mean()


@pytest.mark.parametrize("kind", ["small crop", "png", "rotated", "grey"])
def test_what_is_not_reduced_is_as_ever(tmp_path: Path, kind: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    path = {
        "small crop": lambda: save(tmp_path / "a.jpg", PHOTO),
        "png": lambda: save(tmp_path / "a.png", PHOTO),
        "rotated": lambda: save(tmp_path / "a.jpg", PHOTO, exif=exif),
        "grey": lambda: save(tmp_path / "a.jpg", PHOTO[..., 0]),
    }[kind]()
    size = 500 if kind in ("small crop", "grey") else 32
    reduced = DistillTransform(DistillAugmentation(reduced_decoding=True), size)
    data = ProxyImages(str(tmp_path))
    for position in range(5):
        key = sample_key(0, 0, position)
        assert torch.equal(reduced(path, key), reduced(data.image(0), key))


def test_the_view_asks_for_it_only_if_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.jpg", PHOTO)
    data = ProxyImages(str(tmp_path))
    widths = decoded_widths(monkeypatch)
    config = DistillAugmentation(scale=(0.9, 1.0), rand_augment="", erasing=0)
    whole = DistillationView(data, DistillTransform(config, 32))[(0, 7)]["image"]
    assert max(widths) > 400
    widths.clear()
    config = DistillAugmentation(scale=(0.9, 1.0), rand_augment="", erasing=0, reduced_decoding=True)
    reduced = DistillationView(data, DistillTransform(config, 32))[(0, 7)]["image"]
    assert widths == [80]
    assert (whole.int() - reduced.int()).abs().float().mean() < 4


def test_data_sets_that_change_pixels_are_never_bypassed(tmp_path: Path) -> None:
    class Halved(FolderSegmentation):
        def _stored_image(self, path: Path) -> np.ndarray:
            return super()._stored_image(path)[::2, ::2]

    images, labels = tmp_path / "images", tmp_path / "labels"
    save(images / "a.jpg", PHOTO)
    save(labels / "a.png", np.zeros((480, 640), dtype=np.uint8))
    assert FolderSegmentation(str(images), str(labels), ["road"]).plain_file(0) == images / "a.jpg"
    assert Halved(str(images), str(labels), ["road"]).plain_file(0) is None
    assert CamVid.plain_file is FolderSegmentation.plain_file


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", PHOTO)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"a\.jpg: cannot be read as image: .*truncated"):
        DistillTransform(DistillAugmentation(reduced_decoding=True), 16)(path, 1)
