"""Segment a picture with the folder that `gkd export --to onnx` wrote: NumPy, ONNX Runtime and OpenCV, nothing else.

python segment.py exported/ street.png ids.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime


def image_size(rule: dict, width: int, height: int) -> tuple[int, int]:
    """(width, height) that the segmenter was judged at."""
    if rule.get("resize", "none") == "none":
        return width, height
    if rule["resize"] == "exact":
        return tuple(rule["size"])
    box = rule["size"]
    scale = min(max(box) / max(width, height), min(box) / min(width, height))
    return int(width * scale + 0.5), int(height * scale + 0.5)


def starts(side: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along a side; the last one ends with the image."""
    return [min(first, side - window) for first in range(0, side - window + stride, stride)]


def main(folder: str, picture: str, out: str) -> None:
    """Write the class ids of a picture as a PNG of its size, and print each class's share."""
    record = json.loads((Path(folder) / "export.json").read_text())
    session = onnxruntime.InferenceSession(str(Path(folder) / record["model"]))
    image = cv2.imread(picture)[..., ::-1]  # RGB
    rule = next(iter(record["judged"].values()), record["protocol"])
    fitting = cv2.resize(image, image_size(rule, image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)

    (height, width), (down, right) = record["window"], record["stride"]
    rows, columns = fitting.shape[:2]
    if rows < height or columns < width:
        raise SystemExit(f"{picture}: {rows}x{columns} pixels are less than the window of {height}x{width}")
    scores = np.zeros((rows, columns, len(record["classes"])), np.float32)
    for top in starts(rows, height, down):
        for left in starts(columns, width, right):
            window = np.ascontiguousarray(fitting[top : top + height, left : left + width])
            if record["input"]["layout"] == "nchw":
                window = np.ascontiguousarray(window.transpose(2, 0, 1))
            (found,) = session.run(["scores"], {"images": window[None]})
            scores[top : top + height, left : left + width] += found[0].transpose(1, 2, 0)
    count = np.zeros((rows, columns, 1), np.float32)
    for top in starts(rows, height, down):
        for left in starts(columns, width, right):
            count[top : top + height, left : left + width] += 1
    whole = cv2.resize(scores / count, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    ids = whole.argmax(2).astype(np.uint8)
    cv2.imwrite(out, ids)
    for number, name in enumerate(record["classes"]):
        print(f"{name}: {100 * (ids == number).mean():.1f} %")


if __name__ == "__main__":
    main(*sys.argv[1:4])
