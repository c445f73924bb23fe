"""Numbers: confusion matrices, scores and confidence per domain, tables over seeds, bootstrap, probes, results.json."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.evaluate.bootstrap import Interval
    from gkd_lightning.evaluate.cka import LinearCKA
    from gkd_lightning.evaluate.class_mistakes import Mistake, image_scores, mistakes, worst_images
    from gkd_lightning.evaluate.collection import Collection, collect
    from gkd_lightning.evaluate.confidence_levels import BINS, UNITS, confidence
    from gkd_lightning.evaluate.confusion import (
        ConfusionMatrix,
        accuracy,
        confusion_matrix,
        iou_per_class,
        mean_iou,
        mean_iou_present,
        number_or_none,
    )
    from gkd_lightning.evaluate.encoder_probe import probe_scores
    from gkd_lightning.evaluate.features import Basis, fitted, patch_agreement, patch_maps, pca_pictures, stacked
    from gkd_lightning.evaluate.findings import Comparison, Difference, Verdict, compare, comparisons
    from gkd_lightning.evaluate.gradient_conflict import ENCODER, PATCH_EMBEDDING, Conflict, conflicts, gradients
    from gkd_lightning.evaluate.image_counter import ImageCounter
    from gkd_lightning.evaluate.latency import (
        Conditions,
        Latency,
        Setting,
        conditions_of,
        of_setting,
        pareto,
        settings_of,
        with_latencies,
    )
    from gkd_lightning.evaluate.linear_map import Line, LinearMap
    from gkd_lightning.evaluate.linear_probe import LinearProbe, Readout, class_shares
    from gkd_lightning.evaluate.method_differences import (
        ComparisonTable,
        ImageDifference,
        MethodDifference,
        comparison_table,
    )
    from gkd_lightning.evaluate.panoptic import PANOPTIC_COLUMNS, PanopticCounter, PanopticScore, panoptic_score
    from gkd_lightning.evaluate.per_image import PER_IMAGE, ImageCounts, PerImage, load_beside, merge_per_image
    from gkd_lightning.evaluate.queries import (
        Choice,
        Place,
        attention_agreement,
        choose_queries,
        mean_distance,
        row_entropy,
    )
    from gkd_lightning.evaluate.results import (
        REFERENCES,
        RESULTS,
        STUDENTS,
        Cost,
        Results,
        Role,
        RunResult,
        csv_cell,
        merge,
        runs_above,
    )
    from gkd_lightning.evaluate.run_changes import VISIBLE, Change, DomainChange, MethodChange, changes
    from gkd_lightning.evaluate.scores import (
        DomainScore,
        Measure,
        boundary_of,
        ece_of,
        from_confusion,
        generalization_gap,
        in_domain,
        miou_of,
        pq_of,
        share_recovered,
        unseen_mean,
    )
    from gkd_lightning.evaluate.segment_scores import InstanceMasks, SegmentScores, ap_is_measured
    from gkd_lightning.evaluate.selftest import SelfTest, self_test
    from gkd_lightning.evaluate.shape_counts import SIZES
    from gkd_lightning.evaluate.shapes import SHAPE_COLUMNS, Shapes
    from gkd_lightning.evaluate.tables import Row, Spread, check_comparable, class_means, table, unseen_domains
    from gkd_lightning.evaluate.tempering import TEMPERED_COLUMNS, Tempered, tempered
    from gkd_lightning.evaluate.trust import CONFIDENCE, PIXELS, RIGHT, TRUST_COLUMNS, Trust
    from gkd_lightning.evaluate.trust_rows import DomainTrust, trust_table
    from gkd_lightning.evaluate.unknown import UNKNOWN_COLUMNS, Unknown

__all__ = [
    "BINS", "Basis", "CONFIDENCE", "Change", "Choice", "Collection", "Comparison", "ComparisonTable", "Conditions",
    "Conflict", "ConfusionMatrix", "Cost", "Difference", "DomainChange", "DomainScore", "DomainTrust", "ENCODER",
    "ImageCounter", "ImageCounts", "ImageDifference", "InstanceMasks", "Interval", "Latency", "Line", "LinearCKA",
    "LinearMap", "LinearProbe", "Measure", "MethodChange", "MethodDifference", "Mistake", "PANOPTIC_COLUMNS",
    "PATCH_EMBEDDING", "PER_IMAGE", "PIXELS", "PanopticCounter", "PanopticScore", "PerImage", "Place", "REFERENCES",
    "RESULTS", "RIGHT", "Readout", "Results", "Role", "Row", "RunResult", "SHAPE_COLUMNS", "SIZES", "STUDENTS",
    "SegmentScores", "SelfTest", "Setting", "Shapes", "Spread", "TEMPERED_COLUMNS", "TRUST_COLUMNS", "Tempered",
    "Trust", "UNITS", "UNKNOWN_COLUMNS", "Unknown", "VISIBLE", "Verdict", "accuracy", "ap_is_measured",
    "attention_agreement", "boundary_of", "changes", "check_comparable", "choose_queries", "class_means",
    "class_shares", "collect", "compare", "comparison_table", "comparisons", "conditions_of", "confidence", "conflicts",
    "confusion_matrix", "csv_cell", "ece_of", "fitted", "from_confusion", "generalization_gap", "gradients",
    "image_scores", "in_domain", "iou_per_class", "load_beside", "mean_distance", "mean_iou", "mean_iou_present",
    "merge", "merge_per_image", "miou_of", "mistakes", "number_or_none", "of_setting", "panoptic_score", "pareto",
    "patch_agreement", "patch_maps", "pca_pictures", "pq_of", "probe_scores", "row_entropy", "runs_above", "self_test",
    "settings_of", "share_recovered", "stacked", "table", "tempered", "trust_table", "unseen_domains", "unseen_mean",
    "with_latencies", "worst_images",
]  # fmt: skip

__getattr__ = on_demand(__name__, __file__)
