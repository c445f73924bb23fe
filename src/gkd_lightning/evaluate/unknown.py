"""Whether objects that no class is for are met with less confidence than what the classes are for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from gkd_lightning.evaluate.trust import average_precision, ranking, rate_at_95

UNKNOWN_COLUMNS = ("unknown_pixels", "unknown_auroc", "unknown_aupr", "unknown_fpr95")


@dataclass(frozen=True)
class Unknown:
    """Of a domain's pixels of unknown objects beside all of its pixels with truth, right ones and wrong ones.

    The score is the confidence itself, which is low where something is unknown (the maximum of the softmax, Hendrycks
    and Gimpel, ICLR 2017). It is told for images, pixels of all of them together.

    Attributes:
        unknown_pixels: how many there are.
        unknown_auroc: probability in percent that an unknown pixel is less sure than a known one, ties counting half.
        unknown_aupr: average precision of finding unknown pixels by low confidence, in percent.
        unknown_fpr95: known pixels in percent that are flagged where 95 % of the unknown ones are.
    """

    unknown_pixels: int
    unknown_auroc: float | None
    unknown_aupr: float | None
    unknown_fpr95: float | None

    def __str__(self) -> str:
        """For a terminal."""
        return "" if self.unknown_auroc is None else f"unknown AUROC {self.unknown_auroc:6.2f}"

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, unknown: Tensor, levels: Tensor) -> Unknown | None:
        """From pixels at each level of confidence; None without an unknown one.

        Args:
            unknown: int64 (LEVELS,).
            levels: of those with truth, see `confidence_levels.level_counts`.
        """
        found, known = unknown.cpu().numpy(), levels.sum(0).cpu().numpy()
        if not found.any():
            return None
        kept = (found + known) > 0
        counts = found[kept], known[kept]
        return cls(int(found.sum()), ranking(*counts), average_precision(*counts), rate_at_95(*counts))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Unknown:
        """Inverse of `asdict`."""
        return cls(**value)
