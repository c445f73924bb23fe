"""Whether a segmenter's confidence can be trusted on a domain: calibration, and errors found by low confidence.

Everything follows from how many pixels are right and wrong at each level of confidence, see
`evaluate.confidence_levels`. Pixels of one level are tied. A tie counts half in the area under the ROC curve;
precision, recall and the rate at 95 % take a level as a whole; in the risk-coverage curve and the bins of equal mass a
level's errors are spread evenly over its pixels, which is the mean over all orders that they could come in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma
from torch import Tensor

from gkd_lightning.evaluate.confidence_levels import BINS, BRIER_UNITS, UNITS, bin_sums

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]
TRUST_COLUMNS = ("ece", "ece_adaptive", "brier", "aurc", "auroc", "aupr", "fpr95")
"""Scores of a `Trust` that tables and files show."""
PIXELS, RIGHT, CONFIDENCE = range(3)
"""Columns of a bin's counts; the last in units of 1 / `UNITS`."""
_COVERAGES = 100


@dataclass(frozen=True)
class Trust:
    """Of all pixels with truth of one domain.

    Attributes:
        bins: of each of `BINS` bins of equal width the pixels, the right ones, and the sum of their confidence.
        ece_adaptive: expected calibration error in percent, over `BINS` bins of equal mass.
        brier: mean squared distance between class probabilities and truth, from 0 to 2.
        aurc: area under the risk-coverage curve in percent: the share of errors among the surest pixels, mean over all
            numbers of them.
        auroc: of telling errors from right pixels by confidence, in percent; None where there are only one kind.
        aupr: average precision of finding errors by low confidence, in percent; None without errors.
        fpr95: right pixels in percent that are flagged where 95 % of the errors are; None as `auroc`.
        risk: share of errors in percent among the surest 1, 2 ... 100 % of the pixels.
    """

    bins: tuple[tuple[int, int, int], ...]
    ece_adaptive: float
    brier: float
    aurc: float
    auroc: float | None
    aupr: float | None
    fpr95: float | None
    risk: tuple[float, ...]

    def __str__(self) -> str:
        """For a terminal."""
        return f"ECE {self.ece:6.2f}" + ("" if self.auroc is None else f"  AUROC {self.auroc:6.2f}")

    @property
    def ece(self) -> float:
        """Expected calibration error in percent, over the bins of equal width."""
        return float(calibration_error(np.array(self.bins)))

    @property
    def confidence(self) -> float:
        """Mean confidence in percent."""
        return float(
            100 * sum(part[CONFIDENCE] for part in self.bins) / UNITS / sum(part[PIXELS] for part in self.bins)
        )

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values; `ece` is there for readers of the file."""
        scores = {name: getattr(self, name) for name in TRUST_COLUMNS}
        bins = [list(part) for part in self.bins]
        return {**scores, "units": UNITS, "bins": bins, "risk": list(self.risk)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Trust:
        """Inverse of `asdict`. Raises ValueError if confidence was summed in other units."""
        if value["units"] != UNITS:
            raise ValueError(f"confidence in units of 1 / {value['units']}, this version has 1 / {UNITS}")
        bins = tuple((int(pixels), int(right), int(sure)) for pixels, right, sure in value["bins"])
        scores = {name: value[name] for name in TRUST_COLUMNS if name != "ece"}
        return cls(bins=bins, risk=tuple(float(share) for share in value["risk"]), **scores)


def trust_of(levels: Tensor, brier: int) -> Trust | None:
    """From what a domain's pixels add up to; None if there is none.

    Args:
        levels: see `confidence_levels.level_counts`.
        brier: see `confidence_levels.brier_sum`.
    """
    wrong, right = levels.cpu().numpy()
    pixels = int(levels.sum())
    if not pixels:
        return None
    kept = (wrong + right) > 0
    middles = np.arange(1, UNITS, 2)[kept] / UNITS
    wrong, right = wrong[kept], right[kept]
    return Trust(
        bins=tuple((int(n), int(r), int(c)) for n, r, c in bin_sums(levels).tolist()),
        ece_adaptive=equal_mass_error(wrong, right, middles),
        brier=brier / BRIER_UNITS / pixels,
        aurc=area_under_risk(wrong, right),
        auroc=ranking(wrong, right),
        aupr=average_precision(wrong, right),
        fpr95=rate_at_95(wrong, right),
        risk=tuple(risk_at_coverages(wrong, right).tolist()),
    )


def calibration_error(bins: NDArray[np.integer] | Numbers) -> Numbers:
    """Expected calibration error in percent of counts (..., BINS, 3), see `PIXELS`: float64 (...); NaN without pixels.

    The bins' distances between mean confidence and share of right pixels, weighted by their pixels. Source: Guo et al.,
    On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    distances = np.abs(bins[..., CONFIDENCE] / UNITS - bins[..., RIGHT]).sum(-1)
    pixels = np.asarray(bins[..., PIXELS].sum(-1), np.float64)
    return np.asarray(100 * np.divide(distances, pixels, out=np.full_like(pixels, np.nan), where=pixels > 0))


