"""Images: read ahead, segmented in batches of one size, written behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gkd_lightning.cores import cores
from gkd_lightning.data import Image, read_image
from gkd_lightning.deploy.predict.inputs import Input
from gkd_lightning.deploy.predict.job import Job, in_batches
from gkd_lightning.deploy.predict.panoptic import PANOPTIC
from gkd_lightning.deploy.predict.threads import in_order
from gkd_lightning.errors import UserError

MOST_THREADS = 8
"""That read, and that write: PNGs take longer than a small segmenter on a GPU."""


def is_finished(job: Job, source: Input) -> bool:
    """Whether an earlier call has written all that is wanted of an image."""
    line = job.progress.of(source.name, source.source)
    wanted = {"segments": job.of_images.json, PANOPTIC: PANOPTIC in job.of_images.folders}
    if line is None or any(asked and part not in line for part, asked in wanted.items()):
        return False
    return all(path.is_file() for path in job.of_images.paths(job.out, source.name))


def segment_images(job: Job, sources: Iterable[Input]) -> Iterator[Path]:
    """Segment and write them; those that cannot be read or segmented become `job.problems`.

    Yields:
        The path of each id map, once all files of its image are written.
    """
    threads = min(cores(), MOST_THREADS)
    pending: deque[tuple[Input, Future[dict[str, Any]]]] = deque()
    pool = ThreadPoolExecutor(2 * threads)
    try:
        for batch in in_batches(_readable(job, sources, pool, threads + job.batch), job.batch, _size):
            try:
                found = job.segment([image for _, image in batch], job.of_images)
            except UserError as error:  # such as an image that is smaller than an export's window
                job.problems.extend(f"{source.source}: {error}" for source, _ in batch)
                continue
            for (source, image), of_image in zip(batch, found, strict=True):
                writing = pool.submit(job.of_images.write, job.out, source.name, image, of_image)
                pending.append((source, writing))
            while len(pending) > threads:
                yield _finished(job, *pending.popleft())
        while pending:
            yield _finished(job, *pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _readable(
    job: Job, sources: Iterable[Input], pool: ThreadPoolExecutor, depth: int
) -> Iterator[tuple[Input, Image]]:
    for source, image in in_order(pool, _read, sources, depth):
        if isinstance(image, UserError):
            job.problems.append(str(image))
        else:
            yield source, image


def _read(source: Input) -> tuple[Input, Image | UserError]:
    try:
        return source, read_image(source.source)
    except UserError as error:
        return source, error


def _size(item: tuple[Input, Image]) -> object:
    return item[1].shape


def _finished(job: Job, source: Input, writing: Future[dict[str, Any]]) -> Path:
    job.progress.add(source.name, source.source, **writing.result())
    return job.of_images.paths(job.out, source.name)[0]
