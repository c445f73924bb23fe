"""A first recipe for somebody's own folders: what lies in them, and files that train on it as they are."""

from gkd_lightning.recipes.start.annotated import annotations_at, found_annotated, told_shapes
from gkd_lightning.recipes.start.first_recipe import FirstRecipe, Scale, write_first_recipe
from gkd_lightning.recipes.start.label_kinds import Labels, told_labels
from gkd_lightning.recipes.start.pairing import Pairing, found_pairing, spread
from gkd_lightning.recipes.start.parts import Found, split

__all__ = [
    "FirstRecipe", "Found", "Labels", "Pairing", "Scale", "annotations_at", "found_annotated", "found_pairing", "split",
    "spread", "told_labels", "told_shapes", "write_first_recipe",
]  # fmt: skip
