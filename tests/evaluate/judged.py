"""Runs that were judged on a few random images, with results and counts per image that belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from gkd_lightning.evaluate import ImageCounter, ImageCounts, PerImage, Results, RunResult, from_confusion
from gkd_lightning.evaluate.collection import Collection
from tests.evaluate.builders import SPACE, TITLES, run

DOMAINS = ("game", "night", "fog")
IMAGES = 12


def judged(
    accuracy: Mapping[str, float], seeds: Sequence[int] = (0, 1), images: int = IMAGES, prefix: str = "", luck: int = 0
) -> Collection:
    """Every method predicts each pixel rightly with its probability; labels depend on domain and image alone.

    Args:
        accuracy: probability by method, for the unseen domains; on the seen one it is 0.9.
        seeds: of the runs.
        images: in each domain.
        prefix: of the images' names.
        luck: of the predictions.
    """
    runs: list[RunResult] = []
    kept: dict[tuple[str, int], dict[str, ImageCounts]] = {}
    for number, (method, right) in enumerate(accuracy.items()):
        for seed in seeds:
            scores, counts = [], {}
            for place, domain in enumerate(DOMAINS):
                metric = ImageCounter(len(SPACE), SPACE.ignore)
                for image in range(images):
                    label = np.random.default_rng([place, image]).choice(
                        [0, 1, 2, 255], (9, 11), p=[0.5, 0.3, 0.1, 0.1]
                    )
                    chance = np.random.default_rng([luck, number, seed, place, image])
                    wrong = chance.random(label.shape) > (right if place else 0.9)
                    prediction = np.where(wrong | (label == 255), chance.integers(0, 3, label.shape), label)
                    maps = torch.from_numpy(prediction)[None], torch.from_numpy(label.astype(np.uint8))[None]
                    metric.update(*maps, [f"{prefix}{domain}_{image:02d}"])
                matrix = metric.compute()
                scores.append(from_confusion(domain, matrix, SPACE.names, metric.num_images, seen=place == 0))
                counts[domain] = metric.image_counts
            provenance = {"artefacts": {"task": f"{method}-{seed}-{luck}-of-64-digits"}}
            runs.append(run(method, seed, domains=scores, provenance=provenance, title=TITLES.get(method, method)))
            kept[method, seed] = counts
    return Collection(Results("experiments/test.yaml", "A test", runs), PerImage(kept))


def write(folder: Path, found: Collection, counts: bool = True) -> Path:
    """A run's folder, as an evaluation leaves it."""
    found.results.save(folder / "results.json")
    if counts:
        found.per_image.save(folder / "per_image.npz")
    return folder
