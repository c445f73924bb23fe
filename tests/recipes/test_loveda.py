"""`loveda_urban` and `loveda_rural`: one scene trains, the other judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gkd_lightning.cli import main
from gkd_lightning.data.benchmarks import LoveDA
from gkd_lightning.recipes import datasets_of, load_recipe

OTHER = {"urban": "rural", "rural": "urban"}


@pytest.mark.parametrize("family", ["f2l", "f2f"])
@pytest.mark.parametrize("scene", OTHER)
def test_one_scene_trains_and_the_other_judges(
    family: str, scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    recipe = load_recipe(f"{family}/loveda_{scene}")
    (fragment,) = (part for part in recipe.common_stages["task"] if isinstance(part, str))
    (source,) = datasets_of(fragment).values()
    assert isinstance(source, LoveDA)
    assert (source.scene, source.split) == (scene, "train")
    (judges,) = (part for part in recipe.evaluate if str(part).startswith("data/"))
    domains = datasets_of(str(judges))
    assert list(domains) == [f"loveda-{scene}", f"loveda-{OTHER[scene]}"]
    assert {
        f"loveda-{each.scene}": each.split for each in domains.values() if isinstance(each, LoveDA)
    } == dict.fromkeys(domains, "val")


@pytest.mark.slow
def test_one_row_in_the_smoke_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    command = ["reproduce", "f2l", "--row", "student-deit-s-loveda-urban", "--profile", "smoke", "--out", str(out)]
    assert main(command) == 0
    assert "| loveda-rural | mean | loveda-urban | mean of all |" in capsys.readouterr().out
    (row,) = json.loads((out / "tables.json").read_text())["loveda_urban"]["rows"]
    assert set(row["scores"]) == {"loveda-rural", "mean"}
