"""UrbanSyn, photorealistic synthetic streets (Gómez et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from gkd_lightning.data.benchmarks.card import Card
from gkd_lightning.data.benchmarks.published import Layout, PublishedSegmentation
from gkd_lightning.data.types import CITYSCAPES_19

_CLASS_MAP = {**{train_id: train_id for train_id in range(19)}, 19: 255}


class UrbanSyn(PublishedSegmentation):
    """All images as one split; labels are Cityscapes train ids, 19 is unlabelled.

    Args:
        root: folder that holds `rgb/` and `ss/`; default `$GKD_DATA/urbansyn`.

    Raises:
        UserError: as `PublishedSegmentation`.
    """

    card = Card(
        name="urbansyn",
        title="UrbanSyn",
        homepage="https://www.urbansyn.org",
        licence="CC BY-SA 4.0",
        counts={"train": 7539},
        size=(2048, 1024),
        tree="""\
urbansyn/
  rgb/rgb_0001.png … rgb_7539.png
  ss/ss_0001.png … ss_7539.png        (or the image's own name)""",
        other_folders=("UrbanSyn",),
    )
    label_space = CITYSCAPES_19

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "train")

    def layouts(self) -> Sequence[Layout]:
        """Names as published, else equal names as the official repository expects them."""
        return (
            Layout("published", "rgb", "ss", ".png", ".png", _CLASS_MAP, label_stem=_label_stem),
            Layout("equal names", "rgb", "ss", ".png", ".png", _CLASS_MAP),
        )


def _label_stem(stem: str) -> str:
    folder, slash, name = stem.rpartition("/")
    return f"{folder}{slash}ss_{name.removeprefix('rgb_')}"
