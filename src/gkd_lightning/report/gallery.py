"""A few images with their truth, predictions and feature pictures: what the report shows instead of numbers."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gkd_lightning.data import Image, Label, LabelSpace, Segments, edges
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write

IGNORED_COLOUR = (222, 222, 218)
BORDER_COLOUR = (255, 255, 255)


@dataclass(frozen=True)
class Sample:
    """One image of a domain.

    Attributes:
        domain: name of the domain.
        name: name of the image in its dataset.
        image: uint8 (H, W, 3) RGB.
        truth: uint8 (h, w) train ids, or int32 codes of segments, ``class + 256 * k``.
        predictions: the same per method id.
        features: a picture uint8 (h, w, 3) of the patch features per encoder, see `pca_pictures`.
        scores: of the whole image in percent per method id, where that is why it is shown.
    """

    domain: str
    name: str
    image: Image
    truth: Label | Segments
    predictions: dict[str, Label | Segments] = field(default_factory=dict)
    features: dict[str, Image] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Gallery:
    """Samples that share a label space; `save` and `load` keep them beside `results.json`.

    Attributes:
        label_space: their classes and colours.
        samples: of every domain some, chosen without looking at them; all methods predict all of them.
        worst: of every domain those that a method was worst at; nobody else need have predicted them.
    """

    label_space: LabelSpace
    samples: list[Sample]
    worst: list[Sample] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one compressed `.npz`, atomically."""
        arrays: dict[str, np.ndarray] = {}
        index = []
        for number, sample in enumerate([*self.samples, *self.worst]):
            arrays |= {f"{number}/image": sample.image, f"{number}/truth": sample.truth}
            arrays |= {f"{number}/predictions/{key}": ids for key, ids in sample.predictions.items()}
            arrays |= {f"{number}/features/{key}": picture for key, picture in sample.features.items()}
            keys = {"predictions": list(sample.predictions), "features": list(sample.features)}
            why = {"scores": sample.scores} if number >= len(self.samples) else {}
            index.append({"domain": sample.domain, "name": sample.name, **keys, **why})
        space = self.label_space
        head = {"names": space.names, "palette": space.palette, "ignore": space.ignore, "samples": index}
        arrays["index"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Gallery:
        """Inverse of `save`; never opens a pickle. Raises UserError for a file that is not one of ours."""
        try:
            with np.load(Path(path), allow_pickle=False) as arrays:
                head = json.loads(arrays["index"].tobytes())
                samples = [
                    Sample(
                        entry["domain"],
                        entry["name"],
                        arrays[f"{number}/image"],
                        arrays[f"{number}/truth"],
                        {key: arrays[f"{number}/predictions/{key}"] for key in entry["predictions"]},
                        {key: arrays[f"{number}/features/{key}"] for key in entry["features"]},
                        entry.get("scores", {}),
                    )
                    for number, entry in enumerate(head["samples"])
                ]
                worst = ["scores" in entry for entry in head["samples"]]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a gallery of samples ({error}), run the evaluation again") from None
        palette = tuple((int(red), int(green), int(blue)) for red, green, blue in head["palette"])
        space = LabelSpace(tuple(head["names"]), palette, head["ignore"])
        chosen = [sample for sample, bad in zip(samples, worst, strict=True) if not bad]
        return cls(space, chosen, [sample for sample, bad in zip(samples, worst, strict=True) if bad])


def merge_galleries(parts: Iterable[Gallery]) -> Gallery:
    """One gallery with all predictions and features, samples matched by domain and name.

    The first truth stays, or segments if there are any.

    Raises:
        UserError: the galleries are empty or name different classes.
    """
    galleries = list(parts)
    if not galleries:
        raise UserError("no gallery to merge, evaluate at least one method")
    space = galleries[0].label_space
    for gallery in galleries:
        if gallery.label_space.names != space.names:
            raise UserError(
                f"galleries with different classes: {', '.join(space.names)} and "
                f"{', '.join(gallery.label_space.names)}; report them apart"
            )
    samples = [sample for gallery in galleries for sample in gallery.samples]
    return Gallery(space, _merged(samples), _merged(sample for gallery in galleries for sample in gallery.worst))


def _merged(samples: Iterable[Sample]) -> list[Sample]:
    merged: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        first = merged.get((sample.domain, sample.name), sample)
        merged[sample.domain, sample.name] = replace(
            first,
            truth=first.truth if sample.truth.dtype == np.uint8 else sample.truth,
            predictions=first.predictions | sample.predictions,
            features=first.features | sample.features,
            scores=first.scores | sample.scores,
        )
    return list(merged.values())


def colourize(label: Label | Segments, space: LabelSpace) -> Image:
    """Train ids (H, W) as RGB uint8 (H, W, 3) in the colours of `space`; ignored pixels are light grey.

    Codes of segments, int32, have the colours of their classes, and a line where two of them meet.
    """
    table = np.full((256, 3), IGNORED_COLOUR, np.uint8)
    table[: len(space)] = space.palette
    table[space.ignore] = IGNORED_COLOUR
    drawn = np.take(table, label.astype(np.uint8), axis=0)  # of a code the lowest byte
    return drawn if label.dtype == np.uint8 else with_borders(drawn, label.astype(np.int32))


def with_borders(image: Image, codes: Segments) -> Image:
    """The image with a white line, a pixel wide, where two segments meet."""
    drawn = image.copy()
    drawn[edges(codes)] = BORDER_COLOUR
    return drawn
