"""A video or a stream: an overlay video, and what is wanted of its frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gkd_lightning.deploy.model import Found
from gkd_lightning.deploy.predict.inputs import Input
from gkd_lightning.deploy.predict.job import Job, frame_name, in_batches
from gkd_lightning.deploy.predict.products import OVERLAY
from gkd_lightning.deploy.predict.threads import ahead
from gkd_lightning.deploy.predict.videos import Frame, OverlayVideo, Video
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write

_BEHIND = 4
"""Frames that may wait to be written."""


def overlay_path(job: Job, name: str) -> Path:
    """Where a video's overlay goes."""
    return job.out / OVERLAY / f"{name}.mp4"


def is_finished(job: Job, source: Input) -> bool:
    """Whether an earlier call has written all that is wanted of a video file."""
    line = job.progress.of(source.name, source.source)
    if line is None or not overlay_path(job, source.name).is_file():
        return False
    written = set(line.get("products", ()))
    return written.issuperset(job.of_frames.folders) and (line.get("json", False) or not job.of_frames.json)


def recording_name(source: Input) -> str:
    """A stream's name with the time, so that no recording takes another's place."""
    return f"{source.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def segment_video(job: Job, video: Video, name: str) -> Iterator[Path]:
    """Segment every frame of a video file; of a camera that is faster than the segmenter, those there is time for.

    A stream ends when somebody interrupts, or when it breaks off: what was seen until then is kept, and can be played.

    Yields:
        The path of the overlay video, once it is whole.

    Raises:
        UserError: not one frame could be decoded.
    """
    source = video.source
    path = overlay_path(job, name)
    with atomic_write(path) as temporary, ThreadPoolExecutor(1) as pool:
        writer = _Writer(job, video, name, temporary)
        pending: deque[Future[None]] = deque()
        ended = ""
        try:
            for batch in in_batches(_frames(job, video), job.batch, lambda frame: frame.image.shape):
                try:
                    found = job.segment([frame.image for frame in batch], job.of_frames)
                except UserError as error:
                    raise UserError(f"{source.shown}: {error}") from error
                pending.extend(pool.submit(writer.add, *both) for both in zip(batch, found, strict=True))
                while len(pending) > _BEHIND:
                    pending.popleft().result()
                job.totals.show(name, batch[-1].index + 1)
        except KeyboardInterrupt:
            if source.kind != "stream":
                raise
        except UserError as error:
            if source.kind != "stream":
                raise
            ended = str(error)
        finally:
            job.totals.clear()
            pool.submit(writer.close).result()  # in the thread that writes, which nothing interrupts
        for future in pending:
            future.result()
        if not writer.frames:
            raise UserError(ended or f"{source.shown}: no frame of it could be decoded; nothing is written")
    _remember(job, video, name, writer, ended)
    yield path


def _frames(job: Job, video: Video) -> Iterator[Frame]:
    return ahead(video.frames(), 1 if video.live else job.batch + 1, newest=video.live)


class _Writer:
    """Everything that is written while a video is read."""

    def __init__(self, job: Job, video: Video, name: str, path: Path) -> None:
        self.job, self.video, self.name, self.path = job, video, name, path
        self.overlay: OverlayVideo | None = None
        self.frames = 0

    def add(self, frame: Frame, found: Found) -> None:
        """A frame, in the order of the video."""
        products = self.job.of_frames
        if self.overlay is None:
            self.overlay = OverlayVideo(self.path, self.video, (frame.image.shape[0], frame.image.shape[1]))
        self.overlay.add(products.overlaid(frame.image, found), frame.seconds)
        said = products.write(self.job.out, frame_name(self.name, self.frames), frame.image, found)
        if said:
            self.job.progress.add(frame_name(self.name, self.frames), **said)
        self.frames += 1

    def close(self) -> None:
        """Whatever happened before."""
        if self.overlay is not None:
            self.overlay.close()


def _remember(job: Job, video: Video, name: str, writer: _Writer, ended: str) -> None:
    values: dict[str, Any] = {"frames": writer.frames, "products": sorted(job.of_frames.folders)}
    values["json"] = job.of_frames.json
    problem = ended or video.short or (f"{video.broken} pieces of it cannot be decoded" if video.broken else "")
    if problem:
        shown = problem if ended else f"{video.source.shown}: {problem}"
        job.problems.append(f"{shown}; its other {writer.frames:,} frames are written")
    is_file = video.source.kind == "video"
    job.progress.add(name, video.source.source if is_file and not problem else None, **values)
