from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.data import list_images, read_image
from gkd_lightning.data.augment.crops import crop_of_file
from gkd_lightning.data.images import _is_plain
from gkd_lightning.data.jpegs import decoded_jpeg
from gkd_lightning.data.labels import read_stored_label
from gkd_lightning.errors import UserError
from tests.data.helpers import save

GRADIENT = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "a.png", GRADIENT))
    assert np.array_equal(image, GRADIENT)
    assert image.dtype == np.uint8
    assert image.flags.writeable


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # the camera was held upright: rows of the file are columns of the picture
    Pillow.fromarray(GRADIENT).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(GRADIENT, -1))


def test_grey_and_one_bit(tmp_path: Path) -> None:
    grey = GRADIENT[..., 0]
    assert np.array_equal(read_image(save(tmp_path / "a.png", grey)), np.stack([grey] * 3, axis=2))
    Pillow.fromarray(grey > 90).save(tmp_path / "b.png")
    assert np.array_equal(read_image(tmp_path / "b.png")[..., 2], np.where(grey > 90, 255, 0))


def test_palette(tmp_path: Path) -> None:
    picture = Pillow.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    picture.save(tmp_path / "b.png", transparency=1)
    assert read_image(tmp_path / "b.png").tolist() == [[[10, 20, 30], [0, 0, 0]]]


def test_transparency_is_composited_on_black(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], dtype=np.uint8)
    image = read_image(save(tmp_path / "a.png", pixels))
    assert image[0, :2].tolist() == [[200, 100, 50], [0, 0, 0]]
    assert abs(int(image[0, 2, 0]) - 100) <= 1
    grey = read_image(save(tmp_path / "b.png", np.array([[[80, 255], [80, 0]]], dtype=np.uint8)))
    assert grey.tolist() == [[[80, 80, 80], [0, 0, 0]]]


def test_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    wide = np.array([[0, 257, 65535, 32896, 128, 129]], dtype=np.uint16)
    for suffix in ("png", "tif"):
        image = read_image(save(tmp_path / f"a.{suffix}", wide))
        assert image[0, :, 1].tolist() == [0, 1, 255, 128, 0, 1], suffix


def test_cmyk(tmp_path: Path) -> None:
    Pillow.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = read_image(tmp_path / "a.jpg")[4, 4].tolist()
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "float", "32 bit", "folder"])
def test_unreadable_files_are_named_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("bad.tif" if kind in ("float", "32 bit") else "bad.png")
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no image")
    elif kind == "cut":
        noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
        path.write_bytes(save(path, noise).read_bytes()[:2000])
    elif kind == "float":
        Pillow.fromarray(np.ones((4, 4), dtype=np.float32)).save(path)
    elif kind == "32 bit":
        Pillow.fromarray(np.full((4, 4), 1 << 20, dtype=np.int32)).save(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(UserError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.count(str(path)) == 1


def test_a_damaged_jpeg_is_refused(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    path = save(tmp_path / "bad.jpg", noise)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match="truncated"):
        read_image(path)


SMOOTH = np.asarray(Pillow.fromarray(GRADIENT).resize((61, 47), Pillow.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}),
        (".bmp", {}),
        (".jpg", {"quality": 90}),
        (".jpg", {"quality": 75, "subsampling": 0}),
        (".jpg", {"quality": 85, "subsampling": 1, "progressive": True}),
    ],
)
def test_the_fast_decoder_gives_pillows_pixels(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    path = save(tmp_path / f"a{suffix}", SMOOTH, **options)
    with Pillow.open(path) as picture:
        data = path.read_bytes()
        assert decoded_jpeg(picture, data) is not None if suffix == ".jpg" else _is_plain(picture, data)
        expected = np.array(picture)
    image = read_image(path)
    assert np.array_equal(image, expected)
    assert (image.dtype, image.flags.writeable, image.flags.c_contiguous) == (np.uint8, True, True)


def test_a_rotated_jpeg_and_a_damaged_png_are_left_to_pillow(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 3
    path = save(tmp_path / "a.jpg", SMOOTH, quality=95, exif=exif)
    with Pillow.open(path) as picture:
        assert np.array_equal(read_image(path), np.array(picture)[::-1, ::-1])
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    whole = save(tmp_path / "b.png", noise, compress_level=9).read_bytes()
    middle = len(whole) // 2
    (tmp_path / "b.png").write_bytes(whole[:middle] + bytes(9) + whole[middle + 9 :])  # its end is there
    with pytest.raises(UserError, match=r"b\.png: cannot be read as image"):
        read_image(tmp_path / "b.png")


def test_a_cut_bmp_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp", SMOOTH)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match="truncated"):
        read_image(path)


def test_listing_is_sorted_filtered_and_recursive(tmp_path: Path) -> None:
    for name in ("b/2.JPEG", "b/1.png", "a.tif", ".hidden.png", ".cache/x.png", "notes.txt", "z/deep/q.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.tif", "b/1.png", "b/2.JPEG", "z/deep/q.webp"]
    assert list_images(tmp_path, recursive=False) == ["a.tif"]
    assert list_images(tmp_path, suffix="1.png") == ["b/1.png"]


def test_listing_a_missing_folder_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: not a folder"):
        list_images(tmp_path / "file")


def test_only_pictures_are_opened_whatever_the_name(tmp_path: Path) -> None:
    """Pillow would run Ghostscript on it."""
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    for read in (read_image, read_stored_label):
        with pytest.raises(UserError, match=r"a.png: cannot be read as (image|label): the format is unknown"):
            read(path)


def test_a_label_that_compression_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(np.zeros((8, 8), np.uint8)).save(path, format="JPEG")
    with pytest.raises(UserError, match=r"a.png: cannot be read as label: it is a JPEG, whose compression changes ids"):
        read_stored_label(path)


def test_a_picture_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / "a.png"
    Pillow.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    told = r"a.png: has 8x8 = 64 pixels, more than are read at once \(20\); cut it into tiles, and its label or image"
    for read in (read_image, read_stored_label, lambda file: crop_of_file(file, lambda *_: (0, 0, 8, 8), 8, 3)):
        with pytest.raises(UserError, match=told):
            read(path)
    assert Pillow.MAX_IMAGE_PIXELS == 10


def test_a_picture_that_pillow_only_warns_of_is_read_without_a_word(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GRADIENT)
    code = "import sys, PIL.Image, gkd_lightning.data as d; PIL.Image.MAX_IMAGE_PIXELS = 20; d.read_image(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    assert done.stderr == b""


def test_links_that_never_end_and_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    Pillow.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a/b/1.png")
    (tmp_path / "other").symlink_to(tmp_path / "a/b")
    assert list_images(tmp_path) == ["a/b/1.png", "other/1.png"]
    (tmp_path / "a/b/back").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match=r"/back: a link to a folder that holds it"):
        list_images(tmp_path)
    (tmp_path / "a/b/back").unlink()
    usual = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match=r"a/b: cannot be looked into \(Permission denied\)"):
        list_images(tmp_path)
