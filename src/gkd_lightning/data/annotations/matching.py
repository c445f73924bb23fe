"""Which image a record of an annotation file is about, by the name that it gives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from gkd_lightning.errors import UserError

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""Label Studio puts this before the name of a file that somebody uploads."""


def by_file_name(images: Sequence[str], records: Sequence[str], labels: str) -> dict[str, int]:
    """The position of each image's record: names agree, or one ends with the other after a slash.

    Args:
        images: relative to their folder.
        records: names that the annotation file gives.
        labels: that file, for messages.

    Raises:
        UserError: a record may be of several images, or an image's of several records.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for image in images:
        by_name[PurePosixPath(image).name].append(image)
    found: dict[str, int] = {}
    for place, record in enumerate(records):
        fits = _fits(record.replace("\\", "/"), by_name)
        if len(fits) > 1:
            raise UserError(
                f"{labels}: {record}: may be {fits[0]} or {fits[1]}; name images with their folder, or give one folder"
            )
        if fits and fits[0] in found:
            raise UserError(f"{labels}: {records[found[fits[0]]]} and {record} are both of {fits[0]}; keep one")
        if fits:
            found[fits[0]] = place
    return found


def _fits(record: str, by_name: dict[str, list[str]]) -> list[str]:
    path = PurePosixPath(record)
    fits = [
        image
        for image in by_name.get(path.name, ())
        if image == record or record.endswith(f"/{image}") or image.endswith(f"/{record}")
    ]
    if record in fits:
        return [record]
    if not fits and _UPLOADED.match(path.name):
        return by_name.get(_UPLOADED.sub("", path.name), [])
    return fits
