"""The loaders' benchmark: every contender of every comparison gives batches of the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_bench.loaders import (
    PLAIN,
    Batches,
    PlainPairs,
    _labelled,
    labelled_contenders,
    photograph_contenders,
    street_contenders,
)  # fmt: skip
from gkd_bench.pictures import natural_noise, write_photographs, write_streets
from gkd_lightning.data.prepare import prepare
from gkd_lightning.errors import UserError


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = write_streets(tmp_path_factory.mktemp("streets"), images=3, size=(96, 64))
    copy = root.parent / "copy"
    prepare("fast", "gtav", str(root), copy)
    return root, copy


def test_photographs(tmp_path: Path) -> None:
    root = write_photographs(tmp_path, images=4, size=(60, 40))
    assert sorted(Pillow.open(path).size for path in root.rglob("*.jpg")) == [(40, 60)] + [(60, 40)] * 3
    found = photograph_contenders(root, batch_size=2, size=16)
    assert next(iter(found)) == PLAIN
    for name, stream in found.items():
        work = Batches(stream)
        assert [work.step() for _ in range(5)] == [2] * 5, name  # more than one epoch


@pytest.mark.parametrize("compare", [street_contenders, labelled_contenders])
def test_streets(streets: tuple[Path, Path], compare: object) -> None:
    for name, stream in compare(*streets, batch_size=3, size=32).items():  # type: ignore[operator]
        work = Batches(stream)
        assert [work.step() for _ in range(2)] == [3, 3], name


def test_torchvisions_loader_does_not_wait_for_a_batch_that_never_comes(streets: tuple[Path, Path]) -> None:
    for compare in (street_contenders, labelled_contenders):
        with pytest.raises(UserError, match="too few images for a batch of 5"):
            Batches(compare(*streets, batch_size=5, size=32)[PLAIN]).step()


def test_the_plain_pairs_are_pairs(streets: tuple[Path, Path]) -> None:
    data = PlainPairs(_labelled(streets[0]), 32)
    image, label = data[0]
    assert image.shape == (3, 32, 32)
    assert label.shape == (32, 32)
    assert set(np.unique(label.numpy())) <= {*range(19), 255}


def test_noise_has_a_photographs_spectrum() -> None:
    noise = natural_noise(128, 128, seed=1).astype(float).mean(axis=2)
    assert np.array_equal(natural_noise(16, 24, 1), natural_noise(16, 24, 1))
    power = np.abs(np.fft.rfft(noise - noise.mean(), axis=1)).mean(axis=0)
    slope = np.polyfit(np.log(np.arange(2, 48)), np.log(power[2:48]), 1)[0]
    assert -1.2 < slope < -0.4
