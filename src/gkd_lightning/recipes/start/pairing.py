"""Which label belongs to which image, found out from the names alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gkd_lightning.data import list_images
from gkd_lightning.errors import UserError

_LOOKS = 200
"""Images whose names are looked at."""
_SEPARATORS = "._-"
_PREFERRED = ("TrainIds", "labelIds")
"""Of several labels of an image: ids of classes, then raw ids. Colours, instances and polygons are for the eye."""


class Pairing(NamedTuple):
    """How names of images and labels differ."""

    image_suffix: str
    """What an image's name has after what both share, such as ``_image.jpg``."""
    label_suffix: str
    """What a label's has there, such as ``_label.png``."""
    images: int
    """With a label."""
    without: int
    """Images of this suffix without one."""


def found_pairing(images: str, labels: str) -> Pairing:
    """The one rule by which names of labels follow from names of images.

    A label lies in the same sub-folder as its image, and both names agree up to a point, dash or underscore.

    Args:
        images: folder of the images, or an archive.
        labels: folder of the labels; it may be the same.

    Raises:
        UserError: no label is named after an image, or several rules fit equally well.
    """
    pictures, masks = list_images(images), list_images(labels)
    if not pictures:
        raise UserError(f"{images}: no image in this folder or below it")
    if not masks:
        raise UserError(f"{labels}: no picture in this folder or below it; labels are PNG, BMP or TIFF files")
    by_folder: dict[str, list[str]] = defaultdict(list)
    for mask in masks:
        path = PurePosixPath(mask)
        by_folder[str(path.parent)].append(path.name)
    votes: Counter[tuple[str, str]] = Counter()
    for place in spread(len(pictures), _LOOKS):
        path = PurePosixPath(pictures[place])
        votes.update(_rules(path.name, by_folder.get(str(path.parent), []), images == labels))
    if not votes:
        example = f"{pictures[0]} and {masks[0]}"
        raise UserError(
            f"{labels}: no label is named after an image ({example}): the same sub-folder and the same name up to a "
            "point, dash or underscore are needed"
        )
    rules = [_counted(*rule, pictures, set(masks)) for rule in votes]
    most = max(rule.images for rule in rules)
    best = [rule for rule in rules if rule.images == most]
    for word in _PREFERRED:
        chosen = [rule for rule in best if word in rule.label_suffix]
        if len(chosen) == 1:
            return chosen[0]
    best = [rule for rule in best if not any(word in rule.label_suffix for word in ("_color", "_instanceIds"))] or best
    if len(best) > 1:
        told = " or ".join(f"{rule.image_suffix} with {rule.label_suffix}" for rule in sorted(best))
        raise UserError(
            f"{labels}: several labels fit each image ({told}); say which are meant: --image-suffix, --label-suffix"
        )
    return best[0]


def spread(count: int, most: int) -> range:
    """At most so many of `count` places, evenly from the first on."""
    return range(0, count, max(1, -(-count // most)))


def _rules(image: str, labels: list[str], same_folder: bool) -> set[tuple[str, str]]:
    """(image suffix, label suffix) of every label that shares the image's name for as long as any does."""
    stem = Path(image).stem
    shared = {label: _shared(image, label) for label in labels if not (same_folder and label == image)}
    longest = max(shared.values(), default=0)
    if longest == 0 or (longest < len(stem) and not _ends_a_word(image, longest)):
        return set()
    return {(image[longest:], label[longest:]) for label, length in shared.items() if length == longest}


def _shared(image: str, label: str) -> int:
    """Letters that two names share before a separator in both, or before their endings."""
    length = 0
    for position, (ours, theirs) in enumerate(zip(image, label, strict=False)):
        if ours in _SEPARATORS and theirs in _SEPARATORS:
            length = position
        if ours != theirs:
            break
    return length


def _ends_a_word(image: str, length: int) -> bool:
    return image[length] in _SEPARATORS


def _counted(image_suffix: str, label_suffix: str, pictures: list[str], masks: set[str]) -> Pairing:
    ours = [name for name in pictures if name.endswith(image_suffix) and not name.endswith(label_suffix)]
    if image_suffix == label_suffix:
        ours = [name for name in pictures if name.endswith(image_suffix)]
    paired = sum(name.removesuffix(image_suffix) + label_suffix in masks for name in ours)
    return Pairing(image_suffix, label_suffix, paired, len(ours) - paired)
