"""An exported segmenter at work: resizing, sliding windows, mean, arg max as the judge does them, with NumPy alone."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data import LabelSpace, Protocol, protocol_for
from gkd_lightning.deploy.arrays import Picture, Scores, nearest_ids, resized_picture, resized_scores
from gkd_lightning.errors import UserError
from gkd_lightning.files import file_sha256
from gkd_lightning.windows import plan_windows

EXPORT_RECORD = "export.json"
KIND = "gkd-export"
WINDOWS_AT_ONCE = 4


class ExportedSegmenter(ABC):
    """What `gkd export` wrote, behind one interface whatever runs it.

    Args:
        record: content of `export.json`.
        folder: where the model lies.

    Attributes:
        record: as given.
        label_space: names and colours of the classes.
        window: (height, width) of the images that the graph takes.
        stride: pixels from one window to the next, (down, right).
        runtime: what computes, with its version.
    """

    runtime: str

    def __init__(self, record: dict[str, Any], folder: Path) -> None:
        self.record = record
        self.label_space = LabelSpace(
            tuple(record["classes"]), tuple((r, g, b) for r, g, b in record["palette"]), record["ignore"]
        )
        self.names: tuple[str, ...] = tuple(record["outputs"])
        self.channels_first = record["input"].get("layout") == "nchw"
        height, width = record["window"]
        down, right = record["stride"]
        self.window, self.stride = (int(height), int(width)), (int(down), int(right))
        self._open(folder / record["model"])

    @abstractmethod
    def _open(self, model: Path) -> None:
        """Make the runtime ready."""

    @abstractmethod
    def _run(self, images: Picture) -> Sequence[NDArray[Any]]:
        """What the graph gives for images in its layout, in the order of `names`."""

    def outputs(self, windows: Picture) -> dict[str, NDArray[Any]]:
        """What the graph gives for (n, h, w, 3) RGB uint8 windows, by name.

        Returns:
            ``ids`` (n, h, w) uint8 and, as it was exported, ``scores`` (n, K, h, w) float32 and ``confidence``
            (n, h, w) float32.
        """
        images = np.ascontiguousarray(windows.transpose(0, 3, 1, 2)) if self.channels_first else windows
        return dict(zip(self.names, self._run(images), strict=True))

    def scores(self, images: Picture, size: tuple[int, int] | None = None) -> Scores:
        """Class scores (B, K, H, W) float32 of (B, H, W, 3) RGB uint8 images: each pixel's mean over its windows.

        They are brought to `size` (height, width) if it is given.

        Raises:
            UserError: an image is smaller than the window, or the graph gives no scores.
        """
        if "scores" not in self.names:
            raise UserError("this export gives no scores: export once more with --outputs ids,scores")
        seen = self._covered(images)
        plan = plan_windows(seen, self.window, self.stride)
        places = [(image, window) for window in plan for image in range(len(images))]
        total: Scores | None = None
        count = np.zeros(seen, np.float32)
        for window in plan:
            count[window.area] += 1
        for first in range(0, len(places), WINDOWS_AT_ONCE):
            chosen = places[first : first + WINDOWS_AT_ONCE]
            found = self.outputs(np.stack([images[image][window.area] for image, window in chosen]))["scores"]
            if total is None:
                total = np.zeros((len(images), found.shape[1], *seen), np.float32)
            for (image, window), part in zip(chosen, found, strict=True):
                total[image][:, *window.area] += part
        assert total is not None
        total /= count
        return total if size is None else resized_scores(total, size)

    def predict(self, images: Picture, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Class ids (B, *size) of (B, H, W, 3) images: scores are brought to `size` before the arg max.

        A graph without scores takes images of its window's size alone; each pixel of `size` has the nearest one's id.

        Raises:
            UserError: an image is smaller than the window, or there are no scores to take a mean of over windows.
        """
        if "scores" not in self.names:
            height, width = self._covered(images)
            if (height, width) != self.window:
                raise UserError(
                    f"an image of {height}x{width} pixels needs several windows of {self.window[0]}x{self.window[1]}, "
                    "whose scores are averaged, and this export gives none: export once more with --outputs ids,scores"
                    f" or --size {height}x{width}"
                )
            return nearest_ids(self.outputs(images)["ids"], size)
        return np.asarray(self.scores(images, size).argmax(1), np.uint8)

    def _covered(self, images: Picture) -> tuple[int, int]:
        height, width = images.shape[1:3]
        if height < self.window[0] or width < self.window[1]:
            raise UserError(
                f"an image of {height}x{width} pixels (height x width), but this export's window has "
                f"{self.window[0]}x{self.window[1]}: export once more with --size, or enlarge the images"
            )
        return height, width

    def segment(self, image: Picture, domain: str | None = None) -> NDArray[np.uint8]:
        """Class ids (H, W) of one RGB image (H, W, 3) of any size, resized as the judge does.

        Args:
            image: uint8.
            domain: see `gkd_lightning.data.protocol_for`.
        """
        rule: Protocol = protocol_for(self.record, domain)
        height, width = image.shape[:2]
        fitting = resized_picture(image, rule.image_size(width, height))
        ids: NDArray[np.uint8] = self.predict(fitting[None], (height, width))[0]
        return ids


def read_record(folder: Path) -> dict[str, Any]:
    """`export.json`; the files that it names are there, and are those that were checked.

    Raises:
        UserError: a file is missing, damaged, or not what its name says.
    """
    path = folder / EXPORT_RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] != KIND:
            raise ValueError(f"kind is {record['kind']!r}")
        files = dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the record of an export ({error!r}); make it with gkd export") from error
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: missing; an export is {EXPORT_RECORD} and {', '.join(files)}")
        if file_sha256(folder / name) != digest:
            raise UserError(f"{folder / name}: its SHA-256 is not the one in {EXPORT_RECORD}; export it again")
    return record
