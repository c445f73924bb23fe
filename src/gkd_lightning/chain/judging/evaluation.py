"""A finished segmenter judged on every domain: what `gkd test` and the end of a chain run."""

from __future__ import annotations

from typing import Any

from gkd_lightning.deploy import gives_scores, load_finished
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ImageCounter, ImageCounts
from gkd_lightning.segment import DomainJudge, FoundSegments, Predicted, best_classes, finds_segments, judged_segments


class Evaluation(DomainJudge):
    """Counts the pixels of every domain of a `TargetDataModule` (or of a source's validation domains).

    Args:
        segmenter: path of `segmenter.safetensors`, its folder, or that of an export.
    """

    def __init__(self, segmenter: str) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.segmenter, self.label_space, self.record = load_finished(segmenter)
        self.num_classes = len(self.label_space)

    def setup(self, stage: str) -> None:
        """See `DomainJudge.setup`.

        Raises:
            UserError: the data's classes are not the segmenter's.
        """
        found, own = self.trainer.datamodule.label_space, self.label_space
        if found is None or found.names != own.names:
            names = "none" if found is None else ", ".join(found.names)
            raise UserError(f"data: its classes are {names}; the segmenter's are {', '.join(own.names)}")
        super().setup(stage)

    def counter(self, num_classes: int, ignore: int) -> ImageCounter:
        """See `DomainJudge.counter`."""
        shapes = getattr(self.data, "shapes", False)  # which a data module of one's own may lack
        return ImageCounter(num_classes, ignore, shapes)

    def predicted(self, batch: dict[str, Any]) -> Predicted:
        """See `DomainJudge.predicted`; of an export without scores the ids alone."""
        size = (batch["label"].shape[-2], batch["label"].shape[-1])
        if not gives_scores(self.segmenter):
            return Predicted(self.segmenter.predict(batch["image"], size))
        scores = self.segmenter.scores(batch["image"], size)
        return Predicted(best_classes(scores), scores)

    @property
    def panoptic(self) -> bool:
        """Whether the segmenter finds segments."""
        return finds_segments(self.segmenter)

    def segments(self, batch: dict[str, Any], instances: bool) -> FoundSegments:
        """See `DomainJudge.segments`."""
        assert finds_segments(self.segmenter)
        return judged_segments(self.segmenter, batch, self.label_space, instances)

    @property
    def image_counts(self) -> dict[str, ImageCounts]:
        """What each image contributed to a domain's score, by domain, on every rank."""
        return {name: metric.image_counts for name, metric in zip(self.data.domain_names, self.metrics, strict=True)}

    def protocol(self) -> dict[str, Any]:
        """How images were resized, cut into windows and compared with labels."""
        data = self.data
        each = {name: data.protocol_of(name).asdict() for name in data.domain_names}
        shared = next(iter(each.values()), data.protocol.asdict())
        same = all(protocol == shared for protocol in each.values())
        preset = getattr(data, "preset", None)
        return {
            **({"preset": preset} if preset else {}),
            **(shared if same else {"domains": each}),
            "window": self.segmenter.window,
            "stride": self.segmenter.stride,
            "scores": "mean of windows, then bilinear to the label's size, then argmax",
        }
