"""Frames out of a video or a camera, and into an overlay video; PyAV does both."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gkd_lightning.data import Image
from gkd_lightning.deploy.predict.inputs import Input
from gkd_lightning.deploy.runtimes import needed
from gkd_lightning.errors import UserError

ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""In the order of preference: H.264 where FFmpeg was built with it."""
TICK = Fraction(1, 60000)
"""Seconds of the unit in which an overlay video counts time: whole numbers for all usual frame rates."""
WAITING = 10.0
"""Seconds until a stream that does not answer, or sends nothing any more, counts as gone."""

_BT709, _LIMITED = 1, 1
"""FFmpeg's numbers for the colours of high definition: said in the file, since players guess otherwise, by its size."""
_USUAL_RATE = Fraction(25)
_STREAM = {"rtsp_flags": "prefer_tcp"}  # over UDP, lost packets become broken frames
_SHORT_BY = 0.9
"""Share of its stated length that a whole video has at least; sound may be a little longer than the picture."""


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        index: place among all frames that were decoded, from 0.
        image: RGB uint8 (H, W, 3), upright.
        seconds: since the first one.
    """

    index: int
    image: Image
    seconds: Fraction


class Video:
    """A video file or a stream, open.

    Args:
        source: what to open.

    Attributes:
        rate: frames a second, as the file says.
        live: whether it is a stream without a stated length: a camera, which does not wait.
        pixel: width by height of a pixel, upright.
        broken: pieces that could not be decoded, so far.
        short: what is missing at its end; None if nothing is.

    Raises:
        UserError: PyAV is not installed, nothing can be opened, or there is no video in it.
    """

    def __init__(self, source: Input) -> None:
        self.av = needed("av", "video")
        self.source, self.broken = source, 0
        self.short: str | None = None
        try:
            self.container = self._opened()
        except (self.av.error.FFmpegError, OSError) as error:
            raise UserError(f"{source.shown}: cannot be opened as a video: {_reason(error)}") from None
        if not self.container.streams.video:
            self.container.close()
            raise UserError(f"{source.shown}: holds no video, or ends before it says where its frames are")
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or _USUAL_RATE)
        self.live = source.kind == "stream" and not self.container.duration
        self.pixel = Fraction(self.stream.sample_aspect_ratio or 1)

    def _opened(self) -> Any:
        if self.source.kind == "video":
            return self.av.open(self.source.source)
        if "://" in self.source.source:
            return self.av.open(self.source.source, options=_STREAM, timeout=WAITING)
        return self.av.open(self.source.source, format="v4l2")

    def frames(self) -> Generator[Frame, None, None]:
        """All frames that can be decoded; closes the video at the end.

        Raises:
            UserError: a stream that breaks off.
        """
        index, first, last = 0, None, Fraction(0)
        try:
            for decoded in self._decoded():
                if index == 0 and round(getattr(decoded, "rotation", 0) / 90) % 2:
                    self.pixel = 1 / self.pixel
                seconds = Fraction(index) / self.rate
                if decoded.pts is not None and decoded.time_base is not None:
                    time = decoded.pts * Fraction(decoded.time_base)
                    first = time - seconds if first is None else first
                    seconds = time - first
                last = max(last, seconds)
                yield Frame(index, _upright(decoded), seconds)
                index += 1
            if self.source.kind == "video":
                self._look_at_the_end(index, last)
        finally:
            self.container.close()

    def _decoded(self) -> Generator[Any, None, None]:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (self.av.error.FFmpegError, OSError) as error:
                if self.source.kind == "stream":
                    raise UserError(f"{self.source.shown}: the stream broke off: {_reason(error)}") from None
                self.broken += 1
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except self.av.error.FFmpegError:
                self.broken += 1

    def _look_at_the_end(self, frames: int, last: Fraction) -> None:
        stated = self.stream.duration
        length = stated * Fraction(self.stream.time_base) if stated else Fraction(self.container.duration or 0, 10**6)
        reached = last + 1 / self.rate
        if frames and length and reached < _SHORT_BY * length:
            self.short = f"ends after {float(reached):.1f} of {float(length):.1f} seconds"


def _upright(frame: Any) -> Image:
    """The picture as a player shows it: cameras are turned, and say so in the file."""
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90)
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _reason(error: BaseException) -> str:
    # never the error's own text: it repeats the address, with its password
    if type(error).__name__ == "ExitError":  # how PyAV ends what takes too long
        return f"nothing came for {WAITING:.0f} seconds"
    return getattr(error, "strerror", None) or type(error).__name__


class OverlayVideo:
    """A video that is written frame by frame, H.264 (MPEG-4 part 2 where FFmpeg has no such encoder) in MP4.

    Args:
        path: where to write.
        video: whose rate and shape of pixels it takes.
        size: (height, width) of the frames; an odd side gets a line more, which H.264 needs.
    """

    def __init__(self, path: Path, video: Video, size: tuple[int, int]) -> None:
        self.av = video.av
        encoder = next(name for name in ENCODERS if name in self.av.codecs_available)
        self.container = self.av.open(str(path), "w", format="mp4")
        self.stream = self.container.add_stream(encoder, rate=video.rate.limit_denominator(65535))
        self.stream.height, self.stream.width = (side + side % 2 for side in size)
        self.stream.pix_fmt = "yuv420p"
        context = self.stream.codec_context
        context.time_base, context.sample_aspect_ratio = TICK, video.pixel
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if encoder == "libx264":
            self.stream.options = {"preset": "veryfast", "crf": "20"}
        else:
            self.stream.bit_rate = max(10**6, int(size[0] * size[1] * video.rate / 5))
        self.last = -1

    def add(self, picture: Image, seconds: Fraction) -> None:
        """The next frame, RGB uint8 (H, W, 3), shown from `seconds` on."""
        odd = [(0, side % 2) for side in picture.shape[:2]]
        frame = self.av.VideoFrame.from_ndarray(np.pad(picture, [*odd, (0, 0)], mode="edge"), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = max(round(seconds / TICK), self.last + 1)
        frame.time_base = TICK
        self.last = frame.pts
        self.container.mux(self.stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the index without which nothing plays."""
        self.container.mux(self.stream.encode(None))
        self.container.close()
