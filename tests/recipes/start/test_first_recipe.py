"""`gkd init` says what lies in folders as people have them, and what it writes trains; what fits twice stops it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.data import FolderSegmentation
from gkd_lightning.recipes import datasets_of, load_recipe
from gkd_lightning.recipes.yaml_text import read_yaml
from tests.recipes.start.trees import TREES, coloured, ids, parts, plain, raw_cityscapes, saved


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def init(*arguments: str) -> int:
    return main(["init", "mine", "--trial", *arguments])


def source() -> FolderSegmentation:
    found = datasets_of("mine/source.yaml")
    (dataset,) = [each for name, each in found.items() if name != "home"]
    assert isinstance(dataset, FolderSegmentation)
    return dataset


WANTED = {  # labels of the first training image, images that train and that judge
    "plain": ({0, 1, 2}, 5, 1),
    "parts": ({0, 1, 255}, 5, 2),
    "idd lite": ({0, 3, 255}, 4, 2),
    "raw cityscapes": ({0, 10, 13}, 3, 1),
    "one folder": ({0, 1}, 4, 1),
    "coloured": ({0, 10, 13, 255}, 3, 1),
}


@pytest.mark.parametrize("name", TREES)
def test_what_is_written_reads_the_labels(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, arguments = TREES[name]
    write(tmp_path)
    assert init(*arguments) == 0, capsys.readouterr().err
    values, train, judge = WANTED[name]
    dataset = source()
    assert len(dataset) == train
    assert set(np.unique(dataset.label(0))) == values
    assert len(datasets_of("mine/source.yaml")["home"]) == judge
    assert f"{train} of them train, {judge} judge" in capsys.readouterr().out
    recipe = load_recipe("mine/recipe.yaml")
    assert [stage.name for stage in recipe.methods[0].stages] == ["domain_agnostic", "task"]
    domains = read_yaml(tmp_path / "mine/targets.yaml")["data"]["init_args"]["domains"]
    assert list(domains) == ["home", "night", "fog", "rain", "snow", "blur", "noise"]


@pytest.mark.slow
def test_what_is_written_runs_to_its_report(tmp_path: Path) -> None:
    parts(tmp_path)
    plain(tmp_path / "winter", 2)
    plain(tmp_path / "photos", 4)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in (tmp_path / "photos/images").iterdir():
            archive.write(path, path.name)
    arguments = ["--images", "images", "--labels", "labels", "--classes", "road,sky,car", "--proxy", "photos.zip"]
    assert init(*arguments, "--target", "winter=winter/images:winter/labels") == 0
    run = ["run", "mine/recipe.yaml", "--methods", "gkd", "--set", "trainer.max_steps=1", "--set", "data.batch_size=2"]
    assert main(run) == 0
    results = json.loads(Path("runs/mine/results.json").read_text())
    assert [score["domain"] for score in results["runs"][0]["domains"]] == ["home", "winter"]
    assert Path("runs/mine/report.html").is_file()


def coloured_unknown(folder: Path) -> None:
    for number in range(3):
        saved(folder / f"images/{number}.png", np.zeros((8, 8, 3), np.uint8))
        saved(folder / f"labels/{number}.png", np.full((8, 8, 3), (10, 20, number), np.uint8))


def two_labels(folder: Path) -> None:
    plain(folder)
    for number in range(6):
        saved(folder / f"labels/{number:03}_old.png", ids(number))
        saved(folder / f"labels/{number:03}_new.png", ids(number))
        (folder / f"labels/{number:03}.png").unlink()


def test_ambiguities_stop_with_both_readings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain(tmp_path / "a")
    folders = ["--images", "a/images", "--labels", "a/labels"]
    assert init(*folders, "--classes", "road,sky") == 2
    told = capsys.readouterr().err
    assert "id 2 beyond the 2 classes; either 2 is ignored (--ignore 2), or 0 is a class that the list lacks" in told
    assert "or 0 is ignored and ids count from 1 (--ids-from-1)" in told
    raw_cityscapes(tmp_path / "b")
    assert init("--images", "b/leftImg8bit", "--labels", "b/gtFine") == 2
    assert "could be raw ids (cityscapes-ids) or 27 classes of yours; say --class-map" in capsys.readouterr().err
    two_labels(tmp_path / "c")
    assert init("--images", "c/images", "--labels", "c/labels") == 2
    assert "several labels fit each image (.jpg with _new.png or .jpg with _old.png)" in capsys.readouterr().err
    coloured(tmp_path / "e")
    assert init("--images", "e/images") == 2  # its masks are found beside the images
    assert "the palettes cityscapes-19 and camvid-11 and minicity-8 have them" in capsys.readouterr().err
    coloured_unknown(tmp_path / "d")
    assert init("--images", "d/images", "--labels", "d/labels") == 2
    assert "labels hold 3 colours ([10, 20, 0], [10, 20, 1], [10, 20, 2]); no known palette" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("given", "values"),
    [
        (["--classes", "road,sky", "--ignore", "2"], {0, 1, 255}),
        (["--classes", "sky,car", "--ids-from-1"], {0, 1, 255}),
        (["--classes", "void,sky,car"], {0, 1, 2}),
    ],
)
def test_each_reading_can_be_chosen(given: list[str], values: set[int], tmp_path: Path) -> None:
    plain(tmp_path)
    assert init("--images", "images", "--labels", "labels", *given) == 0
    assert set(np.unique(source().label(0))) == values


@pytest.mark.parametrize(
    ("given", "values"),
    [
        (["--classes", "background,sky,car"], {0, 1, 2, 255}),
        (["--classes", "sky,car", "--ids-from-1"], {0, 1, 255}),
        (["--classes", "background,sky", "--ignore", "2"], {0, 1, 255}),
    ],
)
def test_borders_of_255_beside_every_convention(given: list[str], values: set[int], tmp_path: Path) -> None:
    """VOC's palette PNGs: indices are ids, 255 is ignored, whatever 0 means."""
    plain(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        pixels = np.array(Image.open(path))
        pixels[:, :2] = 255
        indices = Image.fromarray(pixels, mode="P")
        indices.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
        indices.save(path)
    assert init("--images", "images", "--labels", "labels", *given) == 0
    assert set(np.unique(source().label(0))) == values


def test_a_palette_is_given_by_names(tmp_path: Path) -> None:
    coloured_unknown(tmp_path)
    palette = "a=#0a1400,b=#0a1401,c=#0a1402"
    assert init("--images", "images", "--labels", "labels", "--palette", palette) == 0
    dataset = source()
    assert dataset.label_space.names == ("a", "b", "c")
    assert [int(dataset.label(index)[0, 0]) for index in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "none"], "none: no such folder"),
        (["--images", "images", "--labels", "none"], "none: no such file or folder of labels"),
        (["--images", "images", "--labels", "labels", "--classes", "camvid"], "--classes camvid: no preset"),
        (["--images", "images", "--labels", "labels", "--class-map", "city"], "--class-map city: no such map"),
        (["--images", "images", "--labels", "labels", "--label-suffix", ".png"], "give both or none"),
        (
            ["--images", "images", "--labels", "labels", "--target", "winter"],
            "--target winter: give NAME=IMAGES:LABELS",
        ),
        (["--images", "images", "--labels", "labels", "--proxy", "none"], "none: no such folder"),
        (["--images", "images", "--labels", "labels", "--palette", "a:1"], "--palette a:1: give NAME=#rrggbb"),
        (["--images", "images", "--labels", "labels", "--palette", "a=#000001"], "hold ids, no colours"),
        (["--images", "images", "--labels", "labels", "--teacher", "teacher/dinov9.yaml"], "no such configuration"),
        (["--images", "images", "--labels", "labels", "--edge"], "--edge: is for a GPU's sizes"),
        (["--images", "images", "--labels", "other"], "no label is named after an image"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain(tmp_path)
    saved(tmp_path / "other/else.png", ids(0))
    assert init(*arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "mine/recipe.yaml").exists()


def test_a_recipe_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain(tmp_path)
    assert init("--images", "images", "--labels", "labels") == 0
    assert init("--images", "images", "--labels", "labels") == 2
    assert "mine/recipe.yaml: exists; give another folder" in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["--cpu", "--gpu"])
