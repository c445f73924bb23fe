"""The parts of a published data set that lie in a folder."""

from __future__ import annotations

from functools import lru_cache

from gkd_lightning.data.benchmarks.catalogue import published_parts
from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.errors import UserError


def parts_of(name: str, source: str) -> dict[str, PublishedSegmentation]:
    """Splits and conditions that are there, by name; at least one. What is not there is named on the terminal.

    Raises:
        UserError: an unknown name, a data set without labels, nothing of it in `source`, or a part that is there but
            incomplete.
    """
    found: dict[str, PublishedSegmentation] = {}
    missing: dict[str, UserError] = {}
    for part, dataset in published_parts(name, source).items():
        if not isinstance(dataset, PublishedSegmentation):
            raise UserError(f"{name}: has no labels and is read as it is; nothing to prepare")
        try:
            _ = dataset.files
        except UserError as error:
            missing[part] = error
        else:
            len(dataset)  # an image without a label is a mistake, not a part that is not there
            found[part] = dataset
    if not found:
        raise next(iter(missing.values()))
    for part in missing:
        print(f"{name}-{part}: not in {source}, left out", flush=True)
    return found


@lru_cache(maxsize=2)
def part_of(name: str, source: str, part: str) -> PublishedSegmentation:
    """One of them, kept by every worker together with the large image that it read last."""
    dataset = published_parts(name, source)[part]
    assert isinstance(dataset, PublishedSegmentation)
    return dataset
