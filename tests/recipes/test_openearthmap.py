"""`openearthmap`: some regions train, others judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.data.benchmarks import OpenEarthMap
from gkd_lightning.recipes import datasets_of, load_recipe


@pytest.mark.parametrize("family", ["f2l", "f2f"])
def test_source_regions_train_and_target_regions_judge(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    recipe = load_recipe(f"{family}/openearthmap")
    (fragment,) = (part for part in recipe.common_stages["task"] if isinstance(part, str))
    (source,) = datasets_of(fragment).values()
    assert isinstance(source, OpenEarthMap)
    assert (source.regions, source.split) == ("source", "train")
    (judges,) = (part for part in recipe.evaluate if str(part).startswith("data/"))
    domains = datasets_of(str(judges))
    assert {name: (each.regions, each.split) for name, each in domains.items() if isinstance(each, OpenEarthMap)} == {
        "openearthmap-source": ("source", "val"),
        "openearthmap-target": ("target", "val"),
    }