def test_sizes_follow_images_and_device(scale: str, tmp_path: Path) -> None:
    for number in range(4):
        saved(tmp_path / f"images/{number}.png", np.zeros((600, 900, 3), np.uint8))
        saved(tmp_path / f"labels/{number}.png", np.zeros((600, 900), np.uint8))
    assert main(["init", "mine", "--images", "images", "--labels", "labels", scale]) == 0
    data = read_yaml(tmp_path / "mine/source.yaml")["data"]["init_args"]
    recipe = load_recipe("mine/recipe.yaml")
    settings = recipe.methods[0].stages[0].set
    if scale == "--gpu":
        assert (data["image_size"], data.get("protocol")) == (512, None)
        assert settings["model.teacher.patch_size"] == 16  # 512 is no multiple of DINOv2's 14
    else:
        assert data["image_size"] == 128
        assert data["protocol"]["size"] == [384, 256]  # a crop is half of the short edge


def test_raw_ids_have_a_name_in_configurations(tmp_path: Path) -> None:
    raw_cityscapes(tmp_path)
    dataset = FolderSegmentation(
        str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), "cityscapes-19", class_map="cityscapes-ids",
        image_suffix="_leftImg8bit.png", label_suffix="_gtFine_labelIds.png",
    )  # fmt: skip
    assert set(np.unique(dataset.label(0))) == {0, 10, 13}
    assert Image.open(dataset.label_path(0)).getextrema() == (7, 26)
