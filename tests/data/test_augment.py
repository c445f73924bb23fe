from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import MaybeToTensor
from torchvision.transforms import Compose, Normalize
from torchvision.transforms.functional import pil_to_tensor

from gkd_lightning.data import DistillAugmentation, DistillTransform, SegmentAugmentation, SegmentTransform, sample_key
from gkd_lightning.data.augment.segment import draw_crop, short_edge_size
from gkd_lightning.data.augment.segment_pipeline import PhotometricDistortion
from gkd_lightning.data.keys import keyed_generators
from gkd_lightning.errors import UserError
from tests.data.helpers import Scribbles

KEYS = [sample_key(0, 0, position) for position in range(200)]
PHOTO = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
COORDINATES = np.stack(np.broadcast_arrays(np.arange(60)[:, None], np.arange(80)[None, :], 0), axis=2).astype(np.uint8)


def global_state() -> tuple[Any, ...]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_distillation_gives_uint8_of_the_wanted_size_and_the_same_for_the_same_key() -> None:
    transform = DistillTransform(DistillAugmentation(), 32)
    first = transform(PHOTO, KEYS[0])
    assert first.shape == (3, 32, 32)
    assert first.dtype == torch.uint8
    assert torch.equal(first, transform(PHOTO, KEYS[0]))
    assert torch.equal(first, pickle.loads(pickle.dumps(transform))(PHOTO, KEYS[0]))
    assert not torch.equal(first, transform(PHOTO, KEYS[1]))


def test_augmenting_leaves_the_global_generators_alone() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = global_state()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    DistillTransform(DistillAugmentation(), 16)(PHOTO, KEYS[0])
    SegmentTransform(SegmentAugmentation(), 16)(PHOTO, PHOTO[..., 0], KEYS[0])
    assert global_state() == expected


def test_erasing_noise_is_the_standard_normal_seen_through_mean_and_std() -> None:
    transform = DistillTransform(DistillAugmentation(rand_augment="", erasing=1, mean=(0.5, 0.5, 0.5)), 64)
    black = np.zeros((64, 64, 3), dtype=np.uint8)
    noise = torch.cat([drawn[:, drawn.amax(0) > 0] for drawn in (transform(black, key) for key in KEYS[:20])], dim=1)
    mean, std = noise.float().mean(1), noise.float().std(1)
    assert noise.shape[1] > 5000
    assert torch.allclose(mean, torch.full((3,), 127.5), atol=2)
    assert torch.allclose(std, torch.tensor(transform.config.std) * 255, atol=3)


def test_a_quarter_of_the_images_is_erased() -> None:
    transform = DistillTransform(DistillAugmentation(rand_augment=""), 16)
    grey = np.full((16, 16, 3), 100, dtype=np.uint8)
    erased = sum(bool((transform(grey, key) != 100).any()) for key in KEYS)
    assert 35 <= erased <= 65


def test_crops_cover_the_official_share_of_the_image() -> None:
    transform = DistillTransform(DistillAugmentation(rand_augment="", erasing=0, flip=0, interpolation="bilinear"), 24)
    shares = []
    for key in KEYS:
        crop = transform(COORDINATES, key).float()
        height, width = crop[0].max() - crop[0].min(), crop[1].max() - crop[1].min()
        shares.append(float(height * width) / (60 * 80))
    assert min(shares) < 0.12
    assert max(shares) > 0.8


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
@pytest.mark.parametrize("size", [16, 40])
def test_pixels_are_those_of_timms_own_pipeline(mode: str, size: int) -> None:
    """What the official code composes, image by image, with the erased pixels brought back to uint8."""
    config = DistillAugmentation(erasing=0.5, erasing_mode=mode)  # type: ignore[arg-type]
    transform = DistillTransform(config, size)
    reference = create_transform(
        size, is_training=True, auto_augment=config.rand_augment, interpolation=config.interpolation,
        re_prob=0.0, mean=config.mean, std=config.std,
    )  # fmt: skip
    picture_steps = Compose([step for step in reference.transforms if not isinstance(step, MaybeToTensor | Normalize)])
    erase = RandomErasing(config.erasing, mode=mode, max_count=1, device="cpu")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.mean, config.std))
    erased = 0
    for key in KEYS[:80]:
        with keyed_generators(key):
            expected = pil_to_tensor(picture_steps(Pillow.fromarray(PHOTO)))
            drawn = erase(torch.full(expected.shape, torch.nan))
        noise = ((drawn * std + mean) * 255).round().clamp(0, 255)
        erased += int(not noise.isnan().all())
        expected = torch.where(noise.isnan(), expected, noise.nan_to_num(0).to(torch.uint8))
        assert torch.equal(transform(PHOTO, key), expected)
    assert 25 <= erased <= 55


def test_a_wrong_rand_augment_specification() -> None:
    with pytest.raises(UserError, match="rand_augment: timm does not understand 'rand-x9'"):
        DistillTransform(DistillAugmentation(rand_augment="rand-x9"), 16)


