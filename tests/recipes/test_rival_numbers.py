"""Published numbers of other methods: what a file of them may hold, and that those that ship add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.recipes import datasets_of, load_recipe, shipped_recipes
from gkd_lightning.recipes.rivals import read_rivals

ROWS = """
rows:
  - {title: Rein, backbone: DINOv2-L, crop: 512, source: paper, scores: {night: 50, mean: 50.5}}
  - {title: Other, backbone: CLIP-L, source: table, scores: {mean: 41.5}}
"""


def test_rows_with_and_without_a_crop(tmp_path: Path) -> None:
    (tmp_path / "rivals.yaml").write_text(ROWS)
    rein, other = read_rivals(tmp_path / "rivals.yaml")
    assert (rein.title, rein.crop, rein.scores) == ("Rein", 512, {"night": 50.0, "mean": 50.5})
    assert (other.source, other.crop) == ("table", None)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rows:", "row:", r"row: unknown key, did you mean 'rows'\?"),
        (ROWS, "rows: []", "rows: expected a list with at least one row"),
        ("source: paper, ", "", r"rows\[0\].source: is missing"),
        ("title: Rein", "title: [Rein]", r"rows\[0\].title: expected a text"),
        ("crop: 512", "crop: 0", r"rows\[0\].crop: expected a side in pixels, found 0"),
        ("crop: 512", "corp: 512", r"rows\[0\].corp: unknown key, did you mean 'crop'\?"),
        ("night: 50", "night: high", r"rows\[0\].scores.night: expected mIoU in percent, found 'high'"),
        ("night: 50", "night: 500", r"rows\[0\].scores.night: expected mIoU in percent, found 500"),
        ("{mean: 41.5}", "{}", r"rows\[1\].scores: expected numbers by domain"),
    ],
)
def test_mistakes(old: str, new: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "rivals.yaml").write_text(ROWS.replace(old, new))
    with pytest.raises(UserError, match=words):
        read_rivals(tmp_path / "rivals.yaml")


def test_a_recipe_names_the_file_and_hands_it_to_no_heir(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("model: {class_path: T, init_args: {encoder: {name: s}}}\n")
    (tmp_path / "theirs.yaml").write_text(ROWS)
    (tmp_path / "base.yaml").write_text(
        "rivals: theirs.yaml\nmethods: {one: {stages: [{name: task, configs: [task.yaml]}]}}\n"
    )
    (tmp_path / "heir.yaml").write_text("extends: base.yaml\n")
    assert [rival.title for rival in load_recipe(str(tmp_path / "base.yaml")).rivals] == ["Rein", "Other"]
    assert load_recipe(str(tmp_path / "heir.yaml")).rivals == ()
    (tmp_path / "heir.yaml").write_text("extends: base.yaml\nrivals: thiers.yaml\n")
    with pytest.raises(UserError, match=r"thiers.yaml: no such configuration fragment"):
        load_recipe(str(tmp_path / "heir.yaml"))


def test_shipped_numbers_are_of_judged_domains_and_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    found = 0
    for name in shipped_recipes():
        recipe = load_recipe(name)
        if not recipe.rivals:
            continue
        (judges,) = (str(part) for part in recipe.evaluate if str(part).startswith("data/"))
        for rival in recipe.rivals:
            domains = {domain: score for domain, score in rival.scores.items() if domain != "mean"}
            assert set(domains) <= set(datasets_of(judges)), (name, rival.title)
            if domains:
                mean = sum(domains.values()) / len(domains)
                assert rival.scores["mean"] == pytest.approx(mean, abs=0.1), (name, rival.title)
            found += 1
    assert found >= 18
