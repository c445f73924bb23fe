"""Every domain of a data module judged: its pixels counted, its score logged."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import lightning as L
from torch import Tensor, nn

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import (
    ConfusionMatrix,
    DomainScore,
    SegmentScores,
    Shapes,
    ap_is_measured,
    from_confusion,
    tempered,
)
from gkd_lightning.segment.panoptic import FoundSegments


class Predicted(NamedTuple):
    """What is seen in a batch of B images, at the size of their labels."""

    ids: Tensor
    """Class ids (B, H, W)."""
    scores: Tensor | None = None
    """Class scores (B, K, H, W) of which they are the arg max, where confidence is judged too."""


class DomainJudge(L.LightningModule):
    """A module that is validated and tested on domains; who derives from it says in `predicted` what it sees.

    Attributes:
        num_classes: their number, K.
        domain_scores: score by domain, after `validate` or `test`.
    """

    num_classes: int

    def __init__(self) -> None:
        super().__init__()
        self.domain_metrics = nn.ModuleList()
        self.segment_metrics = nn.ModuleList()
        self.domain_scores: dict[str, DomainScore] = {}

    def predicted(self, batch: dict[str, Any]) -> Predicted:
        """What is seen in a batch's images, at the size of its labels."""
        raise NotImplementedError

    def counter(self, num_classes: int, ignore: int) -> ConfusionMatrix:
        """What counts the pixels of one domain."""
        return ConfusionMatrix(num_classes, ignore)

    @property
    def panoptic(self) -> bool:
        """Whether segments are learnt and judged, on domains that have instances."""
        return False

    def segments(self, batch: dict[str, Any], instances: bool) -> FoundSegments:
        """See `judged_segments`."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Get a confusion matrix per domain ready, and ask for the truth about segments if they are judged.

        Raises:
            UserError: `num_classes` is not the number of classes of the data.
        """
        space, classes = self.data.label_space, self.num_classes
        if len(space) != classes:
            raise UserError(f"num_classes: {classes}, but the data has {len(space)} classes ({', '.join(space.names)})")
        self.domain_metrics = nn.ModuleList([self.counter(classes, space.ignore) for _ in self.data.domain_names])
        if self.panoptic:
            self.data.panoptic = True
            counted = getattr(self.data, "panoptic_domains", [])  # which a data module of one's own may lack
            self.segment_metrics = nn.ModuleList([SegmentScores(space) for _ in counted])
            if counted and stage == "test" and not ap_is_measured() and self.trainer.is_global_zero:
                _say_once("mask AP is left out, pycocotools is not installed: pip install 'gkd-lightning[coco]'")

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch of the domain at `dataloader_idx`."""
        (ids, scores), label, names = self.predicted(batch), batch["label"], batch["name"]
        real = [index for index, name in enumerate(names) if name]  # a sampler's padding has no name
        sure: dict[str, Any] = {} if scores is None else {"scores": [scores[index] for index in real]}
        if sure and "unknown" in batch:
            sure["unknown"] = batch["unknown"][real]
        self.metrics[dataloader_idx].update(ids[real], label[real], [names[index] for index in real], **sure)
        if "segments" in batch:
            found = self.segments(batch, ap_is_measured())
            instances = [each for index, each in enumerate(found.instances) if index in real]
            self._of_segments[batch["domain"]].update(found.codes[real], batch["segments"][real], instances)

    validation_step = test_step

    def on_validation_epoch_end(self) -> None:
        """Log ``val/<domain>/miou``."""
        self._score_domains("val")

    def on_test_epoch_end(self) -> None:
        """Log ``test/<domain>/miou``."""
        self._score_domains("test")

    @property
    def data(self) -> Any:
        """The data module.

        Raises:
            UserError: there is none, or one without labels.
        """
        data = getattr(self.trainer, "datamodule", None)
        if data is None or data.label_space is None:
            raise UserError("data: task learning needs labelled data, a SourceDataModule or a TargetDataModule")
        return data

    @property
    def metrics(self) -> list[Any]:
        """`domain_metrics`, in the order of the domains."""
        return list(self.domain_metrics)

    @property
    def _of_segments(self) -> dict[str, Any]:
        counted = self.data.panoptic_domains if len(self.segment_metrics) else []
        return dict(zip(counted, self.segment_metrics, strict=True))

    def _score_domains(self, prefix: str) -> None:
        space, seen, of_segments = self.data.label_space, self.data.seen, self._of_segments
        metrics = dict(zip(self.data.domain_names, self.metrics, strict=True))
        matrices = {domain: metric.compute() for domain, metric in metrics.items()}
        counts = {domain: metric.at_temperatures for domain, metric in metrics.items()}
        at_temperature = tempered({domain: found for domain, found in counts.items() if found is not None}, seen)
        for domain, metric in metrics.items():
            panoptic = None
            if domain in of_segments:
                panoptic = of_segments[domain].score()
                self.log(f"{prefix}/{domain}/pq", panoptic.pq)
            score = from_confusion(
                domain,
                matrices[domain],
                space.names,
                metric.num_images,
                domain in seen,
                panoptic,
                metric.trust,
                at_temperature.get(domain),
                None if metric.shape_counts is None else Shapes.of(*metric.shape_counts),
                metric.unknown,
            )
            if domain in at_temperature:
                metric.remember(at_temperature[domain].temperature)
            metric.reset()
            self.domain_scores[domain] = score
            self.log(f"{prefix}/{domain}/miou", score.miou)
            if score.trust is not None:
                self.log(f"{prefix}/{domain}/ece", score.trust.ece)


@cache
def _say_once(line: str) -> None:
    print(line, flush=True)
