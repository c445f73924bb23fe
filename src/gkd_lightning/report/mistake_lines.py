"""Where the reported method goes wrong, as plain cells: classes taken for each other, and the worst images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gkd_lightning.data import Image, Label, LabelSpace
from gkd_lightning.evaluate import DomainScore, Mistake, Results, accuracy, mistakes
from gkd_lightning.report.gallery import Gallery, Sample, colourize

PAIRS = 5
"""Of a domain."""
RIGHT_COLOUR, WRONG_COLOUR = (222, 222, 218), (214, 69, 48)


@dataclass(frozen=True)
class DomainMistakes:
    """The most frequent mistakes of one domain, and how many of its pixels are wrong, in percent."""

    domain: str
    wrong: str
    pairs: list[Mistake]


def mistake_lines(results: Results) -> list[DomainMistakes]:
    """Of the highlighted method, all seeds together; unseen domains first."""
    runs = [run for run in results.runs if run.method == results.highlight] or results.runs[:1]
    found = []
    for index, score in enumerate(runs[0].domains):
        matrix = sum((run.domains[index].matrix for run in runs[1:]), score.matrix)
        if pairs := mistakes(matrix, score.classes, PAIRS):
            found.append((score, DomainMistakes(_name(score), f"{100 - accuracy(matrix):.1f}", pairs)))
    return [line for score, line in sorted(found, key=lambda pair: pair[0].seen)]


def _name(score: DomainScore) -> str:
    return f"{score.domain} (in-domain)" if score.seen else score.domain


@dataclass(frozen=True)
class WorstImage:
    """What is shown of an image that a method was bad at."""

    sample: Sample
    score: str
    pictures: list[Image]


def worst_lines(results: Results, gallery: Gallery | None) -> Iterator[WorstImage]:
    """Of the highlighted method: the image, its truth, what was predicted, and where that is wrong."""
    for sample in gallery.worst if gallery else []:
        if results.highlight in sample.predictions and gallery is not None:
            space = gallery.label_space
            truth, predicted = (ids.astype(np.uint8) for ids in (sample.truth, sample.predictions[results.highlight]))
            painted = [colourize(truth, space), colourize(predicted, space)]
            wrong = wrong_pixels(predicted, truth, space)
            score = f"{sample.scores.get(results.highlight, float('nan')):.0f}"
            yield WorstImage(sample, score, [sample.image, *painted, wrong])


def wrong_pixels(predicted: Label, truth: Label, space: LabelSpace) -> Image:
    """uint8 (H, W, 3): what is wrong in red, what is right or has no truth in grey."""
    wrong = (predicted != truth) & (truth != space.ignore)
    return np.where(wrong[..., None], WRONG_COLOUR, RIGHT_COLOUR).astype(np.uint8)
