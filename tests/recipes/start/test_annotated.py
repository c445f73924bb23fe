"""`gkd init` and `gkd data check` on what labelling tools write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.cli import main
from gkd_lightning.data import AnnotatedImages
from gkd_lightning.recipes import datasets_of
from tests.data.annotations.tools import (
    HEIGHT,
    TOOLS,
    WANTED,
    WIDTH,
    coco,
    coco_plain,
    pictures,
    roboflow,
    written,
    yolo,
)
from tests.data.helpers import save


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def init(*arguments: str) -> int:
    return main(["init", "mine", "--trial", "--images", "images", *arguments])


def sources() -> tuple[AnnotatedImages, AnnotatedImages]:
    found = datasets_of("mine/source.yaml")
    train, held_out = found["dataset"], found["home"]
    assert isinstance(train, AnnotatedImages)
    assert isinstance(held_out, AnnotatedImages)
    return train, held_out


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_reads_the_labels(tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    labels = str(TOOLS[tool](tmp_path).relative_to(tmp_path))
    assert init("--labels", labels) == 2
    told = capsys.readouterr().err
    assert "43.8% of the pixels lie in no shape; say what they are: --unlabelled background" in told
    assert "or --unlabelled 255" in told
    assert not (tmp_path / "mine").exists()
    assert init("--labels", labels, "--unlabelled", "background") == 0
    assert "2 images with a label in" in (out := capsys.readouterr().out)
    assert "shapes, 3 classes; of two shapes the" in out
    train, held_out = sources()
    assert [train.name(0), held_out.name(0), len(train), len(held_out)] == ["a", "b", 1, 1]
    assert train.label_space.names == ("background", "road", "car")
    assert train.label(0).tolist() == np.where(WANTED == 255, 0, WANTED + 1).tolist()
    config = ["data", "check", "--config", "mine/source.yaml"]
    assert main(config) == 0
    assert "dataset:   1 road" in capsys.readouterr().out
    assert Path("runs/data-check/dataset.png").is_file()


def test_check_needs_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    yolo(tmp_path)
    assert main(["data", "check", "--images", "images", "--labels", "labels", "--unlabelled", "rest"]) == 0
    assert "data:   0 rest                  43.75% of the pixels, in 2 images" in capsys.readouterr().out
    assert main(["data", "check", "--images", "images", "--labels", "labels", "--classes", "road,lorry"]) == 2
    assert "car (2 shapes): of no class" in capsys.readouterr().err


def test_other_classes_and_images_without_a_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    labels = ["--labels", str(coco(tmp_path))]
    save(tmp_path / "images/c.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert init(*labels, "--unlabelled", "255", "--class-map", "car=lorry,road=255") == 0
    assert "2 images with a label in" in (out := capsys.readouterr().out)
    assert ", 1 without" in out
    train, _ = sources()
    assert train.label_space.names == ("lorry",)
    assert train.label(0).tolist() == np.where(WANTED == 1, 0, 255).tolist()
    assert main(["init", "other", "--trial", "--images", "images", *labels, "--unlabelled", "rest", "--classes",
                 "rest,car,road", "--background-only"]) == 0  # fmt: skip
    home = datasets_of("other/source.yaml")["home"]
    assert isinstance(home, AnnotatedImages)
    assert (home.name(0), home.label(0).max()) == ("c", 0)


def test_a_folder_of_one_tool(tmp_path: Path) -> None:
    """Roboflow's JSON among the images needs no --labels."""
    pictures(tmp_path)
    roboflow(tmp_path)
    assert init("--unlabelled", "255") == 0
    assert sources()[0].label_space.names == ("road", "car")


