"""MiniCity: a procedural street world with exact labels; the same pixels on every machine.

`game` is the labelled source, `day night fog rain snow` are unseen targets, `val` is for choosing, `wild` is what
the shipped teacher was trained on, and `shapes` is the proxy without streets.
"""

from gkd_lightning.data.minicity.dataset import MiniCity, MiniCityLabelledShapes, MiniCityShapes
from gkd_lightning.data.minicity.styles import STYLES, TARGET_STYLES, Style, augmentation_box, boxes_disjoint

__all__ = [
    "MiniCity", "MiniCityShapes", "MiniCityLabelledShapes",
    "STYLES", "TARGET_STYLES", "Style", "augmentation_box", "boxes_disjoint",
]  # fmt: skip
