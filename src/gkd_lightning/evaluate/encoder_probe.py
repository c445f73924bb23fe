"""An encoder's tokens under a linear probe, on labelled data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gkd_lightning.data import SegmentationDataset, evenly
from gkd_lightning.encoders import Encoder
from gkd_lightning.evaluate.confusion import ConfusionMatrix
from gkd_lightning.evaluate.features import stacked
from gkd_lightning.evaluate.linear_probe import LinearProbe, class_shares
from gkd_lightning.evaluate.scores import DomainScore, from_confusion

BATCH = 16


def labelled_tokens(
    encoder: Encoder, dataset: SegmentationDataset, count: int
) -> Iterator[tuple[Tensor, tuple[int, int], Tensor]]:
    """Patch tokens (1, N, D), their grid, and the label (H, W) uint8 on their device, of at most `count` images.

    Every image is stretched to the encoder's own size; labels keep theirs.
    """
    indices = evenly(dataset, count)
    for start in range(0, len(indices), BATCH):
        chosen = indices[start : start + BATCH]
        images = stacked([dataset.image(index) for index in chosen], encoder)
        tokens = encoder.tokens(images)
        for index, patches in zip(chosen, tokens.patches, strict=True):
            yield patches[None], tokens.grid, torch.from_numpy(dataset.label(index)).to(images.device)


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
        for tokens, grid, label in labelled_tokens(encoder, train, images):
            probe.add(tokens, class_shares(label[None], grid, len(space), space.ignore))
        readout = probe.solve()
        scores = {}
        for name, dataset in domains.items():
            matrix = ConfusionMatrix(len(space), space.ignore)
            for tokens, grid, label in labelled_tokens(encoder, dataset, images):
                predicted = readout.predict(tokens, grid, (label.shape[0], label.shape[1]))[0]
                matrix.update(predicted.cpu(), label.cpu())
            scores[name] = from_confusion(name, matrix.matrix, space.names, int(matrix.images))
        return scores
    finally:
        encoder.train(was_training)
