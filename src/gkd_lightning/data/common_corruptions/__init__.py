"""The common corruptions of ImageNet-C and Cityscapes-C, from their published definitions, for any labelled data set.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019.
Fourteen need nothing else; the fifteenth, frost, is a blend with photographs that are not ours to ship and that a user
brings. The constants are the published ones, in pixels, and do not grow with the image, as in Cityscapes-C. Where ours
differ, the functions say so: glass blur moves all pixels at once, elastic resamples once and moves the labels along.

`gkd_lightning.data.Corrupted` has six corruptions of our own, which look more like streets and grow with the image.
"""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.data.common_corruptions.dataset import COMMON_CORRUPTIONS, CommonCorrupted, corrupted_commonly

__all__ = ["COMMON_CORRUPTIONS", "CommonCorrupted", "corrupted_commonly"]

__getattr__ = on_demand(__name__, __file__)
