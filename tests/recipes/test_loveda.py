"""`loveda_urban` and `loveda_rural`: one scene trains, the other judges."""

from __future__ import annotations

from pathlib import Path

import pytest

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
