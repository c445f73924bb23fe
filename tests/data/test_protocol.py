from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gkd_lightning.data import Protocol
from gkd_lightning.errors import UserError

PHOTO = np.zeros((30, 60, 3), dtype=np.uint8)


def test_resizing() -> None:
    assert Protocol().resized(PHOTO) is PHOTO
    assert Protocol("exact", (20, 20)).resized(PHOTO).shape == (20, 20, 3)
    assert Protocol("fit", (20, 20)).resized(PHOTO).shape == (10, 20, 3)
    assert Protocol("fit", (60, 30)).resized(PHOTO) is PHOTO


def test_the_record_is_plain() -> None:
    record = Protocol("fit", (1024, 512), split="val", id_map="cityscapes-19").asdict()
    assert json.loads(json.dumps(record)) == record
    assert record["size"] == [1024, 512]
    assert Protocol(**record) == Protocol("fit", (1024, 512), split="val", id_map="cityscapes-19")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": "fit"}, "resize is 'fit' but size is None; give size"),
        ({"size": (4, 4)}, "resize is 'none' but size is"),
        ({"resize": "exact", "size": (0, 4)}, r"size\[0\]: 0; give a number at least 1"),
    ],
)
def test_bad_records(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Protocol(**settings)
