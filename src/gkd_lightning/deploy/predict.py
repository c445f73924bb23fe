"""Segment a folder of photographs: class ids, colours and overlays at each image's own size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data import Image, list_images, overlay, protocol_for, read_image
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write
from gkd_lightning.report import colourize
from gkd_lightning.segment import load_segmenter


def predict_folder(
    checkpoint: str, images: str, out: str, device: str = "auto", domain: str | None = None
) -> Iterator[Path]:
    """Write ``ids/NAME.png``, ``colour/NAME.png`` and ``overlay/NAME.png`` for every image below a folder.

    Args:
        checkpoint: `segmenter.safetensors` (its `segmenter.json` lies beside it), or their folder.
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
    segmenter, space, record = load_segmenter(checkpoint)
    try:
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        segmenter.to(place)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device: {device}: {str(error).splitlines()[0]}") from error
    protocol = protocol_for(record, domain)
    unreadable: list[str] = []
    for name, target in zip(names, targets, strict=True):
        try:
            image = read_image(Path(images) / name)
        except UserError as error:
            unreadable.append(str(error))
            continue
        resized = torch.from_numpy(np.ascontiguousarray(protocol.resized(image).transpose(2, 0, 1)))
        with torch.inference_mode():
            ids = segmenter.predict(resized[None].to(place), (image.shape[0], image.shape[1]))[0]
        label = ids.cpu().numpy().astype(np.uint8)
        _write_png(Path(out) / "colour" / target, colourize(label, space))
        _write_png(Path(out) / "overlay" / target, overlay(image, label, space))
        _write_png(Path(out) / "ids" / target, label)
        yield Path(out) / "ids" / target
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(names)} images left out, first {unreadable[0]}")


def _write_png(path: Path, picture: Image | NDArray[np.uint8]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as handle:
        Pillow.fromarray(picture).save(handle, format="PNG")
