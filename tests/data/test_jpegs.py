"""JPEG files: damaged ones are refused wherever they are read, whole ones give the pixels that Pillow gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from gkd_lightning.data import ProxyImages, check_dataset, read_image
from gkd_lightning.data.jpegs import _standard_error
from gkd_lightning.errors import UserError
from tests.data.helpers import save

NOISE = np.random.RandomState(0).randint(0, 256, (120, 160, 3)).astype(np.uint8)
END = b"\xff\xd9"

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a block of zeros": lambda data: data[:9000] + bytes(4096) + data[13096:],
    "a block is missing": lambda data: data[:9000] + data[10000:],
    "cut, and its end put back": lambda data: data[:9000] + END,
    "filled up with zeros": lambda data: data[:9000] + bytes(9 * len(data)),
}


def turned(orientation: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return exif


KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "with a colour profile": {"icc_profile": b"x" * 99},
    "turned": {"exif": turned(6)},
}


def written(path: Path, mode: str = "RGB", **options: object) -> Path:
    Pillow.fromarray(NOISE).convert(mode).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_and_not_filled_with_grey(
    tmp_path: Path, kind: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.jpg", quality=95, **KINDS[kind])  # type: ignore[arg-type]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(UserError, match=r"a\.jpg: cannot be read as image: .*(damaged inside|truncated)") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_the_check_lists_damaged_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / f"{name}.jpg", quality=95)
    (tmp_path / "b.jpg").write_bytes(DAMAGES["a block of zeros"]((tmp_path / "b.jpg").read_bytes()))
    check, _ = check_dataset(ProxyImages(str(tmp_path)))
    (line,) = check.problems
    assert line.startswith("1 files cannot be used, first ")
    assert "b.jpg: cannot be read as image: it is damaged inside, libjpeg would fill in grey" in line


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_give_pillows_pixels(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a.jpg", **KINDS[kind])  # type: ignore[arg-type]
    with Pillow.open(path) as picture:
        expected = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    image = read_image(path)
    assert np.array_equal(image, expected)
    assert (image.dtype, image.flags.writeable, image.flags.c_contiguous) == (np.uint8, True, True)


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation(tmp_path: Path, orientation: int) -> None:
    path = written(tmp_path / "a.jpg", exif=turned(orientation))
    with Pillow.open(path) as picture:
        assert np.array_equal(read_image(path), np.array(ImageOps.exif_transpose(picture)))


def test_what_follows_or_fills_up_a_picture_is_no_damage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "a.jpg", NOISE)
    whole, expected = path.read_bytes(), read_image(path)
    for data in (whole + bytes(99), whole + os.urandom(99), whole[:-2] + bytes(9) + END):
        path.write_bytes(data)
        assert np.array_equal(read_image(path), expected)
    Pillow.fromarray(NOISE).save(path, format="MPO", save_all=True, append_images=[Pillow.fromarray(NOISE[::-1])])
    assert np.array_equal(read_image(path), expected)
    assert capfd.readouterr().err == ""


def test_what_others_write_meanwhile_is_handed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with _standard_error() as said:
        os.write(2, b"one\nCorrupt JPEG data: bad Huffman code\ntwo\n")
    assert said == ["Corrupt JPEG data: bad Huffman code"]
    os.write(2, b"three\n")
    assert capfd.readouterr().err == "one\ntwo\nthree\n"


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", NOISE)
    kept = os.dup(2)
    os.close(2)
    try:
        image = read_image(path)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert image.shape == NOISE.shape
