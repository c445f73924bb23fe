"""Small sets of real streets by night and in fog, for evaluation alone, in Cityscapes' classes."""

from __future__ import annotations

from collections.abc import Sequence

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation


class DarkZurich(PublishedSegmentation):
    """Dark Zurich's validation images (Sakaridis et al., ICCV 2019), all of one drive by night.

    Args:
        root: folder that holds `rgb_anon/` and `gt/`; default `$GKD_DATA/dark_zurich`.
    """

    card = Card(
        name="dark_zurich",
        title="Dark Zurich",
        homepage="https://www.trace.ethz.ch/publications/2019/GCMA_UIoU",
        licence="own licence, LICENSE.txt of the archive",
        counts={"val": 50},
        size=(1920, 1080),
        tree="""\
dark_zurich/
  rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png
  gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png""",
        other_folders=("Dark_Zurich", "DarkZurich"),
        notes=(
            "Dark_Zurich_val_anon.zip is enough: the training images have no labels, those of the test are secret.",
        ),
    )

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, "val")
        self.split_title = "night val"

    def layouts(self) -> Sequence[Layout]:
        """Train ids as published."""
        folder = f"{self.split}/night"
        return (Layout("published", f"rgb_anon/{folder}", f"gt/{folder}", "_rgb_anon.png", "_gt_labelTrainIds.png"),)
