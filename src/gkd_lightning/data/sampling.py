"""Which images an epoch shows in which order, who loads them, and where to go on after an interruption.

The global order of an epoch depends on (seed, epoch) alone. Step t of a run with global batch G takes the
positions tG ... tG+G-1 of it. These are dealt out like cards to the world x accumulation micro-batches of the
step, so that the first half of every micro-batch lies in the first half of the global batch whatever the
number of devices: the masked half of stage 1 then holds the same images on one device and on many (for
micro-batches of even size).

With a batch for each of several sizes of images the steps of an epoch lie end to end in the same global order: every
round of them has each size once, so that all epochs have as many steps, and as many images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from gkd_lightning.data.keys import sample_key
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Ranged

_ORDER = 1 << 63
"""A position that no sample has; its key seeds the permutation."""
_SIDES = 1 << 62
"""The first of positions that no sample has; their keys choose the sides of the steps."""
_ROUNDING = 256
"""The official repeated augmentation cuts an epoch to a multiple of this."""


def epoch_permutation(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The images 0 ... length - 1 in the order of this epoch. NumPy guarantees the stream of `RandomState`."""
    return _keyed(seed, epoch, _ORDER).permutation(length).astype(np.int64)


def _keyed(seed: int, epoch: int, position: int) -> np.random.RandomState:
    key = sample_key(seed, epoch, position)
    return np.random.RandomState([key & 0xFFFFFFFF, key >> 32])


