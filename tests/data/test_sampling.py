from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gkd_lightning.data.keys import sample_key
from gkd_lightning.data.sampling import (
    KeyedBatches,
    ShardedBatches,
    epoch_permutation,
    repeated_order,
    split_batch,
    steps_per_epoch,
)
from gkd_lightning.errors import UserError

Samples = list[tuple[int, int]]


def steps(length: int, batch_size: int, world_size: int, accumulate: int, **options: int) -> list[Samples]:
    """Each step's samples, collected from all ranks and micro-batches, sorted."""
    ranks = [
        list(KeyedBatches(length, batch_size, rank=rank, world_size=world_size, accumulate=accumulate, **options))
        for rank in range(world_size)
    ]
    micro_batches = [list(itertools.chain(*together)) for together in zip(*ranks, strict=True)]
    count = len(micro_batches) // accumulate
    return [
        sorted(itertools.chain(*micro_batches[step * accumulate : (step + 1) * accumulate])) for step in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 60), parts=st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (3, 2)]),
    size=st.integers(1, 4), repeats=st.integers(1, 3), seed=st.integers(0, 5),
)  # fmt: skip
def test_devices_and_accumulation_share_the_same_global_batches(
    length: int, parts: tuple[int, int], size: int, repeats: int, seed: int
) -> None:
    batch_size = size * parts[0] * parts[1]
    options = {"seed": seed, "repeats": repeats}
    whole = steps(length, batch_size, 1, 1, **options)
    assert steps(length, batch_size, *parts, **options) == whole
    assert len(whole) == max(1, length // batch_size)
    assert all(len(step) == batch_size for step in whole)
    keys = [key for step in whole for _, key in step]
    assert len(set(keys)) == len(keys)


def test_the_first_half_of_every_micro_batch_lies_in_the_first_half_of_the_global_one() -> None:
    whole = next(iter(KeyedBatches(64, 16, seed=1)))
    for rank, micro in itertools.product(range(2), range(2)):
        part = list(KeyedBatches(64, 16, seed=1, rank=rank, world_size=2, accumulate=2))[micro]
        assert set(part[:2]) <= set(whole[:8])
        assert set(part[2:]) <= set(whole[8:])
        assert part == whole[rank + 2 * micro :: 4]


def test_every_image_once_per_epoch_in_another_order() -> None:
    sampler = KeyedBatches(12, 4, seed=9)
    first, second = ([sample for batch in sampler for sample in batch] for _ in range(2))
    for epoch in (first, second):
        assert sorted(index for index, _ in epoch) == list(range(12))
    assert [index for index, _ in first] != [index for index, _ in second]
    assert not {key for _, key in first} & {key for _, key in second}
    assert first == [(int(i), sample_key(9, 0, p)) for p, i in enumerate(epoch_permutation(12, 9, 0))]


def test_every_step_draws_a_side_that_all_ranks_and_micro_batches_share() -> None:
    whole = list(KeyedBatches(640, 16, seed=3, sides=[32, 48, 48]))
    drawn = [{side for _, _, side in batch} for batch in whole]
    assert all(len(sides) == 1 for sides in drawn)
    assert {32, 48} == set.union(*drawn)
    assert sum(sides == {48} for sides in drawn) > len(drawn) / 2  # named twice
    for rank in range(2):
        parts = list(KeyedBatches(640, 16, seed=3, sides=[32, 48, 48], rank=rank, world_size=2, accumulate=2))
        assert [{side for _, _, side in part} for part in parts] == [sides for sides in drawn for _ in range(2)]
    plain = list(KeyedBatches(640, 16, seed=3))
    assert [[sample[:2] for sample in batch] for batch in whole] == plain
    other = KeyedBatches(640, 16, seed=3, sides=[32, 48, 48])
    other.load_state_dict({**other.state_dict(), "batches": 5})
    assert list(other) == whole[5:]


@pytest.mark.parametrize(("made", "now"), [([32, 48], []), ([], [32, 48]), ([32, 48], [48, 32])])
def test_sides_belong_to_the_order(made: list[int], now: list[int]) -> None:
    state = KeyedBatches(12, 4, sides=made).state_dict()
    with pytest.raises(UserError, match="the checkpoint was made with sides = "):
        KeyedBatches(12, 4, sides=now).load_state_dict(state)


def test_a_set_smaller_than_the_batch_starts_over_with_new_keys() -> None:
    sampler = KeyedBatches(3, 8)
    (batch,) = list(sampler)
    assert len(sampler) == 1
    indices = [index for index, _ in batch]
    assert indices[:3] == indices[3:6]
    assert sorted(indices[:3]) == [0, 1, 2]
    assert len({key for _, key in batch}) == 8


def test_repeats_sit_next_to_each_other_with_their_own_keys() -> None:
    batches = list(KeyedBatches(600, 12, repeats=3))
    assert len(batches) == 512 // 12
    indices = [index for index, _ in batches[0]]
    assert indices == [indices[place] for place in (0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9)]
    assert len({key for _, key in batches[0]}) == 12


def test_steps_of_the_official_runs() -> None:
    """gkd_semantics 1.1: ImageNet with 512, GTA, Cityscapes and Potsdam with 128, repeated augmentation on."""
    assert steps_per_epoch(1_281_167, 512, 3) == 2502
    assert [steps_per_epoch(images, 128, 3) for images in (24_966, 2_975, 3_456)] == [194, 22, 26]


def test_the_permutation_is_pinned() -> None:
    """It must never change: results depend on it."""
    assert epoch_permutation(8, 0, 0).tolist() == [4, 1, 2, 5, 7, 3, 0, 6]
    assert epoch_permutation(8, 0, 1).tolist() == [4, 1, 5, 2, 0, 3, 7, 6]
    assert repeated_order(np.arange(4), 2).tolist() == [0, 0, 1, 1]


def test_state() -> None:
    sampler = KeyedBatches(12, 4)
    whole = [list(sampler), list(sampler)]
    fresh = KeyedBatches(12, 4)
    fresh.load_state_dict({**fresh.state_dict(), "epoch": 1, "batches": 2})
    assert list(fresh) == whole[1][2:]
    assert len(fresh) == 3
    assert fresh.state_dict()["epoch"] == 2
    with pytest.raises(UserError, match="made with images = 13, now it is 12"):
        fresh.load_state_dict({**fresh.state_dict(), "images": 13})


@pytest.mark.parametrize(("size", "world", "accumulate"), [(6, 4, 1), (6, 2, 2), (0, 1, 1), (-4, 2, 1)])
def test_batches_that_cannot_be_shared(size: int, world: int, accumulate: int) -> None:
    with pytest.raises(UserError, match=rf"batch_size: the global batch of {size} .* multiple of {world * accumulate}"):
        split_batch(size, world, accumulate)


def test_bad_sizes() -> None:
    with pytest.raises(UserError, match="empty"):
        KeyedBatches(0, 4)
    with pytest.raises(UserError, match="repeats: 0"):
        KeyedBatches(4, 4, repeats=0)
    with pytest.raises(UserError, match="batch_size: 0"):
        ShardedBatches(4, 0)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_shards_cover_everything_once_in_equally_many_batches(length: int, world: int) -> None:
    shards = [list(ShardedBatches(length, 2, rank, world)) for rank in range(world)]
    flat = [[index for batch in shard for index in batch] for shard in shards]
    assert sorted(index for shard in flat for index in shard if index != ShardedBatches.PADDING) == list(range(length))
    assert len({len(shard) for shard in shards}) == 1
    if world == 1:
        assert flat[0] == list(range(length))
    for rank, shard in enumerate(flat):
        real = [index for index in shard if index != ShardedBatches.PADDING]
        assert real == list(range(rank, length, world))
