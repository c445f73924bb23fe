"""Labels that a labelling tool wrote: whether a path holds such, of which images, and what they say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gkd_lightning.data import AnnotatedImages, is_folder, list_images
from gkd_lightning.data.annotations import SUFFIXES, TOOLS, Source, class_names, source_of, sources_in
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.start.label_kinds import Labels
from gkd_lightning.recipes.start.pairing import Pairing, found_pairing, spread
from gkd_lightning.recipes.start.parts import Found

_LOOKS = 100
"""Labels that are drawn."""


def annotations_at(images: str, labels: str, label_suffix: str | None) -> Source | None:
    """What a labelling tool wrote at `labels`; None if its labels are pictures.

    Args:
        images: folder of the images, which may be the same.
        labels: a file or a folder.
        label_suffix: how labels end, if the user says so.

    Raises:
        UserError: labels may be pictures as well as annotations; otherwise as `source_of`.
    """
    if not is_folder(labels):
        return source_of(labels, label_suffix)
    if label_suffix is not None:
        return source_of(labels, label_suffix) if label_suffix.lower().endswith(SUFFIXES) else None
    if not sources_in(labels):
        return None
    found = source_of(labels)
    if not _pictures(images, labels):
        return found
    if found.tool == "polygons":  # Cityscapes has both, and its pictures are made of these
        return None
    raise UserError(
        f"{labels}: holds pictures as well as annotations ({found}); say which are the labels by --image-suffix and "
        "--label-suffix, such as .jpg and .png or .jpg and .json"
    )


def _pictures(images: str, labels: str) -> bool:
    """Whether there are pictures that may be labels."""
    if os.path.realpath(images) != os.path.realpath(labels):
        return bool(list_images(labels))
    try:
        found_pairing(images, labels)
    except UserError:
        return False
    return True


def found_annotated(
    images: str, labels: str, image_suffix: str | None, label_suffix: str | None, background_only: bool
) -> Found:
    """The images that have a shape, or all.

    Raises:
        UserError: none has; or two readings of which record is an image's; or damaged files.
    """
    given = {"image_suffix": image_suffix, "label_suffix": label_suffix, "background_only": background_only or None}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    dataset = AnnotatedImages(images, labels, ["any"], unlabelled=0, **settings)
    pairs = dataset.pairs
    if not pairs.labelled:
        image = pairs.without_label[0]
        raise UserError(f"{labels}: no shape in any image of {images}; {image} {dataset.looked_for(image)}")
    pairing = Pairing("", "", len(pairs.labelled), len(pairs.without_label))
    names = [image for image, _ in pairs.labelled]
    return Found(images, labels, pairing, names, annotated=settings)


def told_shapes(
    parts: Mapping[str, Found],
    classes: Sequence[str] | str | None,
    unlabelled: int | str | None = None,
    class_map: Mapping[str, int | str] | None = None,
) -> Labels:
    """Find out what annotations say, and refuse what they leave open.

    Args:
        parts: labelled images by what they are for, the source's first.
        classes: names, a preset, or None for the source's own.
        unlabelled: what pixels in no shape are, if the user says so.
        class_map: name in the files -> class, or 255.

    Raises:
        UserError: names without a class, or pixels of which nothing is said.
    """
    pictures = [name for name, found in parts.items() if found.annotated is None]
    if pictures:
        raise UserError(f"{pictures[0]}: its labels are pictures, others are annotations; give the same kind of all")
    mapping = dict(class_map or {})
    source = next(iter(parts.values()))
    annotations = _dataset(source, ["any"], 0, {}).annotations
    if classes is None:
        listed = class_names(annotations, 0 if unlabelled is None else unlabelled)
        targets = [name for name in mapping.values() if isinstance(name, str) and name not in listed]
        classes = [name for name in (*listed, *dict.fromkeys(targets)) if name not in mapping]
    given = classes if isinstance(classes, str) else list(classes)
    datasets = [_dataset(found, given, 255 if unlabelled is None else unlabelled, mapping) for found in parts.values()]
    for dataset in datasets:
        len(dataset)  # looks for names without a class
    few = spread(len(datasets[0]), _LOOKS)
    if unlabelled is None:
        in_any = _dataset(source, ["none", "a shape"], "none", dict.fromkeys(annotations.names, "a shape"))
        open_share = 1 - float(np.mean([in_any.label(index).mean() for index in few]))
    if unlabelled is None and open_share > 0:
        raise UserError(
            f"{source.labels}: {open_share:.1%} of the pixels lie in no shape; say what they are: --unlabelled "
            "background, or any other class; or --unlabelled 255, if nobody looked at them and they have no truth"
        )
    space = datasets[0].label_space
    counts = np.sum([np.bincount(datasets[0].label(index).ravel(), minlength=256) for index in few], 0)
    absent = [name for name, count in zip(space.names, counts, strict=False) if count == 0]
    title, by_area, _ = TOOLS[datasets[0].source.tool][:3]
    settings: dict[str, object] = {"unlabelled": 255 if unlabelled is None else unlabelled}
    settings |= {"class_map": mapping} if mapping else {}
    told = (
        f"{title}: {len(annotations.name):,} shapes, {len(space)} classes; of two shapes the "
        f"{'smaller' if by_area else 'later'} lies on top; pixels in none "
        + (f"are {unlabelled}" if isinstance(unlabelled, str) else "have no truth")
        + (f"; not seen in {len(few)} images: {', '.join(absent)}" if absent else "")
    )
    return Labels(given, len(space), settings, told)


def _dataset(
    found: Found, classes: Sequence[str] | str, unlabelled: int | str, class_map: dict[str, int | str]
) -> AnnotatedImages:
    settings = dict(found.annotated or {})
    return AnnotatedImages(
        found.images, found.labels, classes if isinstance(classes, str) else list(classes), unlabelled, class_map,
        **{"skip_unlabelled": True} | settings if not settings.get("background_only") else settings,
    )  # fmt: skip
