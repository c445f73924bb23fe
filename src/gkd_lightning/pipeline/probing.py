"""An encoder's tokens under a linear probe, on labelled data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import torch
from torch import Tensor

from gkd_lightning.data.types import ImageDataset, SegmentationDataset
from gkd_lightning.encoders import Encoder
from gkd_lightning.evaluate import DomainScore, from_confusion
from gkd_lightning.evaluate.confusion import confusion_matrix
from gkd_lightning.evaluate.linear_probe import LinearProbe, class_shares

BATCH = 16


def spread(dataset: ImageDataset, count: int) -> list[int]:
    """At most `count` indices, evenly over the data set."""
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    return [int(place) for place in places.round()]


def encoder_images(encoder: Encoder, dataset: ImageDataset, indices: list[int]) -> Iterator[Tensor]:
    """Batches (B, 3, H, W) uint8 on the encoder's device, every image stretched to the encoder's own size."""
    height, width = encoder.image_size
    device = next(encoder.parameters()).device
    for start in range(0, len(indices), BATCH):
        images = [dataset.image(index) for index in indices[start : start + BATCH]]
        resized = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
        yield torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(device)


@torch.no_grad()
def probe_scores(
    encoder: Encoder,
    train: SegmentationDataset,
    domains: Mapping[str, SegmentationDataset],
    images: int = 200,
    ridge: float = 1e-3,
) -> dict[str, DomainScore]:
    """Fit a linear read-out of the encoder's patch tokens on one data set, score it on others.

    Args:
        encoder: left as it was, in mode and weights.
        train: labelled images for the fit.
        domains: labelled images by name of the domain, with the same classes.
        images: at most so many of every data set.
        ridge: see `LinearProbe`.

    Returns:
        Scores at the labels' own size, by domain, in the order given.
    """
    was_training = encoder.training
    encoder.eval()
    try:
        space = train.label_space
        probe = LinearProbe(encoder.embed_dim, len(space), ridge)
        indices = spread(train, images)
        for start, batch in enumerate(encoder_images(encoder, train, indices)):
            tokens = encoder.tokens(batch)
            for place, patches in enumerate(tokens.patches):
                label = torch.from_numpy(train.label(indices[start * BATCH + place]))[None].to(patches.device)
                probe.add(patches[None], class_shares(label, tokens.grid, len(space), space.ignore))
        readout = probe.solve()
        scores = {}
        for name, dataset in domains.items():
            matrix = torch.zeros(len(space), len(space), dtype=torch.int64)
            indices = spread(dataset, images)
            for start, batch in enumerate(encoder_images(encoder, dataset, indices)):
                tokens = encoder.tokens(batch)
                for place, patches in enumerate(tokens.patches):
                    label = torch.from_numpy(dataset.label(indices[start * BATCH + place]))
                    size = (label.shape[0], label.shape[1])
                    predicted = readout.predict(patches[None], tokens.grid, size)[0].cpu()
                    matrix += confusion_matrix(predicted, label, len(space), space.ignore)
            scores[name] = from_confusion(name, matrix, space.names, len(indices))
        return scores
    finally:
        encoder.train(was_training)
