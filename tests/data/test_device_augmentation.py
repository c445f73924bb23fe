"""Augmenting batches on the device gives the workers' pixels, draw for draw."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

from gkd_lightning.data import DistillAugmentation, DistillTransform, ProxyDataModule, sample_key
from gkd_lightning.data.augment.device import augment_batch, collate_plans
from gkd_lightning.errors import UserError
from tests.data.helpers import Recorder, Scribbles, trainer

KEYS = [sample_key(3, 0, position) for position in range(48)]
RANDOM = np.random.RandomState(5)
PICTURES = [
    np.asarray(Pillow.fromarray(RANDOM.randint(low, high, (rows, 9, 3)).astype(np.uint8)).resize((90, 70), resample))
    for low, high, rows in ((0, 256, 7), (40, 200, 12), (100, 101, 3))
    for resample in (Pillow.Resampling.BICUBIC, Pillow.Resampling.NEAREST)
]
WARPS = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
NAMES = [operation.name for operation in DistillTransform(DistillAugmentation(), 8)._rand_augment.ops]


def both(config: DistillAugmentation, size: int = 48) -> tuple[Tensor, Tensor]:
    """The same samples augmented by workers and in a batch."""
    transform = DistillTransform(config, size)
    samples = [(PICTURES[position % len(PICTURES)], key) for position, key in enumerate(KEYS)]
    plans = collate_plans([{**transform.plan(image, key), "key": key} for image, key in samples])
    finished = transform.finish(plans)
    assert finished["key"].tolist() == KEYS
    return torch.stack([transform(image, key) for image, key in samples]), finished["image"]


def test_flip_and_erasing_are_exact() -> None:
    for mode in ("pixel", "rand", "const"):
        config = DistillAugmentation(rand_augment="", erasing=0.5, erasing_mode=mode, on_device=True)  # type: ignore[arg-type]
        workers, device = both(config)
        assert device.dtype == torch.uint8
        assert torch.equal(workers, device)


@pytest.mark.parametrize("name", NAMES)
def test_every_operation(name: str) -> None:
    transform = DistillTransform(DistillAugmentation(on_device=True), 56)
    assert transform._rand_augment is not None
    number = NAMES.index(name)
    random.seed(number)  # timm draws the direction of warps
    operation = transform._rand_augment.ops[number]
    fill = transform._fill
    pictures = [Pillow.fromarray(picture).resize((56, 56)) for picture in PICTURES]
    images = torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])
    for magnitude in (0.0, 3.3, 8.7, 10.0):
        arguments = () if operation.level_fn is None else operation.level_fn(magnitude, operation.hparams)
        expected = [operation.aug_fn(picture, *arguments, **operation.kwargs) for picture in pictures]
        wanted = torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in expected]).int()
        batch = {
            "image": images,
            "noise": torch.empty(0, dtype=torch.uint8),
            "flip": torch.zeros(len(images), dtype=torch.bool),
            "operations": torch.tensor([[[number, arguments[0] if arguments else 0.0]]] * len(images)).double(),
            "erase": torch.zeros(len(images), 4, dtype=torch.int64),
        }
        difference = (augment_batch(batch, NAMES, fill).int() - wanted).abs()
        if name in WARPS:
            assert difference.max() <= 1, magnitude
            assert (difference > 0).float().mean() < 5e-3, magnitude  # flat and regular pictures have many ties
        else:
            assert difference.max() == 0, magnitude


def test_the_official_pipeline_to_within_a_grey_level() -> None:
    workers, device = both(DistillAugmentation(on_device=True))
    difference = (workers.int() - device.int()).abs()
    assert (difference > 1).float().mean() < 1e-3  # a level can grow in a second operation, such as equalising
    assert (difference == 0).float().mean() > 0.99
    untouched = DistillTransform(DistillAugmentation(rand_augment="", erasing=0), 48)
    assert not torch.equal(device, torch.stack([untouched(PICTURES[i % 6], key) for i, key in enumerate(KEYS)]))


def test_a_training_sees_the_same_batches() -> None:
    seen = []
    for on_device in (False, True):
        augmentation = DistillAugmentation(rand_augment="", erasing=0.5, on_device=on_device)
        model = Recorder()
        data = ProxyDataModule(Scribbles(8), 16, 4, augmentation=augmentation)
        trainer(max_epochs=2).fit(model, data)
        seen.append(model.seen)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rand_augment": "rand-m9-t3a"}, "augmentation.rand_augment: Desaturate cannot run on the device"),
        ({"interpolation": "bilinear"}, "augmentation.interpolation: bilinear cannot run on the device"),
    ],
)
def test_what_the_device_cannot_do(settings: dict[str, str], message: str) -> None:
    DistillTransform(DistillAugmentation(**settings), 16)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        DistillTransform(DistillAugmentation(on_device=True, **settings), 16)  # type: ignore[arg-type]
