"""Recipes that judge `f2l/cityscapes`' students on further sets, and a row of each new setting in the smoke profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gkd_lightning.chain.plan import make_plan
from gkd_lightning.cli import main
from gkd_lightning.data import COMMON_CORRUPTIONS, TargetDataModule
from gkd_lightning.data.benchmarks import PublishedSegmentation
from gkd_lightning.recipes import datasets_of, load_recipe

IMAGES = {
    "night_fog": {"dark-zurich": 50, "nighttime-driving": 50, "foggy-zurich": 40, "foggy-driving": 101},
    "wild": {"idd": 981, "wilddash2": 4256, "muad": 551, "muad-adverse": 602, "deliver": 1897},
}


@pytest.mark.parametrize("family", [*IMAGES, "cityscapes_c"])
def test_the_students_are_those_of_f2l_trained_once_for_both(family: str, tmp_path: Path) -> None:
    plans = [make_plan(load_recipe(name), tmp_path) for name in ("f2l/cityscapes", f"{family}/cityscapes")]
    hashes = [{stage.hash for stage in plan.stages} for plan in plans]
    assert hashes[0] == hashes[1]
    assert not any(method.published for method in plans[1].recipe.methods)


@pytest.mark.parametrize("family", IMAGES)
def test_all_images_are_judged(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    domains = datasets_of(f"data/{family}_targets.yaml")
    expected = {name: domain.expected for name, domain in domains.items() if isinstance(domain, PublishedSegmentation)}
    assert expected == IMAGES[family]
    assert TargetDataModule(domains, protocol="full-resolution").domain_names == list(IMAGES[family])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "row", "part", "unseen", "seen"),
    [
        *((family, "student-deit-s-cityscapes", "cityscapes", list(domains), []) for family, domains in IMAGES.items()),
        ("cityscapes_c", "student-deit-s-cityscapes", "cityscapes", list(COMMON_CORRUPTIONS), ["cityscapes"]),
        ("f2l", "student-deit-s-loveda-urban", "loveda_urban", ["loveda-rural"], ["loveda-urban"]),
        ("f2l", "student-deit-s-openearthmap", "openearthmap", ["openearthmap-target"], ["openearthmap-source"]),
    ],
)
def test_one_row_in_the_smoke_profile(
    family: str, row: str, part: str, unseen: list[str], seen: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    assert main(["reproduce", family, "--row", row, "--profile", "smoke", "--out", str(out)]) == 0
    after = [*seen, "mean of all"] if seen else []
    assert f"| {' | '.join([*unseen, 'mean', *after])} |" in capsys.readouterr().out
    (found,) = json.loads((out / "tables.json").read_text())[part]["rows"]
    assert {*unseen, "mean"} <= set(found["scores"]) <= {*unseen, *seen, "mean"}
    assert (out / part / "summary.md").read_text().startswith("A trial of ")
