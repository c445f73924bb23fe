"""Whether a data set is still what it was: a fingerprint of its files' contents, kept while nothing has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gkd_lightning.data import archives
from gkd_lightning.data.manifests import manifest, used
from gkd_lightning.files import atomic_write, cache_folder

READERS = 8


def contents(dataset: Any, labels: bool, read: bool = True, instances: bool = False) -> str:
    """SHA-256 over names and contents of a data set's files; of data without files that of its `manifest`.

    Reading all files takes as long as copying them, so the answer is kept by names, sizes and times of change: a second
    look takes milliseconds for thousands of files, wherever the folder was copied in between.

    Args:
        dataset: an `ImageDataset`.
        labels: whether its labels count.
        instances: whether its instances count, where it has any.
        read: otherwise a fingerprint of names, sizes and times of change, which opens no file.
    """
    if hasattr(dataset, "datasets"):
        parts = [contents(each, labels, read, instances) for each in dataset.datasets]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()
    if not hasattr(dataset, "image_path"):
        return str(manifest(dataset, labels, instances)["sha256"]) if read else ""
    files = list(_files(dataset, used(dataset, labels, instances)))
    states = [(name, str(path), archives.file_state(path)) for name, path in files]
    if not read:
        plain = [(name, s.size, s.modified) for name, _, s in states]
        return hashlib.sha256(repr(plain).encode()).hexdigest()
    quick = hashlib.sha256(repr([(name, path, s.size, s.modified) for name, path, s in states]).encode())
    kept = cache_folder() / "contents" / quick.hexdigest()
    if kept.is_file():
        return kept.read_text(encoding="ascii")
    digest = hashlib.sha256()
    with ThreadPoolExecutor(READERS) as readers:
        for (name, _), content in zip(files, readers.map(lambda file: archives.sha256(file[1]), files), strict=True):
            digest.update(f"{name} {content}\n".encode())
    with atomic_write(kept) as temporary:
        temporary.write_text(digest.hexdigest(), encoding="ascii")
    return digest.hexdigest()


def _files(dataset: Any, further: Sequence[str]) -> Iterator[tuple[str, Path]]:
    if further:  # of a data set whose labels lie in a file of all images too
        yield from ((path.name, path) for path in getattr(dataset, "shared_files", ()))
    for index in range(len(dataset)):
        name = dataset.name(index)
        yield name, dataset.image_path(index)
        for what in further:
            if hasattr(dataset, f"{what}_path"):
                yield f"{name} {what}", getattr(dataset, f"{what}_path")(index)
