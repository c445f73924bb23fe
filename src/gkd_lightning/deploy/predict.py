"""Segment a folder of photographs: class ids, colours and overlays at each image's own size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data import Image, list_images, overlay, protocol_for, read_image
from gkd_lightning.deploy.model import load
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write
from gkd_lightning.report import colourize


def predict_folder(
    checkpoint: str, images: str, out: str, device: str = "auto", domain: str | None = None
) -> Iterator[Path]:
    """Write ``ids/NAME.png``, ``colour/NAME.png`` and ``overlay/NAME.png`` for every image below a folder.

    Args:
        checkpoint: `segmenter.safetensors` (its `segmenter.json` lies beside it), their folder, or that of an export.
        images: folder; sub-folders are kept. EXIF rotation, grey, alpha and 16 bit are handled.
        out: where the three folders go.
        device: `auto`, `cpu`, `cuda` ...
        domain: images are resized as this one's were when the segmenter was judged, see `protocol_for`.

    Yields:
        The path of each id map when its three files are written.

    Raises:
        UserError: no segmenter, no images, `out` among them, or two images that would share a name; at the end, if
            images were unreadable (all others are done).
    """
    if Path(out).resolve().is_relative_to(Path(images).resolve()):
        raise UserError(f"--out {out}: lies in {images}, where the next call would take predictions for images")
    names = list_images(images)
    if not names:
        raise UserError(f"{images}: no image in this folder")
    targets = [Path(name).with_suffix(".png") for name in names]
    twins = {target for target in targets if targets.count(target) > 1} if len(set(targets)) < len(targets) else set()
    if twins:
        raise UserError(f"{images}: two images are called {sorted(twins)[0].with_suffix('')}, rename one")
    model = load(checkpoint, device)
    protocol_for(model.record, domain)  # before the first image, not after
    unreadable: list[str] = []
    for name, target in zip(names, targets, strict=True):
        try:
            image = read_image(Path(images) / name)
        except UserError as error:
            unreadable.append(str(error))
            continue
        label = model.ids(image, domain)
        _write_png(Path(out) / "colour" / target, colourize(label, model.label_space))
        _write_png(Path(out) / "overlay" / target, overlay(image, label, model.label_space))
        _write_png(Path(out) / "ids" / target, label)
        yield Path(out) / "ids" / target
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(names)} images left out, first {unreadable[0]}")


def _write_png(path: Path, picture: Image | NDArray[np.uint8]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as handle:
        Pillow.fromarray(picture).save(handle, format="PNG")
