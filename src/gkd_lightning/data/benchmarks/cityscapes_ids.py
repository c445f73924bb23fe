"""Cityscapes' label ids, which GTAV and ACDC share, and the 19 train ids of its benchmark."""

from __future__ import annotations

IGNORE = 255

TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9,
    23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
"""Label id -> train id of the 19 evaluated classes."""

CLASS_MAP = {label_id: TRAIN_IDS.get(label_id, IGNORE) for label_id in (-1, *range(35), IGNORE)}
"""Every id that occurs in the files; 0 to 6, 9, 10, 14 to 16, 18, 29, 30 and the licence plate (-1, 34) are void."""
