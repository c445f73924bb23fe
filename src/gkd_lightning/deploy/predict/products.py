"""What is written of a segmented image: a folder a product, a file an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data import Image, LabelSpace, overlay
from gkd_lightning.deploy.model import Found, SegmentationModel
from gkd_lightning.deploy.predict.coco import segments
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.files import atomic_write
from gkd_lightning.report import colourize

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
        return {"confidence": self.json or CONFIDENCE in self.folders, "scores": SCORES in self.folders}

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
        return Found(np.take(table, found.ids), found.confidence, scores)

    def overlaid(self, image: Image, found: Found) -> Image:
        """The image under the colours of the classes that are kept; the rest of it stays as it is."""
        picture = overlay(image, found.ids, self.space)
        rest = found.ids == self.space.ignore
        picture[rest] = image[rest]
        return picture

    def write(self, out: Path, name: str, image: Image, found: Found) -> list[dict[str, Any]] | None:
        """Write the files of one image, `ids` last; returns its COCO segments if they are wanted."""
        for folder, path in sorted(
            zip(self.folders, self.paths(out, name), strict=True), key=lambda two: two[0] == IDS
        ):
            with atomic_write(path) as temporary, temporary.open("wb") as handle:
                if folder == SCORES:
                    assert found.scores is not None
                    np.save(_Bytes(handle), found.scores.astype(np.float16))
                else:
                    Pillow.fromarray(self._picture(folder, image, found)).save(handle, format="PNG")
        if not self.json:
            return None
        assert found.confidence is not None
        return segments(found.ids, found.confidence, self.kept)

    def _picture(self, folder: str, image: Image, found: Found) -> Any:
        if folder == IDS:
            return found.ids
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
