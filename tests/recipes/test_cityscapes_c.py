"""`cityscapes_c/cityscapes`: the students of `f2l/cityscapes`, judged on corrupted images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.chain.plan import make_plan
from gkd_lightning.cli import main
from gkd_lightning.data import COMMON_CORRUPTIONS, CommonCorrupted, TargetDataModule
from gkd_lightning.data.common_corruptions import corrupted_commonly
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.recipes import arguments, compose, datasets_of, load_recipe

TARGETS = "data/cityscapes_c_targets.yaml"


def test_the_students_are_those_of_f2l_trained_once_for_both(tmp_path: Path) -> None:
    plans = [make_plan(load_recipe(name), tmp_path) for name in ("f2l/cityscapes", "cityscapes_c/cityscapes")]
    assert {stage.hash for stage in plans[0].stages} == {stage.hash for stage in plans[1].stages}
    assert not any(method.published for method in plans[1].recipe.methods)


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


@pytest.mark.slow
def test_one_row_in_the_smoke_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    command = ["reproduce", "cityscapes_c", "--row", "student-deit-s-cityscapes", "--profile", "smoke"]
    assert main([*command, "--out", str(out)]) == 0
    assert f"| {' | '.join(COMMON_CORRUPTIONS)} | mean |" in capsys.readouterr().out
    (row,) = json.loads((out / "tables.json").read_text())["cityscapes"]["rows"]
    assert set(row["scores"]) >= {*COMMON_CORRUPTIONS, "mean"}
    assert "A trial of " in (out / "cityscapes/summary.md").read_text()