def repeated_order(permutation: NDArray[np.int64], repeats: int) -> NDArray[np.int64]:
    """Repeated augmentation: every image `repeats` times in a row, cut to the length of one epoch.

    As general_distillation/samplers.py of the official code, with one guard: that code cuts to a multiple of
    256 and so leaves nothing of a set with fewer than 256 images, which is kept whole here.

    Args:
        permutation: (N,) indices in this epoch's order.

    Returns:
        N indices for `repeats` = 1, otherwise N // 256 * 256 (N below 256) of which about N / repeats differ.
    """
    if repeats == 1:
        return permutation
    selected = len(permutation) // _ROUNDING * _ROUNDING or len(permutation)
    return np.repeat(permutation[: -(-selected // repeats)], repeats)[:selected]


class KeyedBatches(Ranged, Sampler[list[tuple[int, ...]]]):
    """Micro-batches of (image index, sample key) for one rank; every iteration is one epoch or the rest of one.

    With `sides` a third number follows, the side in pixels that all images of the step have on all ranks.

    Args:
        length: images in the data set.
        batch_size: the global one, or one for each of `sides`.
        seed: of order and keys.
        repeats: of repeated augmentation.
        sides: each step takes one of them, drawn from seed, epoch and step; with a batch for each they are dealt: every
            round, as many steps as there are sides, takes each once in an order drawn from seed, epoch and round.
        rank: this process.
        world_size: processes.
        accumulate: micro-batches per optimiser step and process.
        limit: micro-batches after which the trainer ends an epoch early, if it does.
        served: gives the micro-batches that the trainer has finished since the start of the run; without it
            each iteration is simply the next epoch.

    Raises:
        UserError: sizes that do not divide.
    """

    def __init__(
        self,
        length: int,
        batch_size: int | list[int],
        *,
        seed: int = 0,
        repeats: Count = 1,
        sides: Sequence[int] = (),
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        limit: int | None = None,
        served: Callable[[], int] | None = None,
    ) -> None:
        if length < 1:
            raise UserError("the data set is empty; check its folder")
        self.length, self.batch_size, self.seed, self.repeats = length, batch_size, seed, repeats
        self.sides = list(sides)
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.batch_sizes = batch_sizes(batch_size, len(self.sides) or 1)
        for size in self.batch_sizes:
            split_batch(size, world_size, accumulate)
        self.steps_per_epoch = steps_per_epoch(length, batch_size, repeats)
        self._per_epoch = min(len(self), limit) if limit else len(self)
        self._served, self._ask = 0, served

    def __len__(self) -> int:
        """Micro-batches of a whole epoch, also when the next iteration is the rest of one (Lightning counts so)."""
        return self.steps_per_epoch * self.accumulate

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Image index of every position of an epoch; a set smaller than the global batch starts over."""
        order = repeated_order(epoch_permutation(self.length, self.seed, epoch), self.repeats)
        return np.resize(order, self.steps_per_epoch // len(self.batch_sizes) * sum(self.batch_sizes))

    def dealt(self, epoch: int) -> NDArray[np.int64]:
        """(steps,) place in `batch_sizes` of every step of an epoch: in each round of steps every place once."""
        count = len(self.batch_sizes)
        draws = _keyed(self.seed, epoch, _SIDES).random_sample((self.steps_per_epoch // count, count))
        return draws.argsort(axis=1, kind="stable").ravel()

    def side(self, epoch: int, step: int, place: int) -> tuple[int, ...]:
        """That of a step's images, if there are sides; `place` is the one that is dealt to the step."""
        if not self.sides:
            return ()
        drawn = len(self.batch_sizes) == 1
        return (self.sides[sample_key(self.seed, epoch, _SIDES + step) % len(self.sides) if drawn else place],)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        # The epoch is settled at the first batch: torch makes iterators that it throws away unused.
        epoch, first = divmod(self._position(), self._per_epoch)
        self._served = (epoch + 1) * self._per_epoch
        order, dealt = self.order(epoch), self.dealt(epoch)
        ends = np.array(self.batch_sizes)[dealt].cumsum()
        stride = self.world_size * self.accumulate
        for batch in range(first, len(self)):
            step, turn = divmod(batch, self.accumulate)
            place, end = int(dealt[step]), int(ends[step])
            positions = range(end - self.batch_sizes[place] + turn * self.world_size + self.rank, end, stride)
            side = self.side(epoch, step, place)
            yield [(int(order[each]), sample_key(self.seed, epoch, each), *side) for each in positions]

    def _position(self) -> int:
        return self._served if self._ask is None else self._ask()

    def state_dict(self) -> dict[str, Any]:
        """What the trainer has consumed (never what workers have prefetched), and what the order depends on."""
        epoch, batches = divmod(self._position(), self._per_epoch)
        made = {"accumulate": self.accumulate, "batches_per_epoch": self._per_epoch}
        return {"epoch": epoch, "batches": batches, **made, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at `state`, also with other ranks or accumulated micro-batches: they share the same global order.

        Raises:
            UserError: the state belongs to another order, so the rest of the run would not be the same run, or it lies
                inside a step that is cut otherwise here.
        """
        now = self._identity()
        for name in (*now, "sides"):
            if state.get(name) != now.get(name):
                raise UserError(
                    f"the checkpoint was made with {name} = {state.get(name)}, now it is {now.get(name)}; "
                    "restore it, or start a new run"
                )
        made = state.get("accumulate", self.accumulate)
        if state["batches_per_epoch"] * self.accumulate != self._per_epoch * made:
            raise UserError(
                f"the checkpoint was made with {state['batches_per_epoch'] / made:g} steps per epoch, now they are "
                f"{self._per_epoch / self.accumulate:g}; restore it, or start a new run"
            )
        self._served = rescaled(state["epoch"] * state["batches_per_epoch"] + state["batches"], made, self.accumulate)

    def _identity(self) -> dict[str, Any]:
        sides = {"sides": self.sides} if self.sides else {}
        return {
            "images": self.length, "batch_size": self.batch_size, "seed": self.seed, "repeats": self.repeats, **sides
        }  # fmt: skip


def rescaled(batches: int, made: int, accumulate: int) -> int:
    """As many optimiser steps, counted in micro-batches of another accumulation.

    Args:
        batches: micro-batches of a rank.
        made: of them in a step.
        accumulate: wanted in a step.

    Raises:
        UserError: they are no whole number of steps.
    """
    if batches % made and made != accumulate:
        raise UserError(
            f"the checkpoint was made inside a step of {made} accumulated batches: it goes on with "
            f"trainer.accumulate_grad_batches={made}"
        )
    return batches * accumulate // made


def split_batch(batch_size: int, world_size: int, accumulate: int) -> int:
    """Images per device and forward pass.

    Raises:
        UserError: the global batch cannot be shared out evenly.
    """
    parts = world_size * accumulate
    if batch_size < 1 or batch_size % parts:
        raise UserError(
            f"batch_size: the global batch of {batch_size} cannot be divided by {world_size} devices x "
            f"{accumulate} accumulated batches; give a multiple of {parts}"
        )
    return batch_size // parts


def batch_sizes(batch_size: int | list[int], sides: int) -> list[int]:
    """Global batches, one for each of several `sides`, or a single one.

    Raises:
        UserError: a list of another length.
    """
    sizes = batch_size if isinstance(batch_size, list) else [batch_size]
    if isinstance(batch_size, list) and len(sizes) != sides:
        entries = "1 entry" if len(sizes) == 1 else f"{len(sizes)} entries"
        raise UserError(
            f"batch_size: {sizes} has {entries}, image_size {sides}; give one batch for each size, in the order of "
            "image_size, or a single number for all"
        )
    return sizes


def steps_per_epoch(length: int, batch_size: int | Sequence[int], repeats: int = 1) -> int:
    """Optimiser steps of an epoch: incomplete batches are dropped, but a small set still makes one step.

    Of several batches incomplete rounds are dropped, in which each comes once, and a small set still makes one round.
    """
    selected = length if repeats == 1 else length // _ROUNDING * _ROUNDING or length
    sizes = [batch_size] if isinstance(batch_size, int) else batch_size
    return max(1, selected // sum(sizes)) * len(sizes)


class ShardedBatches(Ranged, Sampler[list[int]]):
    """Batches for evaluation: rank r of w gets the images r, r + w, r + 2w ... in order.

    All ranks get equally many images, since Lightning's validation inside `fit` meets the other ranks in every
    batch (DDP sends buffers round) and would hang otherwise. What is missing is filled up with `PADDING`,
    which the data set turns into an image whose label is ignored altogether, so that nothing counts twice.
    """

    PADDING = -1

    def __init__(self, length: int, batch_size: Count, rank: int = 0, world_size: int = 1) -> None:
        shard = list(range(rank, length, world_size))
        shard += [self.PADDING] * (-(-length // world_size) - len(shard))
        self._batches = [shard[start : start + batch_size] for start in range(0, len(shard), batch_size)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)