def test_two_readings_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    labels = yolo(tmp_path)
    for name in "ab":
        save(labels / f"{name}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert init("--labels", "labels", "--unlabelled", "255") == 2
    told = capsys.readouterr().err
    assert "labels: holds pictures as well as annotations (YOLO segmentation, 2 files); say which" in told
    suffixes = ["--image-suffix", ".png", "--label-suffix"]
    assert init("--labels", "labels", "--unlabelled", "255", *suffixes, ".txt") == 0
    assert sources()[0].label(0).tolist() == WANTED.tolist()
    assert main(["init", "pictures", "--trial", "--images", "images", "--labels", "labels", *suffixes, ".png"]) == 0


MISTAKES = [
    (["--labels", "none.json"], "none.json: no such file or folder of labels"),
    (["--labels", "list.txt"], "list.txt: is of no tool that is known; known are COCO instances"),
    (["--labels", "instances.json", "--ignore", "3"], "--ignore: is for labels that are pictures"),
    (["--labels", "instances.json", "--palette", "a=#000000"], "--palette: is for labels that are pictures"),
    (["--labels", "instances.json", "--class-map", "city"], "--class-map city: give NAME=CLASS"),
    (["--labels", "instances.json", "--class-map", "cars=1x"], "of the pixels lie in no shape"),
    (["--labels", "instances.json", "--classes", "road,"], "instances.json: car (2 shapes): of no class"),
    (["--labels", "instances.json", "--classes", "road,car", "--unlabelled", "sky"], "unlabelled: 'sky' is none of"),
    (["--labels", "instances.json", "--unlabelled", "255", "--background-only"], "but unlabelled is no class"),
    (["--labels", "instances.json", "--unlabelled", "255", "--target", "w=images:masks"], "w: its labels are pictures"),
    (["--labels", "masks", "--unlabelled", "255"], "--unlabelled, --background-only: are for annotations"),
    (["--labels", "masks", "--held-out", "images:instances.json"], "--held-out: its labels are annotations"),
    (["--labels", "empty.json"], "empty.json: no shape in any image of images; a.png is not in empty.json"),
    (["--labels", "instances.json", "--unlabelled", "255", "--held-out", "images:other.json"], "car (1 shapes): of no"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    coco(tmp_path)
    written(tmp_path / "list.txt", "a.png\n")
    written(tmp_path / "empty.json", {"images": [], "annotations": [], "categories": []})
    only_road = coco_plain()
    only_road["annotations"] = only_road["annotations"][1:2]
    written(tmp_path / "roads.json", only_road)
    other = coco_plain()
    other["annotations"] = other["annotations"][:1]
    written(tmp_path / "other.json", other)
    if "other.json" in arguments[-1]:
        arguments = ["--labels", "roads.json", "--classes", "road,", *arguments[2:]]
    for name in "ab":
        save(tmp_path / f"masks/{name}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert init(*arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_coco_runs_to_its_report(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    plain = coco_plain() | {"images": [], "annotations": []}
    for number in range(6):
        save(tmp_path / f"images/{number}.png", random.randint(0, 256, (24, 32, 3)).astype(np.uint8))
        plain["images"].append({"id": number, "file_name": f"{number}.png", "height": 24, "width": 32})
        for category, corners in ((4, [0, 12, 32, 12, 32, 24, 0, 24]), (2, [8, 8, 20, 8, 20, 16, 8, 16])):
            each = {"id": len(plain["annotations"]), "image_id": number, "category_id": category}
            plain["annotations"].append(each | {"segmentation": [corners], "iscrowd": 0})
    written(tmp_path / "instances.json", plain)
    target = ["--target", "winter=images:instances.json"]
    assert init("--labels", "instances.json", "--unlabelled", "background", *target) == 0
    run = ["run", "mine/recipe.yaml", "--methods", "gkd", "--set", "trainer.max_steps=1", "--set", "data.batch_size=2"]
    assert main(run) == 0
    results = json.loads(Path("runs/mine/results.json").read_text())
    home, winter = results["runs"][0]["domains"]
    assert (home["domain"], winter["domain"], home["classes"]) == ("home", "winter", ["background", "road", "car"])
    assert Path("runs/mine/report.html").is_file()
