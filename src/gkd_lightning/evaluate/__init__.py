"""Confusion-matrix metric, scores per domain, tables over seeds, pictures, report.

What needs matplotlib (`charts`, `pictures`, `report`) is imported from its own module, so that training does not
wait for it.
"""

from gkd_lightning.evaluate.confusion import (
    ConfusionMatrix,
    accuracy,
    accuracy_per_class,
    confusion_matrix,
    iou_per_class,
    mean_iou,
    mean_iou_present,
)
from gkd_lightning.evaluate.findings import Comparison, compare, comparisons, headline
from gkd_lightning.evaluate.image_counter import ImageCounter
from gkd_lightning.evaluate.per_image import ImageCounts, PerImage, load_beside, merge_per_image
from gkd_lightning.evaluate.results import Cost, Results, RunResult, merge
from gkd_lightning.evaluate.scores import (
    DomainScore,
    from_confusion,
    generalization_gap,
    in_domain,
    share_recovered,
    unseen_mean,
)
from gkd_lightning.evaluate.selftest import SelfTest, self_test
from gkd_lightning.evaluate.tables import Row, Spread, check_comparable, markdown, table, unseen_domains
from gkd_lightning.report.gallery import Gallery, Sample, colourize, merge_galleries

__all__ = [
    "Comparison",
    "ConfusionMatrix",
    "Cost",
    "DomainScore",
    "Gallery",
    "ImageCounter",
    "ImageCounts",
    "PerImage",
    "Results",
    "Row",
    "RunResult",
    "Sample",
    "SelfTest",
    "Spread",
    "accuracy",
    "accuracy_per_class",
    "check_comparable",
    "colourize",
    "compare",
    "comparisons",
    "confusion_matrix",
    "from_confusion",
    "generalization_gap",
    "headline",
    "in_domain",
    "iou_per_class",
    "load_beside",
    "markdown",
    "mean_iou",
    "mean_iou_present",
    "merge",
    "merge_galleries",
    "merge_per_image",
    "self_test",
    "share_recovered",
    "table",
    "unseen_domains",
    "unseen_mean",
]