def equal_mass_error(wrong: Counts, right: Counts, middles: Numbers) -> float:
    """The same over bins that hold equally many pixels each, in percent; levels ascend.

    Source: Nguyen and O'Connor, Posterior calibration and exploratory analysis, EMNLP 2015, section 3.
    """
    pixels = wrong + right
    ranks, edges = _running(pixels), np.linspace(0, pixels.sum(), BINS + 1)
    sure, hits = (np.diff(np.interp(edges, ranks, _running(part))) for part in (pixels * middles, right))
    return float(100 * np.abs(sure - hits).sum() / pixels.sum())


def area_under_risk(wrong: Counts, right: Counts) -> float:
    """AURC in percent: mean over k of the share of errors among the k surest pixels; levels ascend.

    Source: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017, section 2; Geifman
    et al., Bias-Reduced Uncertainty Estimation, ICLR 2019, equation 1.
    """
    wrong, pixels = wrong[::-1].astype(np.float64), (wrong + right)[::-1].astype(np.float64)
    after = pixels.cumsum()
    before, errors, rate = after - pixels, wrong.cumsum() - wrong, wrong / pixels
    # sum over j = 1 ... n of (errors + j rate) / (before + j), by harmonic numbers
    shares = pixels * rate + (errors - before * rate) * (digamma(after + 1) - digamma(before + 1))
    return float(100 * shares.sum() / after[-1])


def risk_at_coverages(wrong: Counts, right: Counts) -> Numbers:
    """Share of errors in percent among the surest 1, 2 ... 100 % of the pixels; levels ascend."""
    pixels = (wrong + right)[::-1]
    covered = np.arange(1, _COVERAGES + 1) * pixels.sum() / _COVERAGES
    return np.asarray(100 * np.interp(covered, _running(pixels), _running(wrong[::-1])) / covered)


def ranking(wrong: Counts, right: Counts) -> float | None:
    """Probability in percent that an error is less sure than a right pixel, ties counting half; levels ascend."""
    if not (wrong.any() and right.any()):
        return None
    below = wrong.cumsum() - wrong / 2
    return float(100 * (right / right.sum() * below / wrong.sum()).sum())


def average_precision(wrong: Counts, right: Counts) -> float | None:
    """Sum over the levels of precision times the recall that it adds, in percent; levels ascend."""
    if not wrong.any():
        return None
    precision = wrong.cumsum() / (wrong + right).cumsum()
    return float(100 * (precision * wrong).sum() / wrong.sum())


def rate_at_95(wrong: Counts, right: Counts) -> float | None:
    """Right pixels in percent below the lowest threshold that has 95 % of the errors below it; levels ascend."""
    if not (wrong.any() and right.any()):
        return None
    enough = int((20 * wrong.cumsum() >= 19 * wrong.sum()).argmax())
    return float(100 * right[: enough + 1].sum() / right.sum())


def _running(parts: NDArray[Any]) -> Numbers:
    return np.concatenate([[0.0], parts.cumsum()])
