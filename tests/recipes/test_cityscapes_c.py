"""`cityscapes_c/cityscapes`: the students of `f2l/cityscapes`, judged on corrupted images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.data import COMMON_CORRUPTIONS, CommonCorrupted, TargetDataModule
from gkd_lightning.data.common_corruptions import corrupted_commonly
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.recipes import arguments, compose, datasets_of

TARGETS = "data/cityscapes_c_targets.yaml"


def test_it_judges_every_corruption_in_cityscapes_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fake("cityscapes", tmp_path / "cityscapes", images=1, size=(64, 32))
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    domains = datasets_of(TARGETS)
    assert list(domains) == ["cityscapes", *COMMON_CORRUPTIONS]
    for name in COMMON_CORRUPTIONS:
        domain = domains[name]
        assert isinstance(domain, CommonCorrupted)
        expected = corrupted_commonly(domains["cityscapes"].image(0), name, 5, key=(0, 0))
        assert np.array_equal(domain.image(0), expected)
    protocol = arguments(compose([TARGETS]), "data")["protocol"]
    official = TargetDataModule({"c": domains["cityscapes"]}, protocol="gkd-official").protocol_of("c").asdict()  # type: ignore[dict-item]
    assert {key: official[key] for key in protocol} == protocol
