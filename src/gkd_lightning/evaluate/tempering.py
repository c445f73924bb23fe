"""A temperature that is fitted at home, and what it does to the confidence of every domain.

Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2. Fitted here is the share of the
classes' scores, see `evaluate.temperature_grid`, and on the source's images that were judged: no target has a say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.evaluate.temperature_grid import AS_IT_IS, LOSS_UNITS, TEMPERATURES
from gkd_lightning.evaluate.trust import PIXELS, calibration_error

TEMPERED_COLUMNS = (
    "temperature", "ece_before", "ece_after", "nll_before", "nll_after", "temperature_own", "ece_own",
)  # fmt: skip
"""Scores of a `Tempered` that tables and files show."""


class TemperatureCounts(NamedTuple):
    """What the looked at pixels of a domain add up to, see `temperature_grid.temperature_counts`."""

    bins: NDArray[np.int64]
    """(T, BINS, 3)."""
    losses: NDArray[np.int64]
    """(T,)."""


@dataclass(frozen=True)
class Tempered:
    """One domain before and after the temperature, of the same pixels.

    Attributes:
        temperature: the one that was fitted on the source.
        ece_before: expected calibration error in percent as it is.
        ece_after: the same at the temperature.
        nll_before: mean negative log likelihood of the true class in nats, as it is.
        nll_after: the same at the temperature.
        temperature_own: the one that would have been fitted on this domain, for which its labels are needed.
        ece_own: expected calibration error at that.
        bins: at the temperature, as `Trust.bins`.
    """

    temperature: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    temperature_own: float
    ece_own: float
    bins: tuple[tuple[int, int, int], ...]

    def __str__(self) -> str:
        """For a terminal."""
        return f"at T {self.temperature:g} {self.ece_after:6.2f}"

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**{name: getattr(self, name) for name in TEMPERED_COLUMNS}, "bins": [list(part) for part in self.bins]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Tempered:
        """Inverse of `asdict`."""
        bins = tuple((int(pixels), int(right), int(sure)) for pixels, right, sure in value["bins"])
        return cls(**{name: float(value[name]) for name in TEMPERED_COLUMNS}, bins=bins)


def tempered(counts: Mapping[str, TemperatureCounts], home: Collection[str]) -> dict[str, Tempered]:
    """Every domain at the temperature that makes the truth of the domains in `home` likeliest.

    Empty where none of these was judged; a domain without a pixel is left out.
    """
    known = {name: found for name, found in counts.items() if found.bins[AS_IT_IS, :, PIXELS].any()}
    losses = [found.losses for name, found in known.items() if name in home]
    if not losses:
        return {}
    fitted = int(np.sum(losses, axis=0).argmin())
    return {name: _at(found, fitted) for name, found in known.items()}


def _at(counts: TemperatureCounts, fitted: int) -> Tempered:
    errors, own = calibration_error(counts.bins), int(counts.losses.argmin())
    losses = counts.losses / LOSS_UNITS / counts.bins[AS_IT_IS, :, PIXELS].sum()
    return Tempered(
        temperature=TEMPERATURES[fitted],
        ece_before=float(errors[AS_IT_IS]),
        ece_after=float(errors[fitted]),
        nll_before=float(losses[AS_IT_IS]),
        nll_after=float(losses[fitted]),
        temperature_own=TEMPERATURES[own],
        ece_own=float(errors[own]),
        bins=tuple((int(n), int(r), int(c)) for n, r, c in counts.bins[fitted].tolist()),
    )
