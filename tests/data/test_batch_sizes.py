"""A batch for each size of images: what is in which step, on which device, and after an interruption."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint

from gkd_lightning.data import DistillAugmentation, ProxyDataModule, SourceDataModule
from gkd_lightning.data.keys import sample_key
from gkd_lightning.data.sampling import KeyedBatches
from gkd_lightning.errors import UserError
from tests.data.helpers import Recorder, Scribbles, trainer
from tests.data.test_resume import Stop

PLAIN = DistillAugmentation(rand_augment="", erasing=0)
SIDES, BATCHES = [8, 16, 24], [8, 4, 2]
STEPS = {"max_steps": 11, "max_epochs": -1}
"""Of 30 images: rounds of 14, so that an epoch has 6 steps."""

Batches = list[list[tuple[int, ...]]]


def epochs(count: int, length: int, batches: list[int], **options: Any) -> list[Batches]:
    sampler = KeyedBatches(length, batches, sides=SIDES[: len(batches)], seed=3, **options)
    return [list(sampler) for _ in range(count)]


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 90), sizes=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    parts=st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)]), repeats=st.integers(1, 2),
)  # fmt: skip
def test_steps_lie_end_to_end_in_one_order_however_they_are_shared_out(
    length: int, sizes: list[int], parts: tuple[int, int], repeats: int
) -> None:
    world, accumulate = parts
    batches = [size * world * accumulate for size in sizes]
    rounds = max(1, length // sum(batches))
    for epoch, whole in enumerate(epochs(2, length, batches, repeats=repeats)):
        assert len(whole) == rounds * len(batches)
        for first in range(0, len(whole), len(batches)):
            made = [(len(step), *{side for _, _, side in step}) for step in whole[first : first + len(batches)]]
            assert sorted(made) == sorted(zip(batches, SIDES, strict=False))  # one size a step, each once a round
        samples = list(itertools.chain(*whole))
        assert [key for _, key, _ in samples] == [sample_key(3, epoch, place) for place in range(len(samples))]
        if repeats == 1 and length >= sum(batches):
            assert len({image for image, _, _ in samples}) == len(samples)
    shared = [
        epochs(2, length, batches, repeats=repeats, rank=rank, world_size=world, accumulate=accumulate)[1]
        for rank in range(world)
    ]
    for step, expected in enumerate(whole):
        micro = [rank[step * accumulate + turn] for turn in range(accumulate) for rank in shared]
        assert len({len(each) for each in micro}) == 1
        assert sorted(itertools.chain(*micro)) == sorted(expected)


def test_the_order_of_sizes_is_pinned_and_drawn_anew() -> None:
    """It must never change: results depend on it."""
    one, two = ([step[0][2] for step in epoch] for epoch in epochs(2, 60, BATCHES))
    assert one == [8, 24, 16, 24, 16, 8, 24, 16, 8, 8, 16, 24]
    assert two == [16, 24, 8, 16, 24, 8, 24, 16, 8, 16, 24, 8]


@pytest.mark.parametrize("place", range(13))
def test_the_rest_of_an_epoch_from_every_place(place: int) -> None:
    first, second = epochs(2, 30, BATCHES, accumulate=2)
    sampler = KeyedBatches(30, BATCHES, sides=SIDES, seed=3, accumulate=2)
    sampler.load_state_dict({**sampler.state_dict(), "batches": place})
    assert list(sampler) == (first[place:] or second)


def test_other_devices_go_on_inside_a_round() -> None:
    """From one device after 4 steps to two."""
    rest = epochs(1, 30, BATCHES)[0][4:]
    begun = KeyedBatches(30, BATCHES, sides=SIDES, seed=3)
    begun.load_state_dict({**begun.state_dict(), "batches": 4})
    ranks = [KeyedBatches(30, BATCHES, sides=SIDES, seed=3, rank=rank, world_size=2) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(begun.state_dict())
    found = [sorted(itertools.chain(*step)) for step in zip(*ranks, strict=True)]
    assert found == [sorted(step) for step in rest]


@pytest.mark.parametrize("now", [4, [8, 2, 4]])
def test_batches_belong_to_the_order(now: int | list[int]) -> None:
    state = KeyedBatches(30, BATCHES, sides=SIDES).state_dict()
    with pytest.raises(UserError, match=r"made with batch_size = \[8, 4, 2\], now it is "):
        KeyedBatches(30, now, sides=SIDES).load_state_dict(state)


def proxy(workers: int = 0) -> ProxyDataModule:
    return ProxyDataModule(Scribbles(30), SIDES, BATCHES, workers, seed=3, augmentation=PLAIN)


def seen(module: ProxyDataModule, resume: Path | None = None, **options: Any) -> list[list[int]]:
    """Keys and the sum of pixels of every batch of a training."""
    recorder = Recorder()
    fit = trainer(log_every_n_steps=1, **STEPS, **options)
    fit.fit(recorder, datamodule=module, ckpt_path=resume, weights_only=True)
    return recorder.seen


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_goes_on_inside_a_round(tmp_path: Path, workers: int) -> None:
    whole = seen(proxy())
    assert len({key for step in whole for key in step[:-1]}) == sum(len(step) - 1 for step in whole)
    for saved in (2, 7) if workers == 0 else (7,):
        keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=saved)
        with pytest.raises(ZeroDivisionError):
            seen(proxy(workers), enable_checkpointing=True, callbacks=[keep, Stop(saved + 1)])
        assert seen(proxy(workers), resume=tmp_path / f"step={saved}.ckpt") == whole[saved:]


def test_accumulated_batches_are_those_of_the_step() -> None:
    whole, halves = seen(proxy()), seen(proxy(), accumulate_grad_batches=2)
    for step, pair in zip(whole, zip(halves[::2], halves[1::2], strict=True), strict=True):
        assert {key for half in pair for key in half[:-1]} == set(step[:-1])
        assert sum(half[-1] for half in pair) == step[-1]


def test_what_a_module_tells() -> None:
    module = proxy()
    assert (module.images_per_step, module.steps_per_epoch) == (14 / 3, 6)
    assert module.pieces == [(8, 8), (16, 4), (24, 2)]
    assert {batch["image"].shape for batch in module.train_dataloader()} == {
        torch.Size([images, 3, side, side]) for side, images in module.pieces
    }
    assert ProxyDataModule(Scribbles(4), [8, 16], 4).pieces == [(8, 4), (16, 4)]
    assert ProxyDataModule(Scribbles(4), 8, [4]).batch_size == 4


@pytest.mark.parametrize(
    ("sides", "batch", "told"),
    [
        (8, [8, 4], r"batch_size: \[8, 4\] has 2 entries, image_size 1; give one batch for each size"),
        ([8, 16, 24], [8, 4], r"batch_size: \[8, 4\] has 2 entries, image_size 3"),
        ([8, 16], [4], r"batch_size: \[4\] has 1 entry, image_size 2"),
        ([8, 16], [], r"batch_size: \[\] has 0 entries"),
        ([8, 16], [4, 0], r"batch_size\[1\]: 0; give a number at least 1"),
    ],
)
def test_mistakes(sides: Any, batch: list[int], told: str) -> None:
    with pytest.raises(UserError, match=told):
        ProxyDataModule(Scribbles(40), sides, batch)


def test_every_batch_has_to_be_shared_out() -> None:
    with pytest.raises(UserError, match=r"global batch of 2 cannot be divided by 1 devices x 4 accumulated batches"):
        seen(proxy(), accumulate_grad_batches=4)
    with pytest.raises(UserError, match=r"image_size: \[8, 16\] is for view: distillation"):
        SourceDataModule(Scribbles(4), "segmentation", [8, 16], [4, 2])
