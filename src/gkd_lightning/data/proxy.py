"""Images without labels: the proxy set of stage 1a (ImageNet, or any folder of photographs)."""

from __future__ import annotations

import os
from bisect import bisect_right
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data import archives
from gkd_lightning.data.images import list_images, read_image, read_list
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError


class ProxyImages:
    """All images below one or several roots, sorted; nothing is scanned before the first use.

    Args:
        root: a folder (an ImageFolder tree or any other; sub-folders are searched), a tar or zip archive or a folder of
            them (WebDataset's shards), which are read where they lie, a `.txt` list file with one path per line
            relative to the list's own folder, or a list of these.

    Raises:
        UserError: at the first use, when a root is missing or holds no image, and for unreadable files.
    """

    def __init__(self, root: str | list[str]) -> None:
        self.roots = [root] if isinstance(root, str) else list(root)
        if not self.roots:
            raise UserError("ProxyImages: root is empty; give at least one folder, archive or list file")

    @cached_property
    def _scan(self) -> tuple[NDArray[np.bytes_], list[int]]:
        """All paths, and how many lie before the end of each root.

        The paths are one block of bytes: worker processes share it, a million Python strings they would copy.
        """
        expanded = [_expand(root) for root in self.roots]
        paths = np.array([os.fsencode(path) for paths in expanded for path in paths], dtype=np.bytes_)
        return paths, np.cumsum([len(paths) for paths in expanded]).tolist()

    def __len__(self) -> int:
        return len(self._scan[0])

    def image_path(self, index: int) -> Path:
        """The file of image `index`."""
        return Path(os.fsdecode(bytes(self._scan[0][index])))

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        return read_image(self.image_path(index))

    def plain_file(self, index: int) -> Path:
        """The image's file, which is read as it is."""
        return self.image_path(index)

    def name(self, index: int) -> str:
        """Path relative to the root; with several roots the root's position comes first."""
        position = bisect_right(self._scan[1], index)
        path, base = self.image_path(index), _base(self.roots[position])
        relative = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
        return relative if len(self.roots) == 1 else f"{position}/{relative}"


def _base(root: str) -> Path:
    return Path(root).parent if root.endswith(".txt") else Path(root)


def _kind(root: str) -> str:
    return "this archive" if archives.is_archive(root) else "this folder or below it"


def _expand(root: str) -> list[str]:
    if root.endswith(".txt"):
        paths = [str(_base(root) / entry) for entry in read_list(root)]
        missing = [path for path in paths if not archives.is_file(path)]
        if missing:
            raise UserError(f"{root}: {len(missing)} of {len(paths)} listed images do not exist, first {missing[0]}")
        return paths
    found = list_images(root)
    if not found:
        raise UserError(f"{root}: no image in {_kind(root)}")
    return [str(Path(root) / path) for path in found]
