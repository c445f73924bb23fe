"""`wild/cityscapes`: the students of `f2l/cityscapes`, judged in other countries and in synthetic weather."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gkd_lightning.chain.plan import make_plan
from gkd_lightning.cli import main
from gkd_lightning.data import TargetDataModule
from gkd_lightning.data.benchmarks import PublishedSegmentation
from gkd_lightning.recipes import datasets_of, load_recipe

DOMAINS = {"idd": 981, "wilddash2": 4256, "muad": 551, "muad-adverse": 602, "deliver": 1897}


def test_the_students_are_those_of_f2l_trained_once_for_both(tmp_path: Path) -> None:
    plans = [make_plan(load_recipe(name), tmp_path) for name in ("f2l/cityscapes", "wild/cityscapes")]
    hashes = [{stage.hash for stage in plan.stages} for plan in plans]
    assert hashes[0] == hashes[1]
    assert not any(method.published for method in plans[1].recipe.methods)


def test_it_judges_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    domains = datasets_of("data/wild_targets.yaml")
    expected = {name: domain.expected for name, domain in domains.items() if isinstance(domain, PublishedSegmentation)}
    assert expected == DOMAINS
    assert TargetDataModule(domains, protocol="full-resolution").domain_names == list(DOMAINS)


@pytest.mark.slow
def test_one_row_in_the_smoke_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    command = ["reproduce", "wild", "--row", "student-deit-s-cityscapes", "--profile", "smoke", "--out", str(out)]
    assert main(command) == 0
    assert f"| {' | '.join(DOMAINS)} | mean |" in capsys.readouterr().out
    (row,) = json.loads((out / "tables.json").read_text())["cityscapes"]["rows"]
    assert set(row["scores"]) == {*DOMAINS, "mean"}
