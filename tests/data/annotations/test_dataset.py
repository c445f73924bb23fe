"""Every tool's labels of one scene are the same map; what is damaged or ambiguous is told in one line."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gkd_lightning.data import AnnotatedImages, SegmentationDataset, check_dataset, contents
from gkd_lightning.data.annotations import source_of, sources
from gkd_lightning.errors import UserError
from tests.data.annotations.tools import (
    HEIGHT,
    IMAGES,
    TOOLS,
    WANTED,
    WIDTH,
    coco_plain,
    cvat_text,
    label_studio_plain,
    labelme_plain,
    pictures,
    written,
)
from tests.data.helpers import save


def annotated(root: Path, labels: Path, **options: Any) -> AnnotatedImages:
    given = {"images": str(root / "images"), "labels": str(labels), "classes": ["road", "car"], "unlabelled": 255}
    return AnnotatedImages(**(given | options))


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_says_the_same(tool: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    data = annotated(tmp_path, TOOLS[tool](tmp_path))
    assert isinstance(data, SegmentationDataset)
    assert [data.name(index) for index in range(len(data))] == ["a", "b"]
    for index in range(2):
        assert np.array_equal(data.label(index), WANTED), data.label(index)
    assert data.annotations.names[:2] == ("road", "car")
    result, _ = check_dataset(data)
    assert result.problems == []
    assert pickle.loads(pickle.dumps(data)).label(1).tolist() == WANTED.tolist()  # as it goes to a worker


@pytest.mark.parametrize("tool", TOOLS)
def test_a_name_without_a_class_is_told(tool: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    data = annotated(tmp_path, TOOLS[tool](tmp_path), classes=["road", "lorry"])
    with pytest.raises(UserError, match=r"car \(2 shapes\): of no class; add such names to classes, or say in"):
        len(data)
    mapped = annotated(tmp_path, data.labels, classes=["lorry", "road"], class_map={"car": "lorry", "road": 255})
    assert mapped.label(0).tolist() == np.where(WANTED == 1, 0, 255).tolist()


@pytest.mark.parametrize("tool", TOOLS)
def test_an_image_of_another_size_is_told(tool: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    data = annotated(tmp_path, TOOLS[tool](tmp_path))
    save(tmp_path / "images/a.png", np.zeros((HEIGHT * 2, WIDTH * 2, 3), np.uint8))
    if tool == "yolo":  # it says no size
        assert data.label(0).tolist() == WANTED.repeat(2, 0).repeat(2, 1).tolist()
        return
    with pytest.raises(UserError, match=r"images/a.png: the image has 32x24 pixels, its annotation in .* is for 16x12"):
        data.label(0)
    assert data.label(1).tolist() == WANTED.tolist()


def test_an_image_that_exif_turns(tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS["coco"](tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "images/a.png", exif=exif)
    assert annotated(tmp_path, labels).label(0).tolist() == WANTED.tolist()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images/a.png", exif=exif)
    with pytest.raises(UserError, match=r"12x16 pixels, its annotation in .* is for 16x12, as EXIF turns it"):
        annotated(tmp_path, labels).label(0)


@pytest.mark.parametrize("tool", TOOLS)
def test_images_without_a_shape(tool: str, tmp_path: Path) -> None:
    """They are refused, left out, or all background: what is meant is said."""
    pictures(tmp_path)
    labels = TOOLS[tool](tmp_path)
    save(tmp_path / "images/c.png", np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(UserError, match=r"images/c.png: 1 of 3 images have no label, this one .* or background_only"):
        len(annotated(tmp_path, labels))
    assert len(annotated(tmp_path, labels, skip_unlabelled=True)) == 2
    result, usable = check_dataset(annotated(tmp_path, labels))
    assert (len(result.without_label), len(usable)) == (1, 2)
    whole = annotated(tmp_path, labels, classes=["road", "car", "rest"], unlabelled="rest", background_only=True)
    assert len(whole) == 3
    assert whole.label(2).tolist() == np.full((5, 6), 2).tolist()
    assert whole.label(0).tolist() == np.where(WANTED == 255, 2, WANTED).tolist()


@pytest.mark.parametrize("tool", ["coco", "cvat", "label-studio", "labelme", "yolo"])
def test_listed_but_empty_is_no_annotation(tool: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS[tool](tmp_path)
    if tool == "coco":
        plain = coco_plain()
        plain["annotations"] = plain["annotations"][:2]
        written(labels, plain)
    elif tool == "cvat":
        head, _, tail = cvat_text().rpartition("<polygon")
        written(labels, head + tail[tail.index("<tag") :])
    elif tool == "label-studio":
        tasks = label_studio_plain()
        tasks[1]["annotations"][0]["result"] = []
        written(labels, tasks)
    elif tool == "labelme":
        written(labels / "b.json", labelme_plain("b.png") | {"shapes": []})
    else:
        written(labels / "b.txt", "\n")
    with pytest.raises(UserError, match=r"b.png: 1 of 2 images have no label, this one has no shape in"):
        len(annotated(tmp_path, labels))


@pytest.mark.parametrize("tool", TOOLS)
def test_fingerprints_follow_the_files(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures(tmp_path)
    labels = TOOLS[tool](tmp_path)
    before = contents(annotated(tmp_path, labels), labels=True)
    images = contents(annotated(tmp_path, labels), labels=False)
    assert before == contents(annotated(tmp_path, labels), labels=True) != images
    file = next(Path(path) for path in annotated(tmp_path, labels).annotations.files if not path.endswith(".yaml"))
    file.write_text(file.read_text() + "\n")
    assert contents(annotated(tmp_path, labels), labels=True) != before
    assert contents(annotated(tmp_path, labels), labels=False) == images


@pytest.mark.parametrize("tool", TOOLS)
def test_inside_an_archive(tool: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS[tool](tmp_path).relative_to(tmp_path)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(tmp_path.rglob("*")):
            if path.is_file() and path.suffix != ".zip":
                archive.write(path, path.relative_to(tmp_path))
    base = tmp_path / "all.zip"
    data = AnnotatedImages(str(base / "images"), str(base / labels), ["road", "car"], 255)
    assert [data.label(index).tolist() for index in range(len(data))] == [WANTED.tolist()] * 2


def forgotten() -> None:
    sources._read.cache_clear()
    sources._read_json.cache_clear()


@pytest.mark.parametrize("tool", ["coco", "cvat", "yolo", "supervisely"])
def test_large_files_are_read_once(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a machine, until they change; what is kept and damaged is read again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "_KEPT_FROM", 0)
    pictures(tmp_path)
    labels = TOOLS[tool](tmp_path)
    before = annotated(tmp_path, labels).annotations
    forgotten()

    def refuses(*_: object) -> Any:
        raise AssertionError("read again")

    known = sources.TOOLS[tool]
    blind = known._replace(whole=known.whole and refuses, each=known.each and refuses)
    with monkeypatch.context() as patched:
        patched.setitem(sources.TOOLS, tool, blind)
        again = annotated(tmp_path, labels)
        assert again.label(0).tolist() == WANTED.tolist()
        for ours, theirs in zip(before, again.annotations, strict=True):
            assert np.array_equal(ours, theirs)
    for path in (tmp_path / "cache").rglob("*.npz"):
        path.write_bytes(b"PK\3\4 not to its end")
    forgotten()
    assert annotated(tmp_path, labels).label(0).tolist() == WANTED.tolist()


def test_two_readings_of_a_folder(tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS["yolo"](tmp_path)
    written(labels / "a.json", labelme_plain("a.png"))
    with pytest.raises(UserError, match="holds labelme, 1 files or YOLO segmentation, 2 files; say which by label_s"):
        len(annotated(tmp_path, labels))
    assert annotated(tmp_path, labels, label_suffix=".txt").label(0).tolist() == WANTED.tolist()
    (tmp_path / "several").mkdir()
    for name in ("train.json", "val.json"):
        written(tmp_path / "several" / name, coco_plain())
    with pytest.raises(UserError, match=r"2 files \(train.json, val.json\), of which each may be for all images"):
        source_of(tmp_path / "several")
    with pytest.raises(UserError, match="no annotations of a known tool; known are COCO instances, YOLO"):
        source_of(tmp_path / "images")
    with pytest.raises(UserError, match="nowhere: no such file or folder of labels"):
        source_of(tmp_path / "nowhere")


def test_two_images_of_a_record(tmp_path: Path) -> None:
    labels = TOOLS["coco"](tmp_path)
    for folder in ("x", "y"):
        for name in IMAGES:
            save(tmp_path / f"images/{folder}/{name}", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(UserError, match=r"instances.json: a.png: may be x/a.png or y/a.png"):
        len(annotated(tmp_path, labels))
    plain = coco_plain()
    plain["images"][0]["file_name"], plain["images"][1]["file_name"] = "data\\x\\a.png", "/mnt/z/x/a.png"
    with pytest.raises(UserError, match=r"data\\x\\a.png and /mnt/z/x/a.png are both of x/a.png; keep one"):
        len(annotated(tmp_path, written(labels, plain), skip_unlabelled=True))
    plain["images"][1]["file_name"] = "/mnt/z/y/b.png"
    data = annotated(tmp_path, written(labels, plain), skip_unlabelled=True)
    assert [data.name(index) for index in range(len(data))] == ["x/a", "y/b"]


def test_overlap(tmp_path: Path) -> None:
    """COCO has no order of drawing: the smaller lies on top, unless the order of the file is asked for."""
    pictures(tmp_path)
    labels = TOOLS["coco"](tmp_path)  # where the car comes before the road
    assert annotated(tmp_path, labels).label(0)[6, 5] == 1
    assert annotated(tmp_path, labels, overlap="order").label(0)[6, 5] == 0
    plain = coco_plain()
    plain["annotations"][0]["iscrowd"] = 1  # a crowd lies below all others
    crowd = annotated(tmp_path, written(labels, plain), things=["car"])
    assert crowd.label(0)[6, 5] == 0
    assert crowd.label(0)[5, 5] == 1
    assert crowd.has_instances
    assert crowd.instances(0)[5, 5] == 0
    assert np.unique(crowd.instances(1)).tolist() == [0, 1, 2]


LISTS: list[tuple[dict[str, Any], str]] = [
    ({"unlabelled": "sky"}, "unlabelled: 'sky' is none of the classes road, car, nor 255"),
    ({"unlabelled": "roads"}, "did you mean 'road'"),
    ({"unlabelled": 7}, "unlabelled: 7 is none"),
    ({"class_map": {"lorry": "cars"}}, "class_map: lorry: 'cars' is none of the classes road, car, did you mean 'car'"),
    ({"overlap": "z"}, "overlap: 'z'; give order or area"),
    ({"background_only": True}, "background_only: images without a shape are images of a class, but unlabelled is no"),
    ({"background_only": True, "unlabelled": "car", "skip_unlabelled": True}, "skip_unlabelled leaves such images out"),
    ({"classes": ["a", "a"]}, "'a' is listed twice"),
]


@pytest.mark.parametrize(("options", "message"), LISTS, ids=str)
def test_settings_that_make_no_sense(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        annotated(tmp_path, tmp_path / "x.json", **options)


def test_a_list_chooses(tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS["coco"](tmp_path)
    written(tmp_path / "list.txt", "b.png\n")
    data = annotated(tmp_path, labels, list_file=str(tmp_path / "list.txt"))
    assert [data.name(index) for index in range(len(data))] == ["b"]
    plain = json.loads(labels.read_text())
    plain["annotations"][0]["category_id"] = 4  # only of the image that is not meant
    plain["categories"].append({"id": 5, "name": "dragon"})
    plain["annotations"][1]["category_id"] = 5
    assert len(annotated(tmp_path, written(labels, plain), list_file=str(tmp_path / "list.txt"))) == 1


def test_the_suffix_rules_of_cityscapes(tmp_path: Path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    save(tmp_path / "images/ulm/ulm_0_leftImg8bit.png", pixels)
    polygons = [{"label": "sky", "polygon": [[0, 0], [15, 0], [15, 11], [0, 11]]}]
    plain = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": polygons}
    written(tmp_path / "labels/ulm/ulm_0_gtFine_polygons.json", plain)
    data = annotated(
        tmp_path, tmp_path / "labels", classes="cityscapes-19", image_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_polygons.json",
    )  # fmt: skip
    assert data.name(0) == "ulm/ulm_0"
    assert (data.label(0) == 10).all()
