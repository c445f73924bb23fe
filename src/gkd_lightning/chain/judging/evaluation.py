"""A finished segmenter judged on every domain: what `gkd test` and the end of a chain run."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import nn

from gkd_lightning.deploy import load_finished
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import DomainScore, ImageCounter, ImageCounts, from_confusion


class Evaluation(L.LightningModule):
    """Counts the pixels of every domain of a `TargetDataModule` (or of a source's validation domains).

    Args:
        segmenter: path of `segmenter.safetensors`, its folder, or that of an export.

    Attributes:
        domain_scores: score by domain, after `test` or `validate`.
        image_counts: what each image contributed to it, by domain, on every rank.
    """

    def __init__(self, segmenter: str) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.segmenter, self.label_space, self.record = load_finished(segmenter)
        self.domain_metrics = nn.ModuleList()
        self.domain_scores: dict[str, DomainScore] = {}
        self.image_counts: dict[str, ImageCounts] = {}

    def setup(self, stage: str) -> None:
        """A confusion matrix per domain.

        Raises:
            UserError: the data's classes are not the segmenter's.
        """
        data = self._data
        found, own = data.label_space, self.label_space
        if found is None or found.names != own.names:
            names = "none" if found is None else ", ".join(found.names)
            raise UserError(f"data: its classes are {names}; the segmenter's are {', '.join(own.names)}")
        self.domain_metrics = nn.ModuleList([ImageCounter(len(own), found.ignore) for _ in data.domain_names])

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count one batch of the domain at `dataloader_idx`."""
        label = batch["label"]
        prediction = self.segmenter.predict(batch["image"], (label.shape[-2], label.shape[-1]))
        real = [index for index, name in enumerate(batch["name"]) if name]  # a sampler's padding has no name
        names = [batch["name"][index] for index in real]
        self._metric(dataloader_idx).update(prediction[real], label[real], names)

    validation_step = test_step

    def on_test_epoch_end(self) -> None:
        """Score every domain and log ``test/<domain>/miou``."""
        self._score("test")

    def on_validation_epoch_end(self) -> None:
        """Score every domain and log ``val/<domain>/miou``."""
        self._score("val")

    def protocol(self) -> dict[str, Any]:
        """How images were resized, cut into windows and compared with labels."""
        data = self._data
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

    @property
    def _data(self) -> Any:
        return self.trainer.datamodule

    def _metric(self, index: int) -> ImageCounter:
        metric = self.domain_metrics[index]
        assert isinstance(metric, ImageCounter)
        return metric

    def _score(self, prefix: str) -> None:
        data = self._data
        for index, domain in enumerate(data.domain_names):
            metric = self._metric(index)
            matrix = metric.compute()
            score = from_confusion(domain, matrix, self.label_space.names, metric.num_images, domain in data.seen)
            self.domain_scores[domain], self.image_counts[domain] = score, metric.image_counts
            self.log(f"{prefix}/{domain}/miou", score.miou)
            metric.reset()
