"""One 63-bit key per drawn sample: every random decision about it comes from this number.

A key depends on (seed, epoch, position in the global order) and on nothing else, so the number of data
loading workers, the rank and an interruption change no pixel.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_MASK = (1 << 64) - 1


def _mix(state: int) -> int:
    """SplitMix64's finaliser: a bijection on 64 bits in which every input bit reaches every output bit."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def sample_key(seed: int, epoch: int, position: int) -> int:
    """Key of the sample at `position` of the global order of `epoch`: 0 <= key < 2**63 (fits int64)."""
    return _mix(_mix(_mix(seed & _MASK) ^ epoch) ^ position) >> 1


@contextmanager
def keyed_generators(key: int) -> Iterator[None]:
    """Inside the block `random`, `numpy.random` and `torch` start from `key`; outside nothing has changed.

    timm's augmentations draw from all three, which is why all three are set.
    """
    import torch  # not for those who only want a key

    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(key)
    np.random.seed([key & 0xFFFFFFFF, key >> 32])
    torch.default_generator.manual_seed(key)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
