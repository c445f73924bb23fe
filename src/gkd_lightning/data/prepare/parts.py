"""The parts of a published data set that lie in a folder."""

from __future__ import annotations

from functools import lru_cache

from gkd_lightning.data.benchmarks.catalogue import published
from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.errors import UserError


def parts_of(name: str, source: str) -> dict[str, PublishedSegmentation]:
    """Splits and conditions that are there, by name; at least one.

    Raises:
        UserError: an unknown name, a data set without labels, or nothing of it in `source`.
    """
    found: dict[str, PublishedSegmentation] = {}
    problems: list[UserError] = []
    for part, dataset in published(name, source).items():
        if not isinstance(dataset, PublishedSegmentation):
            raise UserError(f"{name}: has no labels and is read as it is; nothing to prepare")
        try:
            len(dataset)
        except UserError as error:
            problems.append(error)
        else:
            found[part] = dataset
    if not found:
        raise problems[0]
    return found


@lru_cache(maxsize=2)
def part_of(name: str, source: str, part: str) -> PublishedSegmentation:
    """One of them, kept by every worker together with the large image that it read last."""
    dataset = published(name, source)[part]
    assert isinstance(dataset, PublishedSegmentation)
    return dataset
