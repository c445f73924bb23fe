"""LoveDA (Wang et al., NeurIPS 2021): land cover from above, in two scenes that differ: cities and the country."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from gkd_lightning.data.benchmarks.published import Card, Layout, PublishedSegmentation
from gkd_lightning.data.labels import from_one
from gkd_lightning.data.types import LOVEDA_7
from gkd_lightning.errors import UserError

Scene = Literal["urban", "rural"]
SCENES: tuple[Scene, ...] = get_args(Scene)

_COUNTS: dict[Scene, dict[str, int]] = {
    "urban": {"train": 1156, "val": 677},
    "rural": {"train": 1366, "val": 992},
}


class LoveDA(PublishedSegmentation):
    """One of the two scenes, each a domain of its own.

    Args:
        root: folder that holds `Train/` and `Val/`; default `$GKD_DATA/loveda`.
        split: `train` or `val`; the labels of `Test/` are not public.
        scene: `urban` or `rural`.

    Raises:
        UserError: at once for another scene; otherwise as `PublishedSegmentation`.
    """

    card = Card(
        name="loveda",
        title="LoveDA",
        homepage="https://doi.org/10.5281/zenodo.5706578",
        licence="CC BY-NC-SA 4.0, academic use only",
        counts={"train": 2522, "val": 1669},
        size=(1024, 1024),
        tree="""\
loveda/
  {Train,Val}/{Urban,Rural}/images_png/0.png
  {Train,Val}/{Urban,Rural}/masks_png/0.png""",
        other_folders=("LoveDA", "loveDA"),
        notes=(
            "Counts are those of both scenes: urban has 1,156 and 677 of them, rural 1,366 and 992.",
            "A copy that puts both scenes into one folder, as MMSegmentation's converter makes it, does not tell them "
            "apart.",
        ),
    )
    label_space = LOVEDA_7
    id_map = "loveda-7"

    def __init__(
        self, root: str | None = None, split: Literal["train", "val"] = "train", scene: Scene = "urban"
    ) -> None:
        if scene not in SCENES:
            raise UserError(f"LoveDA: no scene {scene!r}; give one of {', '.join(SCENES)}")
        super().__init__(root, split)
        self.scene, self.split_title, self.expected = scene, f"{scene} {split}", _COUNTS[scene][split]

    def layouts(self) -> Sequence[Layout]:
        """As the archives unpack; 0 is where there are no data."""
        folder = f"{self.split.capitalize()}/{self.scene.capitalize()}"
        class_map = from_one(len(LOVEDA_7))
        return (Layout("published", f"{folder}/images_png", f"{folder}/masks_png", ".png", ".png", class_map),)
