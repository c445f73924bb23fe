"""Decoding JPEG files, in which libjpeg fills damaged parts with grey and only prints a warning."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data.types import Image

_END = b"\xff\xd9"
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_DAMAGE = re.compile(r"(Corrupt JPEG data: .*|Premature end of .*)\n?")
_BEFORE_THE_END = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MOST_PADDING = 16
_ONE_AT_A_TIME = threading.Lock()


def decoded_jpeg(picture: Pillow.Image, data: bytes) -> Image | None:
    """RGB uint8 (H, W, 3) as stored, not turned; None where Pillow has to decode: CMYK, or what OpenCV does not know.

    OpenCV gives the pixels that Pillow gives, in a third of the time, and tells of damage.

    Args:
        picture: the file as Pillow has opened it.
        data: its bytes. What follows the picture, such as padding or a film, does not matter.

    Raises:
        OSError: the file ends early.
        ValueError: it is damaged inside. Where the code happens to fit again, as after most single flipped bits, some
            colours are wrong and nobody can tell.
    """
    if not data.endswith(_END):
        picture.load()  # tells a file that ends early, of which OpenCV 4 makes up the rest without a word
        data += _END
    with _standard_error() as said:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _AS_STORED)
    for damage in said:
        padding = _BEFORE_THE_END.search(damage)
        count = int(padding[1]) if padding else _MOST_PADDING + 1
        if count > _MOST_PADDING or len(set(data[-2 - count : -2])) > 1:
            raise ValueError(f"it is damaged inside, libjpeg would fill in grey ({damage})")
    if pixels is None or picture.mode not in ("RGB", "L"):
        return None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels), dtype=np.uint8)


@contextlib.contextmanager
def _standard_error() -> Iterator[list[str]]:
    """What libjpeg writes to the terminal about damage: OpenCV has no other way to learn it. The rest is handed on."""
    said: list[str] = []
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:  # closed
            kept = os.open(os.devnull, os.O_WRONLY)
        reading, writing = os.pipe()
        for end in (reading, writing):
            os.set_blocking(end, False)  # more than a pipe holds is lost, and nobody waits
        try:
            os.dup2(writing, 2)
            os.close(writing)
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            with contextlib.suppress(BlockingIOError):  # somebody else has the other end
                text = os.read(reading, 65536).decode(errors="replace")
                said += _DAMAGE.findall(text)
                if rest := _DAMAGE.sub("", text):
                    os.write(2, rest.encode())
            os.close(reading)
