"""The common corruptions: as strong as published, deterministic, of any size, and elastic labels move along."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.data import COMMON_CORRUPTIONS, CommonCorrupted, Corrupted, MiniCity
from gkd_lightning.data.common_corruptions import corrupted_commonly, digital
from gkd_lightning.data.manifests import manifest
from gkd_lightning.data.types import Image, SegmentationDataset
from gkd_lightning.errors import UserError

GREY = np.full((200, 200, 3), 128, np.uint8)
UNEVEN = {"glass-blur"}
"""Its published constants do not grow from one severity to the next."""


@pytest.fixture(scope="module")
def photo() -> Image:
    """A street of 192 x 256 pixels with fine texture."""
    street = cv2.resize(MiniCity("day", 1).image(0), (256, 192), interpolation=cv2.INTER_CUBIC).astype(int)
    texture = np.random.default_rng(0).integers(-12, 13, (*street.shape[:2], 1))
    return np.clip(street + texture, 0, 255).astype(np.uint8)


def distance(corruption: str, severity: int, image: Image, draws: int = 1) -> float:
    """Mean difference to the clean image, over several draws: a cloud may happen to be thin."""
    changed = [corrupted_commonly(image, corruption, severity, key=(draw,)).astype(int) for draw in range(draws)]
    return float(np.mean([np.abs(each - image).mean() for each in changed]))


@pytest.mark.parametrize("corruption", COMMON_CORRUPTIONS)
def test_severity_is_monotone_where_the_published_constants_are(corruption: str, photo: Image) -> None:
    distances = [distance(corruption, severity, photo, draws=6) for severity in (1, 2, 3, 4, 5)]
    assert distances[0] > 1
    assert (distances == sorted(distances)) is (corruption not in UNEVEN), distances


@pytest.mark.parametrize("corruption", COMMON_CORRUPTIONS)
def test_any_size_and_plain_images(corruption: str) -> None:
    for size in ((2, 2), (8, 8), (33, 97), (120, 64)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        for severity in (1, 5):
            result = corrupted_commonly(image, corruption, severity)
            assert (result.shape, result.dtype) == (image.shape, np.uint8)
    for value in (0, 255):
        corrupted_commonly(np.full((40, 60, 3), value, np.uint8), corruption, 5)


def test_the_key_the_severity_and_nothing_else_decide(photo: Image) -> None:
    before, drawn = photo.copy(), []
    for corruption in COMMON_CORRUPTIONS:
        one, again, other = (corrupted_commonly(photo, corruption, 3, key=key) for key in ((1, 2), (1, 2), (1, 3)))
        assert np.array_equal(one, again), corruption
        drawn += [corruption] * (not np.array_equal(one, other))
    assert np.array_equal(photo, before)
    fixed = {"defocus-blur", "zoom-blur", "brightness", "contrast", "pixelate", "jpeg"}
    assert set(COMMON_CORRUPTIONS) - set(drawn) == fixed


def test_noise_is_as_strong_as_published() -> None:
    """On middle grey nothing is cut off: the deviations are the constants, the variance of counts is their mean."""
    for severity, spread in ((1, 0.08), (2, 0.12)):
        found = corrupted_commonly(GREY, "gaussian-noise", severity) / 255
        assert found.std() == pytest.approx(spread, rel=0.03)
        assert found.mean() == pytest.approx(128 / 255, abs=0.005)
    for severity, photons in ((1, 60), (2, 25)):
        found = corrupted_commonly(GREY, "shot-noise", severity) / 255
        assert found.var() == pytest.approx(128 / 255 / photons, rel=0.05)
    for severity, share in ((1, 0.03), (5, 0.27)):
        found = corrupted_commonly(GREY, "impulse-noise", severity)
        assert (found == 0).mean() == pytest.approx(share / 2, abs=0.005)
        assert (found == 255).mean() == pytest.approx(share / 2, abs=0.005)


def test_digital_ones_are_the_published_operations(photo: Image) -> None:
    file = BytesIO()
    Pillow.fromarray(photo).save(file, "JPEG", quality=15)
    assert np.array_equal(corrupted_commonly(photo, "jpeg", 3), np.asarray(Pillow.open(file)))
    flat = corrupted_commonly(photo, "contrast", 2) / 255
    assert flat.std(axis=(0, 1)) == pytest.approx(0.3 * (photo / 255).std(axis=(0, 1)), rel=0.02)
    assert flat.mean(axis=(0, 1)) == pytest.approx((photo / 255).mean(axis=(0, 1)), abs=0.003)
    coarse = corrupted_commonly(photo, "pixelate", 5)
    assert np.array_equal(coarse[:4, :4], np.broadcast_to(coarse[0, 0], (4, 4, 3)))
    assert coarse[0, 0] == pytest.approx(photo[:4, :4].mean(axis=(0, 1)), abs=1)


def test_brightness_keeps_hue_and_saturation(photo: Image) -> None:
    before = cv2.cvtColor(photo.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    after = cv2.cvtColor(corrupted_commonly(photo, "brightness", 3).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    assert after[..., 2] == pytest.approx(np.minimum(before[..., 2] + 0.3, 1), abs=0.003)
    coloured = before[..., 1] > 0.2
    assert after[coloured][:, 1] == pytest.approx(before[coloured][:, 1], abs=0.03)


@pytest.mark.parametrize("corruption", ["defocus-blur", "motion-blur"])
def test_blur_keeps_the_light_of_a_point(corruption: str) -> None:
    image = np.zeros((121, 121, 3), np.uint8)
    image[58:63, 58:63] = 250
    blurred = corrupted_commonly(image, corruption, 2)
    assert blurred.sum() / image.sum() == pytest.approx(1, abs=0.12)
    lit = np.argwhere(blurred[..., 0] > 2)
    reach = np.abs(lit - 60).max()
    assert {"defocus-blur": 6, "motion-blur": 12}[corruption] == pytest.approx(reach, abs=3)


def one_after_another(image: Image, severity: int) -> Image:
    """Glass blur as the published code runs: pixel by pixel from the lower right, each taking a neighbour's value."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    rng, side = np.random.default_rng(5), 2 * int(4 * sigma + 0.5) + 1
    soft = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    for _ in range(times):
        for y in range(image.shape[0] - reach, reach, -1):
            for x in range(image.shape[1] - reach, reach, -1):
                dx, dy = rng.integers(-reach, reach, 2)
                soft[y, x] = soft[y + dy, x + dx]
    blurred: Image = cv2.GaussianBlur(soft, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_glass_at_once_is_as_strong_as_one_pixel_after_another(severity: int, photo: Image) -> None:
    image = np.ascontiguousarray(photo[60:156, 60:188])
    theirs = float(np.abs(one_after_another(image, severity).astype(int) - image).mean())
    assert distance("glass-blur", severity, image) == pytest.approx(theirs, rel=0.2)


def test_fog_has_clouds_of_all_sizes_and_keeps_the_brightest_value(photo: Image) -> None:
    foggy = corrupted_commonly(photo, "fog", 3).astype(float)
    assert foggy.max() <= int(photo.max()) + 1
    clouds = corrupted_commonly(np.full((128, 128, 3), 255, np.uint8), "fog", 1)[..., 0].astype(float)
    halves = [np.abs(np.diff(clouds[::step, ::step], axis=0)).mean() for step in (1, 8, 32)]
    assert halves == sorted(halves)  # smooth near by, different far away
    assert halves[2] > 3 * halves[0]


def test_a_corrupted_dataset_keeps_labels_and_names() -> None:
    clean = MiniCity("game", 3)
    noisy = CommonCorrupted(clean, "gaussian-noise", severity=4, seed=9)
    assert isinstance(noisy, SegmentationDataset)
    assert (len(noisy), noisy.name(2)) == (3, clean.name(2))
    assert np.array_equal(noisy.label(2), clean.label(2))
    assert np.array_equal(noisy.image(2), noisy.image(-1))
    assert not np.array_equal(noisy.image(2), CommonCorrupted(clean, "gaussian-noise", 4, seed=8).image(2))
    assert not np.array_equal(noisy.image(2), noisy.image(1))
    assert not np.array_equal(CommonCorrupted(clean, "fog").image(0), Corrupted(clean, "fog").image(0))


def test_elastic_moves_the_labels_with_the_image() -> None:
    class Painted(MiniCity):
        """Images that show their label maps."""

        def image(self, index: int) -> Image:
            return np.repeat(self.label(index)[..., None] * 20, 3, axis=2)

    clean = Painted("game", 2)
    for severity in (3, 5):
        moved = CommonCorrupted(clean, "elastic", severity)
        label, shown = moved.label(1), moved.image(1)[..., 0] / 20
        assert (label != clean.label(1)).mean() > 0.01
        assert (np.abs(shown - label) < 0.5).mean() > 0.95  # edges are interpolated in the image
        if moved.has_instances:
            assert ((moved.instances(1) > 0) == np.isin(label, clean.label_space.thing_ids)).mean() > 0.9


def test_elastic_moves_as_far_as_published() -> None:
    """Uniform noise of half a percent of the height, smoothed over a percent of a side: its deviation is known."""
    shape = (1200, 2400)
    x, y = digital.elastic_places(shape, 5, np.random.default_rng(0))
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    expected = 30 * 6.0 / 3**0.5 / (4 * np.pi * 12 * 24) ** 0.5
    assert (y - rows).std() == pytest.approx(expected, rel=0.05)
    assert (x - columns).std() == pytest.approx(expected, rel=0.05)


@pytest.fixture
def panes(tmp_path: Path) -> Path:
    """Seven plain photographs, of 10 to 70 in every channel."""
    folder = tmp_path / "panes"
    folder.mkdir()
    for number in range(1, 8):
        Pillow.new("RGB", (40, 30), (10 * number,) * 3).save(folder / f"frost{number}.png")
    return folder


def test_frost_lays_one_of_five_photographs_over_the_image(panes: Path) -> None:
    for severity, kept, laid in ((1, 1.0, 0.4), (3, 0.7, 0.7), (5, 0.6, 0.75)):
        dark = np.full((20, 60, 3), 50, np.uint8)
        values = set()
        for draw in range(30):
            result = corrupted_commonly(dark, "frost", severity, key=(draw,), frost_images=str(panes))
            assert result.shape == dark.shape
            assert len(np.unique(result)) == 1
            values.add(int(result[0, 0, 0]))
        assert sorted(values) == pytest.approx([kept * 50 + laid * 10 * number for number in (1, 2, 3, 4, 5)], abs=0.51)


def test_frost_takes_a_piece_of_a_photograph_enlarged_until_it_covers(tmp_path: Path) -> None:
    slope = np.repeat(np.linspace(0, 255, 100, dtype=np.uint8)[None, :, None], 50, axis=0).repeat(3, axis=2)
    Pillow.fromarray(slope).save(tmp_path / "slope.png")
    black = np.zeros((100, 100, 3), np.uint8)
    starts = []
    for draw in range(12):
        found = corrupted_commonly(black, "frost", 1, key=(draw,), frost_images=str(tmp_path))[..., 0] / 0.4
        assert found[50, -1] - found[50, 0] == pytest.approx(255 * 100 / 220, abs=6)  # 50 rows become 110
        starts.append(found[50, 0])
    assert max(starts) - min(starts) > 60


def test_frost_is_a_data_set_whose_manifest_knows_its_photographs(panes: Path) -> None:
    clean = MiniCity("game", 2)
    frosted = CommonCorrupted(clean, "frost", 4, frost_images=str(panes))
    expected = corrupted_commonly(clean.image(1), "frost", 4, key=(0, 1), frost_images=str(panes))
    assert np.array_equal(frosted.image(1), expected)
    assert np.array_equal(pickle.loads(pickle.dumps(frosted)).image(1), expected)
    before = manifest(frosted, labels=True)
    Pillow.new("RGB", (40, 30), (11, 10, 10)).save(panes / "frost1.png")
    assert manifest(CommonCorrupted(clean, "frost", 4, frost_images=str(panes)), labels=True) != before


@pytest.mark.parametrize(("arguments", "says"), [
    ({"corruption": "frost"}, "frost_images is missing, a folder of photographs of frost; the package image"),
    ({"corruption": "frost", "frost_images": "{folder}/no"}, "no: no such folder"),
    ({"corruption": "frost", "frost_images": "{folder}"}, "frost_images: .*: no images in it"),
    ({"corruption": "fog", "frost_images": "{folder}"}, "frost_images: .*: of no use to the corruption 'fog'"),
    ({"corruption": "forst"}, "did you mean 'frost'.*; there are gaussian-noise, shot-noise, .*, jpeg, frost$"),
    ({"corruption": "gaussian_noise"}, "did you mean 'gaussian-noise'"),
    ({"corruption": "fog", "severity": 6}, "severity: 6; give a number at least 1 and at most 5"),
])  # fmt: skip
def test_what_there_is_not_is_said_in_one_line(arguments: dict[str, str], says: str, tmp_path: Path) -> None:
    given = {key: str(value).format(folder=tmp_path) for key, value in arguments.items()}
    severity = int(given.pop("severity", 3))
    with pytest.raises(UserError, match=says):
        CommonCorrupted(MiniCity("game", 1), severity=severity, **given)
