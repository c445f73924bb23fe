"""Instances as published: Cityscapes' numbers, COCO's pictures and JSON, and a folder of one's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gkd_lightning.data import CocoPanoptic, FolderSegmentation, contents, has_instances, segments_of
from gkd_lightning.data.benchmarks import Cityscapes
from gkd_lightning.errors import UserError
from tests.data.helpers import save, write_folder

PERSON, CAR, ROAD = 11, 13, 0  # train ids of Cityscapes


def cityscapes(root: Path) -> Path:
    """One image of 4x2 pixels: road, two cars, a group of cars, a person, a caravan and a licence plate."""
    ids = np.array([[7, 26, 26, 26], [7, 24, 29, 255]], np.uint8)
    instances = np.array([[7, 26000, 26001, 26], [7, 24000, 29000, 255]], np.uint16)
    labels = root / "gtFine/train/ulm"
    save(root / "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png", np.zeros((2, 4, 3), np.uint8))
    save(labels / "ulm_000000_000019_gtFine_labelIds.png", ids)
    save(labels / "ulm_000000_000019_gtFine_instanceIds.png", instances)
    return root


def test_cityscapes(tmp_path: Path) -> None:
    data = Cityscapes(str(cityscapes(tmp_path)), "train")
    assert has_instances(data)
    assert data.instances(0).dtype == np.int32
    codes = segments_of(data, 0, data.label(0))
    # a group has no instance and so no truth; a caravan is no evaluated class
    assert codes.tolist() == [[ROAD, CAR + 256, CAR + 512, 255], [ROAD, PERSON + 256, 255, 255]]
    before = contents(data, labels=True), contents(data, labels=True, instances=True)
    save(data.instances_path(0), np.full((2, 4), 24003, np.uint16))
    after = contents(data, labels=True), contents(data, labels=True, instances=True)
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_cityscapes_without_instance_files(tmp_path: Path) -> None:
    root = cityscapes(tmp_path)
    data = Cityscapes(str(root), "train")
    save(data.instances_path(0), np.zeros((2, 3), np.uint16))
    with pytest.raises(UserError, match="the label is 4x2 but its instances 3x2"):
        segments_of(data, 0, data.label(0))
    next(root.rglob("*_instanceIds.png")).unlink()
    bare = Cityscapes(str(root), "train")
    assert not has_instances(bare)
    assert bare.label(0).shape == (2, 4)  # which needs none


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a/one", "two"])
    for name in ("a/one", "two"):
        save(tmp_path / "instances" / f"{name}_inst.png", np.full((16, 24), 300, np.uint16))
    options: dict[str, Any] = {"images": str(images), "labels": str(labels), "classes": ["road", "car"]}
    assert not has_instances(FolderSegmentation(**options))
    options |= {"instances": str(tmp_path / "instances"), "instance_suffix": "_inst.png", "things": ["car"]}
    data = FolderSegmentation(**options)
    assert has_instances(data)
    codes = segments_of(data, 0, data.label(0))
    assert set(np.unique(codes)) == {0, 1 + 300 * 256, 255}
    assert contents(data, labels=True, instances=True) != contents(data, labels=True)
    (tmp_path / "instances/two_inst.png").unlink()
    with pytest.raises(UserError, match=r"two_inst\.png"):
        data.instances(1)
    save(tmp_path / "instances/two_inst.png", np.zeros((16, 24, 3), np.uint8))
    with pytest.raises(UserError, match=r"two_inst\.png: holds colours; an instance map holds whole numbers"):
        data.instances(1)
    with pytest.raises(UserError, match="things: 'bus' is none of the classes road, car"):
        FolderSegmentation(**{**options, "things": ["bus"]})


def picture(ids: list[list[int]]) -> np.ndarray:
    wide = np.array(ids)
    return np.stack([wide % 256, wide // 256 % 256, wide // 65536], -1).astype(np.uint8)


def coco(root: Path, **changes: Any) -> CocoPanoptic:
    """Road, two cars, a crowd of cars, and nothing."""
    save(root / "images/town/1.jpg", np.zeros((2, 3, 3), np.uint8))
    save(root / "panoptic/1.png", picture([[5, 70000, 300], [5, 9, 0]]))
    info = [
        {"id": 5, "category_id": 21},
        {"id": 70000, "category_id": 3, "iscrowd": 0},
        {"id": 300, "category_id": 3, "iscrowd": 0},
        {"id": 9, "category_id": 3, "iscrowd": 1},
    ]
    plain: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "town/1.jpg", "height": 2, "width": 3}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": info}],
        "categories": [
            {"id": 3, "name": "car", "isthing": 1},
            {"id": 21, "name": "road", "isthing": 0},
        ],
    }
    (root / "panoptic.json").write_text(json.dumps({**plain, **changes.pop("json", {})}))
    return CocoPanoptic(str(root / "images"), str(root / "panoptic"), str(root / "panoptic.json"), **changes)


def test_coco(tmp_path: Path) -> None:
    data = coco(tmp_path)
    assert len(data) == 1
    assert data.name(0) == "town/1"
    assert data.image(0).shape == (2, 3, 3)
    assert data.label_space.names == ("car", "road")
    assert data.label_space.things == ("car",)
    assert data.label(0).tolist() == [[1, 0, 0], [1, 0, 255]]
    codes = segments_of(data, 0, data.label(0))
    assert codes[:, 0].tolist() == [1, 1]
    assert len({codes[0, 1], codes[0, 2], 0, 1}) == 4
    assert set(codes[0, 1:] % 256) == {0}
    assert codes[1, 1:].tolist() == [255, 255]  # a crowd, and no segment at all


def test_coco_in_classes_of_ones_own(tmp_path: Path) -> None:
    data = coco(tmp_path, classes="cityscapes-19")
    assert data.label(0).tolist() == [[ROAD, CAR, CAR], [ROAD, CAR, 255]]
    assert data.label_space.things == ("car",)
    few = coco(tmp_path, classes=["bus", "road"], things=["bus"])
    assert few.label(0).tolist() == [[1, 255, 255], [1, 255, 255]]
    assert few.label_space.things == ("bus",)


@pytest.mark.parametrize(
    ("json_part", "message"),
    [
        ({"images": [{"id": 1, "file_name": "town/1.jpg", "height": 3, "width": 2}]}, r"1\.png: is 3x2, in .* 2x3"),
        ({"images": [{"id": 4, "file_name": "town/1.jpg"}]}, "annotates image 1, which it lacks"),
        ({"annotations": []}, "has no annotation"),
        ({"annotations": [{"image_id": 1}]}, "not in COCO's panoptic format"),
        (
            {"annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 5, "category_id": 21}]}]},
            r"1\.png: has segment 9, which .*panoptic\.json lacks",
        ),
        (
            {"annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 5, "category_id": 99}]}]},
            r"1\.png: segment 5 is of category 99, which it lacks",
        ),
        *(
            (
                {
                    "annotations": [
                        {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": number, "category_id": 3}]}
                    ]
                },
                rf"1\.png: segment {number} is no colour of a picture",
            )
            for number in (-1, 0, 2**24)
        ),
        ({"categories": [{"id": 3, "name": "car"}]}, "categories: need id, name and isthing"),
    ],
)
def test_coco_that_contradicts_itself_is_one_line(tmp_path: Path, json_part: dict[str, Any], message: str) -> None:
    data = coco(tmp_path, json=json_part)
    with pytest.raises(UserError, match=message) as told:
        data.label(0)
    assert "\n" not in str(told.value)


def test_coco_segments_that_the_picture_lacks(tmp_path: Path) -> None:
    data = coco(tmp_path)
    save(tmp_path / "panoptic/1.png", picture([[5, 5, 300], [5, 9, 0]]))
    with pytest.raises(UserError, match=r"1\.png: lacks segment 70000, which .*panoptic\.json has"):
        data.instances(0)
    save(tmp_path / "panoptic/1.png", np.zeros((2, 3), np.uint8))
    with pytest.raises(UserError, match=r"1\.png: is no RGB picture"):
        data.label(0)
    (tmp_path / "panoptic.json").write_text("{")
    with pytest.raises(UserError, match=r"panoptic\.json: is no JSON"):
        len(coco_again(tmp_path))
    (tmp_path / "panoptic.json").write_text("[]")
    with pytest.raises(UserError, match=r"panoptic\.json: has no images, annotations and categories"):
        len(coco_again(tmp_path))
    (tmp_path / "panoptic.json").unlink()
    with pytest.raises(UserError, match=r"panoptic\.json: cannot be read \(No such file"):
        len(coco_again(tmp_path))


def coco_again(root: Path) -> CocoPanoptic:
    return CocoPanoptic(str(root / "images"), str(root / "panoptic"), str(root / "panoptic.json"))


def test_cocos_json_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    data = coco(tmp_path)
    before, images = contents(data, labels=True), contents(data, labels=False)
    text = data.annotations.read_text()
    data.annotations.write_text(text.replace('"iscrowd": 1', '"iscrowd": 0'))
    assert contents(data, labels=True) != before
    assert contents(data, labels=False) == images
    shutil.rmtree(tmp_path / "panoptic")
    assert data.image(0).shape == (2, 3, 3)  # an image never opens its label
