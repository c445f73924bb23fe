"""ImageNet-1k (ILSVRC 2012) as the proxy of stage 1a."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gkd_lightning.data import archives
from gkd_lightning.data.benchmarks.published import Card, default_folder
from gkd_lightning.data.proxy import ProxyImages
from gkd_lightning.errors import UserError


class ImageNet(ProxyImages):
    """The images without their classes, from an ImageFolder tree, the layout of the ILSVRC archive, or the tars.

    Args:
        root: folder that holds `train/`, `ILSVRC/` or `ILSVRC2012_img_train.tar`, or Kaggle's zip; archives are read
            where they lie; default `$GKD_DATA/imagenet`.
        split: `train` (1,281,167 images) or `val` (50,000).

    Raises:
        UserError: at once if neither `root` nor GKD_DATA is given; at the first use if there are no images.
    """

    card = Card(
        name="imagenet",
        title="ImageNet-1k",
        homepage="https://image-net.org/challenges/LSVRC/2012",
        licence="non-commercial research, registration",
        counts={"train": 1_281_167, "val": 50_000},
        size=(500, 375),
        tree="""\
imagenet/
  {train,val}/n01440764/n01440764_10026.JPEG        (or ILSVRC/Data/CLS-LOC/{train,val}/…)
  ILSVRC2012_img_{train,val}.tar                    (instead, as downloaded)""",
        other_folders=("ImageNet", "ILSVRC2012", "imagenet-1k"),
    )

    def __init__(self, root: str | None = None, split: Literal["train", "val"] = "train") -> None:
        if split not in self.card.counts:
            raise UserError(f"ImageNet: no split {split!r}; give one of {', '.join(self.card.counts)}")
        self.root = Path(root) if root is not None else default_folder(self.card)
        self.split, self.expected = split, self.card.counts[split]
        parents = [self.root, self.root / "ILSVRC/Data/CLS-LOC", self.root / "Data/CLS-LOC"]
        folders = [*(parent / split for parent in parents), self.root / f"ILSVRC2012_img_{split}.tar"]
        super().__init__(str(next((folder for folder in folders if archives.is_folder(folder)), folders[0])))

    def __len__(self) -> int:
        if not archives.is_folder(self.roots[0]):
            raise UserError(
                f"{self.root}: no ImageNet-1k ({self.split}) here; looked for {self.split}/, "
                f"ILSVRC/Data/CLS-LOC/{self.split}/ and ILSVRC2012_img_{self.split}.tar; get it from "
                f"{self.card.homepage} ({self.card.licence}), "
                "or `gkd data fake imagenet` makes a small imitation"
            )
        return super().__len__()
