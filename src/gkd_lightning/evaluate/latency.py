"""How long a model takes for an image, on which machine, and which models nothing else beats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gkd_lightning.errors import UserError


class Setting(NamedTuple):
    """What of a machine works on an image: a number of the processor's threads, or the GPU."""

    device: str
    threads: int

    def __str__(self) -> str:
        return f"{self.threads} thread{'s' * (self.threads != 1)}" if self.device == "cpu" else "GPU"


class Conditions(NamedTuple):
    """What milliseconds have to have in common to stand in one table."""

    machine: str
    image: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.machine}, images of {self.image[0]}x{self.image[1]} pixels (height x width)"


@dataclass(frozen=True)
class Latency:
    """One model's time for an image: from uint8 pixels to class ids of the same size, no file read.

    Attributes:
        machine: processor with its cores and instruction sets, or GPU.
        device: ``cpu`` or ``cuda``.
        threads: of the processor.
        image: (height, width) before the protocol resizes it.
        runtime: what computes, with its version.
        median_ms: of all timed images.
        p95_ms: 95 of 100 take no longer.
        images: that were timed.
        model_mb: 10**6 bytes of the model's files.
        parameters: of the network; None for an export whose segmenter was not at hand.
        gflops: 10**9 floating point operations for an image, windows that overlap included; None likewise.
        peak_memory_mb: 2**20 bytes of a process that does nothing else, libraries included; on a GPU, what is allocated
            there.
        load: of the system in the minute before; it should be near 0.
        measured: UTC time, ISO 8601.
    """

    machine: str
    device: str
    threads: int
    image: tuple[int, int]
    runtime: str
    median_ms: float
    p95_ms: float
    images: int
    model_mb: float
    parameters: int | None
    gflops: float | None
    peak_memory_mb: float
    load: float
    measured: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", tuple(self.image))  # a list when it comes from JSON
        for name in ("median_ms", "p95_ms", "model_mb", "peak_memory_mb"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"latencies: {name} is {getattr(self, name)}, was the file edited?")

    @property
    def conditions(self) -> Conditions:
        """See `Conditions`."""
        return Conditions(self.machine, self.image)

    @property
    def setting(self) -> Setting:
        """See `Setting`."""
        return Setting(self.device, self.threads)

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "image": list(self.image)}


def with_latencies(before: Iterable[Latency], new: Iterable[Latency]) -> list[Latency]:
    """`new`, and what was measured `before` elsewhere or of another setting."""
    measured = list(new)
    again = {(each.conditions, each.setting) for each in measured}
    return [*(each for each in before if (each.conditions, each.setting) not in again), *measured]


def conditions_of(measured: Iterable[Latency]) -> list[Conditions]:
    """Of all measurements, in their order."""
    return list(dict.fromkeys(each.conditions for each in measured))


def settings_of(measured: Iterable[Latency]) -> list[Setting]:
    """Of all measurements, fewest threads first."""
    return sorted({each.setting for each in measured})


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Keys of the points (cost, gain) that no other beats in both, cheapest first.

    Of points that are equal in both, all stay; a point that is equal in one and worse in the other goes.
    """
    kept: list[str] = []
    best, price = -math.inf, math.nan
    for key in sorted(points, key=lambda key: (points[key][0], -points[key][1])):
        cost, gain = points[key]
        if gain > best or (gain == best and cost == price):
            kept.append(key)
            best, price = gain, cost
    return kept


def of_setting(measured: Iterable[Latency], conditions: Conditions, setting: Setting) -> Latency | None:
    """The one that was measured so, the first where several were (of other seeds)."""
    return next((each for each in measured if (each.conditions, each.setting) == (conditions, setting)), None)
