"""What is written of a segmented image: a folder a product, a file an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data import INSTANCE, Image, LabelSpace, overlay
from gkd_lightning.deploy.model import Found, SegmentationModel
from gkd_lightning.deploy.predict.coco import segments
from gkd_lightning.deploy.predict.panoptic import PANOPTIC, picture, segments_info
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.files import atomic_write
from gkd_lightning.report import colourize, with_borders

IDS, COLOUR, OVERLAY, SCORES, CONFIDENCE = "ids", "colour", "overlay", "scores", "confidence"
_ENDINGS = {SCORES: ".npy"}


@dataclass(frozen=True)
class Products:
    """What is wanted, and how it is drawn.

    Attributes:
        folders: names of the products that are files, which are also those of their folders.
        json: whether COCO segments are wanted too.
        kept: classes that are kept, name by id; pixels of the others are ignored.
        space: the segmenter's classes.
    """

    folders: Collection[str]
    json: bool
    kept: Mapping[int, str]
    space: LabelSpace

    @property
    def needs(self) -> dict[str, bool]:
        """What `SegmentationModel.find` has to bring back beside ids."""
        return {
            "confidence": self.json or CONFIDENCE in self.folders,
            "scores": SCORES in self.folders,
            "panoptic": PANOPTIC in self.folders,
        }

    def paths(self, out: Path, name: str) -> list[Path]:
        """Files of one image."""
        return [out / folder / f"{name}{_ENDINGS.get(folder, '.png')}" for folder in self.folders]

    def cut(self, found: Found) -> Found:
        """Without the classes that are not kept: their pixels become ignored, their scores are left out."""
        if len(self.kept) == len(self.space):
            return found
        table = np.full(256, self.space.ignore, np.uint8)
        table[list(self.kept)] = list(self.kept)
        scores = None if found.scores is None else found.scores[list(self.kept)]
        codes = found.codes
        if codes is not None:
            codes = np.where(np.isin(codes % INSTANCE, list(self.kept)), codes, self.space.ignore).astype(np.int32)
        return found._replace(ids=np.take(table, found.ids), scores=scores, codes=codes)

    def overlaid(self, image: Image, found: Found) -> Image:
        """The image under the colours of the classes that are kept; the rest of it stays as it is.

        With segments it is theirs, and a line where two of them meet.
        """
        ids = found.ids if found.codes is None else found.codes.astype(np.uint8)
        drawn = overlay(image, ids, self.space)
        rest = ids == self.space.ignore
        drawn[rest] = image[rest]
        return drawn if found.codes is None else with_borders(drawn, found.codes)

    def write(self, out: Path, name: str, image: Image, found: Found) -> dict[str, Any]:
        """Write the files of one image, `ids` last; returns what `coco.json` and `panoptic.json` will say about it."""
        for folder, path in sorted(
            zip(self.folders, self.paths(out, name), strict=True), key=lambda two: two[0] == IDS
        ):
            with atomic_write(path) as temporary, temporary.open("wb") as handle:
                if folder == SCORES:
                    assert found.scores is not None
                    np.save(_Bytes(handle), found.scores.astype(np.float16))
                else:
                    Pillow.fromarray(self._picture(folder, image, found)).save(handle, format="PNG")
        said: dict[str, Any] = {}
        if self.json:
            assert found.confidence is not None
            said["segments"] = segments(found.ids, found.confidence, self.kept)
        if PANOPTIC in self.folders:
            assert found.codes is not None
            assert found.segment_scores is not None
            said["panoptic"] = segments_info(found.codes, found.segment_scores, self.kept)
        return said and {"size": list(image.shape[:2]), **said}

    def _picture(self, folder: str, image: Image, found: Found) -> Any:
        if folder == IDS:
            return found.ids
        if folder == PANOPTIC:
            assert found.codes is not None
            return picture(found.codes, self.space.ignore)
        if folder == COLOUR:
            return colourize(found.ids, self.space)
        if folder == CONFIDENCE:
            assert found.confidence is not None
            return np.rint(found.confidence * 65535).astype(np.uint16)
        return self.overlaid(image, found)


class _Bytes:
    """A file that NumPy writes to as to any other stream: of a real one it does not say why a write failed."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.write = handle.write


def kept_classes(model: SegmentationModel, names: Sequence[str] | None) -> dict[int, str]:
    """Name by id of the classes that are asked for, in the segmenter's order; all of them without `names`.

    Raises:
        UserError: it has no such class, or one is named twice.
    """
    for name in names or ():
        if name not in model.classes:
            raise UserError(
                f"--classes {name}: no such class{nearest(name, model.classes)} ({', '.join(model.classes)})"
            )
    if names is not None and len(set(names)) < len(names):
        raise UserError(f"--classes {','.join(names)}: a class is named twice")
    return {number: name for number, name in enumerate(model.classes) if names is None or name in names}