def test_segmentation_keeps_image_and_label_together() -> None:
    """The label is a function of the image's colour, so it must be one afterwards too."""
    image = np.repeat(np.random.RandomState(3).randint(0, 2, (6, 8, 1)), 3, axis=2).astype(np.uint8)
    image = np.kron(image, np.ones((10, 10, 1), dtype=np.uint8))
    transform = SegmentTransform(SegmentAugmentation(distortion=0), 48)
    for key in KEYS[:40]:
        crop, target = transform(image * 200, image[..., 0], key)
        assert crop.shape == (3, 48, 48)
        assert target.shape == (48, 48)
        assert crop.dtype == target.dtype == torch.uint8
        inside = (target != 255) & ((crop[0] == 0) | (crop[0] == 200))  # bilinear edges are between
        assert inside.sum() > 0.5 * (target != 255).sum()
        # nearest (label) and bilinear (image) sample half a pixel apart, so a few pixels at edges disagree
        assert ((crop[0] == 200) == (target == 1))[inside].float().mean() > 0.98


def test_padding_is_the_rounded_mean_and_ignored() -> None:
    config = SegmentAugmentation(short_edges=(20,), distortion=0)
    crop, target = SegmentTransform(config, 32)(PHOTO, PHOTO[..., 0] % 2, KEYS[0])
    assert crop[:, 20:, :].unique(dim=1).flatten(1)[:, 0].tolist() == [124, 116, 104]
    assert target[20:].unique().tolist() == [255]
    assert target[:20, :27].max() <= 1


def test_flip_and_size_are_drawn_independently() -> None:
    """albumentations' set_random_seed starts all transforms at the same draw; then they would not be."""
    config = SegmentAugmentation(short_edges=(30, 60), largest_class=1, distortion=0)
    transform = SegmentTransform(config, 30)
    flipped: dict[bool, list[bool]] = {True: [], False: []}
    for key in KEYS:
        crop, _ = transform(COORDINATES, COORDINATES[..., 2], key)
        columns = crop[1, 0].int()
        whole_image = bool(abs(int(columns[-1]) - int(columns[0])) > 45)
        flipped[whole_image].append(bool(columns[0] > columns[-1]))
    for draws in flipped.values():
        assert len(draws) > 60
        assert 0.3 < np.mean(draws) < 0.7


def test_segmentation_is_a_function_of_the_key() -> None:
    transform = SegmentTransform(SegmentAugmentation(), 32)
    data = Scribbles(1, 50, 70)
    results = [transform(data.image(0), data.label(0), key) for key in (KEYS[0], KEYS[1], KEYS[0])]
    results.append(pickle.loads(pickle.dumps(transform))(data.image(0), data.label(0), KEYS[0]))
    assert torch.equal(results[0][0], results[2][0])
    assert torch.equal(results[0][0], results[3][0])
    assert torch.equal(results[0][1], results[3][1])
    assert not torch.equal(results[0][0], results[1][0])


def test_crops_avoid_one_class_and_images_smaller_than_the_crop_pass() -> None:
    label = np.zeros((40, 80), dtype=np.uint8)
    label[:, 60:] = 1
    draw = random.Random(0).randrange
    shares = []
    for _ in range(50):
        top, bottom, left, right = draw_crop(label, 32, 0.75, draw)
        assert (bottom - top, right - left) == (32, 32)
        shares.append(float((label[top:bottom, left:right] == 0).mean()))
    assert np.mean(np.array(shares) < 0.75) > 0.9
    assert draw_crop(label[:20, :30], 32, 0.75, draw) == (0, 20, 0, 30)


def test_long_images_are_limited() -> None:
    assert short_edge_size(100, 1000, 400, 2048) == (2048, 205)
    assert short_edge_size(1000, 100, 400, 2048) == (205, 2048)


def test_distortion_changes_colours_but_not_places() -> None:
    grey_steps = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 3, axis=2)
    distort = PhotometricDistortion(SegmentAugmentation(distortion=1))
    distort.py_random = random.Random(1)
    seen = []
    for _ in range(30):
        result = distort(image=grey_steps)["image"][0, :, 0].astype(int)
        assert (np.diff(result) >= 0).all()
        seen.append(result[32])
    assert max(seen) - min(seen) > 60


def test_hue_turns_on_its_circle() -> None:
    red = np.full((1, 1, 3), (255, 0, 0), dtype=np.uint8)
    distort = PhotometricDistortion(SegmentAugmentation())
    turned = distort.apply(red, 0.0, True, 1.0, 1.0, -18)
    assert turned[0, 0].tolist() == [255, 0, 153]
    assert distort.apply(red, 0.0, True, 1.0, 1.0, 0) is red


def test_posterising_at_full_magnitude_keeps_an_image() -> None:
    """timm's increasing posterise asks for 0 bits at magnitude 10, which newer releases of Pillow refuse."""
    transform = DistillTransform(DistillAugmentation(rand_augment="rand-m10-n8-mstd0.5-inc1", erasing=0.0), 16)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert all(transform(image, key).shape == (3, 16, 16) for key in range(100))
