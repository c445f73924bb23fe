"""Segmenters, videos and cameras for the tests of `gkd predict`."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gkd_lightning.data import CITYSCAPES_19
from gkd_lightning.deploy.predict.archive import SERVERS
from gkd_lightning.encoders import build_encoder
from gkd_lightning.segment import LinearHead, Segmenter, save_segmenter
from tests.chain.artefacts import segmenter, spec

CONDITIONS = ("fog", "night", "rain", "snow")
TURNED = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""The matrix that a telephone writes which was held upright."""


def checkpoint(folder: Path, width: int = 32) -> Path:
    """With the plainest head, for speed."""
    return segmenter(folder, width, head=LinearHead()) / "segmenter.safetensors"


def of_cityscapes(folder: Path) -> Path:
    """A segmenter of Cityscapes' classes."""
    torch.manual_seed(0)
    model = Segmenter.for_encoder(build_encoder(spec(32)), 19, LinearHead(), window=32, stride=32)
    save_segmenter(model, folder, label_space=CITYSCAPES_19, protocol={}, provenance={})
    return folder / "segmenter.safetensors"


def small_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks of few and small images."""
    for name, counts in (("acdc", dict.fromkeys(CONDITIONS, 1)), ("cityscapes", {"leftImg8bit": 2})):
        monkeypatch.setitem(SERVERS, name, replace(SERVERS[name], counts=counts, size=(64, 48)))


def acdc(root: Path) -> str:
    """Test images, and references beside them; the glob that finds the former."""
    for number, condition in enumerate(CONDITIONS):
        for split, ending in (("test", "rgb_anon"), ("test_ref", "rgb_ref_anon")):
            folder = root / f"rgb_anon/{condition}/{split}/GOPR047{number}"
            folder.mkdir(parents=True)
            Image.fromarray(picture(number)).save(folder / f"GOPR047{number}_frame_000247_{ending}.png")
    return str(root / SERVERS["acdc"].images)


def picture(index: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Something that moves, on noise: (height, width)."""
    rng = np.random.default_rng(index % 3)
    found = np.kron(rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    found[:, (4 * index) % size[1] :][:, :16] = (220, 30, 60)
    return found


def video(path: Path, frames: int = 12, rate: int = 25, size: tuple[int, int] = (48, 64), **options: str) -> Path:
    """A whole one; `options` are the container's."""
    import av

    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def with_a_broken_frame(source: Path, index: int) -> bytes:
    """The same video, of which the frame's data begins with a length that no decoder can believe."""
    import av

    with av.open(str(source)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.pos is not None][index]
    data = bytearray(source.read_bytes())
    data[place : place + 8] = b"\xff" * 8
    return bytes(data)


def turned(source: Path, path: Path) -> Path:
    """The same video, which says that it is to be shown a quarter turn clockwise."""
    data = source.read_bytes()
    place = data.index(b"tkhd") + 44
    path.write_bytes(data[:place] + TURNED + data[place + 36 :])
    return path


def look(path: Path) -> tuple[Any, list[np.ndarray]]:
    """(rate, width, height) and frames of a video."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return (stream.average_rate, stream.width, stream.height), frames


@contextmanager
def camera(frames: int | None = None) -> Iterator[str]:
    """Address of an MPEG transport stream over HTTP at 25 frames a second; it never ends without `frames`."""
    import av

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def write(self, data: bytes) -> int:
            self.wfile.write(data)
            return len(data)

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                with av.open(self, "w", format="mpegts") as container:
                    stream = container.add_stream("mpeg2video", rate=25)
                    stream.height, stream.width, stream.pix_fmt, stream.gop_size = 48, 64, "yuv420p", 5
                    begun, index = time.monotonic(), 0
                    while frames is None or index < frames:
                        frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
                        frame.pts = index
                        container.mux(stream.encode(frame))
                        index += 1
                        time.sleep(max(0.0, begun + index / 25 - time.monotonic()))
            except (OSError, av.error.FFmpegError):
                pass  # nobody looks any more

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://someone:secret@127.0.0.1:{server.server_address[1]}/live?key=hidden"
    finally:
        server.shutdown()
