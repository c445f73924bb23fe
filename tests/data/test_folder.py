from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.data import (
    CAMVID_11,
    CITYSCAPES_19,
    CamVid,
    FolderSegmentation,
    SegmentationDataset,
    check_dataset,
    default_palette,
    label_space,
)
from gkd_lightning.data.labels import LabelMapping
from gkd_lightning.errors import UserError
from tests.data.helpers import save, write_folder


def folder(root: Path, **options: object) -> FolderSegmentation:
    arguments = {"images": str(root / "images"), "labels": str(root / "labels"), "classes": ["road", "car"]}
    return FolderSegmentation(**(arguments | options))  # type: ignore[arg-type]


def test_pairs_by_relative_name(tmp_path: Path) -> None:
    write_folder(tmp_path, ["b", "town/a", "town/a.v2"])
    data = folder(tmp_path)
    assert isinstance(data, SegmentationDataset)
    assert [data.name(index) for index in range(len(data))] == ["b", "town/a", "town/a.v2"]
    assert data.image(1).shape == (16, 24, 3)
    assert data.label(1).shape == (16, 24)
    assert set(np.unique(data.label(1))) == {0, 1, 255}
    assert data.label_path(1) == tmp_path / "labels" / "town" / "a.png"
    assert data.label_space.names == ("road", "car")


def test_suffix_rules(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    save(tmp_path / "images" / "ulm" / "ulm_0_leftImg8bit.png", pixels)
    save(tmp_path / "images" / "ulm" / "ulm_0_disparity.png", pixels)
    save(tmp_path / "labels" / "ulm" / "ulm_0_gtFine_labelTrainIds.png", np.full((4, 4), 18, dtype=np.uint8))
    save(tmp_path / "labels" / "ulm" / "ulm_0_gtFine_color.png", pixels)
    data = folder(
        tmp_path, classes="cityscapes-19", image_suffix="_leftImg8bit.png", label_suffix="_gtFine_labelTrainIds.png"
    )
    assert [data.name(0), len(data)] == ["ulm/ulm_0", 1]
    assert data.label(0)[0, 0] == 18
    assert data.label_space == CITYSCAPES_19


def test_class_map(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    save(tmp_path / "labels" / "a.png", np.array([[7, 26], [300, 255]], dtype=np.uint16))
    data = folder(tmp_path, class_map={7: 0, 26: 1, 300: 255})
    assert data.label(0).tolist() == [[0, 1], [255, 255]]


def test_the_palette_index_of_a_mask_is_its_id(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    mask = Pillow.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    mask.putpalette([1, 2, 3, 4, 5, 6])
    mask.save(tmp_path / "labels" / "a.png")
    assert folder(tmp_path).label(0).tolist() == [[0, 1]]


def test_colour_coded_masks(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    colours = np.array([[[9, 8, 7], [0, 255, 0], [0, 0, 0]]], dtype=np.uint8)
    save(tmp_path / "labels" / "a.png", colours)
    data = folder(tmp_path, palette=[[0, 255, 0], [9, 8, 7]])
    assert data.label(0).tolist() == [[1, 0, 255]]
    alpha = np.concatenate([colours, np.full((1, 3, 1), 255, dtype=np.uint8)], axis=2)
    save(tmp_path / "labels" / "a.png", alpha)
    assert data.label(0).tolist() == [[1, 0, 255]]
    black_is_a_class = folder(tmp_path, palette=[[0, 0, 0], [9, 8, 7]])
    with pytest.raises(UserError, match=r"a.png: colour \(0, 255, 0\) \(33.3%\) belongs to no class; add it"):
        black_is_a_class.label(0)


def test_another_ignored_id_and_none(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    save(tmp_path / "labels" / "a.png", np.array([[0, 11]], dtype=np.uint8))
    assert folder(tmp_path, ignore=11).label(0).tolist() == [[0, 255]]
    with pytest.raises(UserError, match=r"a.png: label id 11 \(50.0%\) belongs to no class; map it"):
        folder(tmp_path, ignore=None).label(0)


def test_list_file(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a", "b", "c/d"])
    (tmp_path / "use.txt").write_text("c/d\na.png\n")
    data = folder(tmp_path, list_file=str(tmp_path / "use.txt"))
    assert [data.name(index) for index in range(len(data))] == ["c/d", "a"]
    (tmp_path / "use.txt").write_text("a\nx/y\n")
    with pytest.raises(UserError, match=r"use.txt: 1 listed images are not below .*first 'x/y'"):
        len(folder(tmp_path, list_file=str(tmp_path / "use.txt")))
    (tmp_path / "use.txt").write_text("a\na.png\n")
    with pytest.raises(UserError, match="two images share this name"):
        len(folder(tmp_path, list_file=str(tmp_path / "use.txt")))


def test_images_without_a_label(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a", "b", "c"])
    (tmp_path / "labels" / "b.png").unlink()
    (tmp_path / "labels" / "lonely.png").touch()
    with pytest.raises(UserError, match=r"b.png: 1 of 3 images have no label, this one wants .*labels/b.png"):
        len(folder(tmp_path))
    kept = folder(tmp_path, skip_unlabelled=True)
    assert [kept.name(index) for index in range(len(kept))] == ["a", "c"]
    assert kept.pairs.without_label == ["b.png"]
    assert kept.pairs.without_image == ["lonely.png"]


def test_the_message_shows_what_is_wanted_and_what_is_there(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a", "b"])
    for name in ("a", "b"):
        os.replace(tmp_path / f"labels/{name}.png", tmp_path / f"labels/{name}_mask.png")
    told = (
        r"wants .*labels/a.png, there is a_mask.png; check image_suffix \(any\), in whose place "
        r"label_suffix \(.png\) stands"
    )
    with pytest.raises(UserError, match=f"labels: no label matches any image; a.png {told}$"):
        len(folder(tmp_path, skip_unlabelled=True))
    with pytest.raises(UserError, match=f"2 of 2 images have no label, this one {told}; add it"):
        len(folder(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"wants .*_gt.png, and there is no picture in this folder"):
        len(folder(tmp_path, labels=str(tmp_path / "empty"), label_suffix="_gt.png"))


def test_case_is_blamed_only_where_it_is_the_cause(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a", "b"])
    os.replace(tmp_path / "labels/b.png", tmp_path / "labels/b.PNG")
    with pytest.raises(UserError, match=r"1 of 2 images have no label, .*there is b.PNG: labels, unlike"):
        len(folder(tmp_path))
    check, _ = check_dataset(folder(tmp_path))
    assert "there is b.PNG: labels, unlike image suffixes, differ by upper and lower case" in check.problems[0]
    (tmp_path / "labels/b.PNG").unlink()
    with pytest.raises(UserError, match=r"wants .*labels/b.png; add it or set skip_unlabelled"):
        len(folder(tmp_path))


@pytest.mark.parametrize("skip", [True, False])
def test_an_image_is_never_its_own_label(tmp_path: Path, skip: bool) -> None:
    write_folder(tmp_path, ["a", "b"])
    for name in ("a", "b"):
        os.replace(tmp_path / f"labels/{name}.png", tmp_path / f"images/{name}_mask.png")
    (tmp_path / "labels").rmdir()
    (tmp_path / "labels").symlink_to(tmp_path / "images")
    told = r"images/a.png: would be its own label \(4 such images\); .* give image_suffix and label_suffix"
    with pytest.raises(UserError, match=told):
        len(folder(tmp_path, skip_unlabelled=skip))
    with pytest.raises(UserError, match=told):
        check_dataset(folder(tmp_path))
    paired = folder(tmp_path, label_suffix="_mask.png", skip_unlabelled=True)
    assert [paired.name(index) for index in range(len(paired))] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": "nowhere"}, "nowhere: no such folder"),
        ({"labels": "nowhere"}, "nowhere: no such folder"),
        ({"image_suffix": ".bmp"}, r"images: no image that ends in .bmp"),
        ({"label_suffix": "_x.png", "skip_unlabelled": True}, r"labels: no label matches any image"),
        ({"classes": "kitti"}, "no preset 'kitti'; give one of cityscapes-19, camvid-11, minicity-8"),
        ({"classes": ["a", "a"]}, "'a' is listed twice"),
        ({"classes": []}, "0 names"),
        ({"palette": [[1, 2, 3]]}, "palette: 1 colours for 2 classes"),
        ({"palette": [[1, 2, 3], [1, 2, 300]]}, r"\[1, 2, 300\] is no RGB colour"),
        ({"class_map": {7: 2}}, "class_map: 7 is mapped to 2, but the train ids are 0 to 1"),
        ({"class_map": {70000: 1}}, "70000 is no label id"),
    ],
)
def test_bad_settings(tmp_path: Path, options: dict[str, object], message: str) -> None:
    write_folder(tmp_path, ["a"])
    with pytest.raises(UserError, match=message):
        len(folder(tmp_path, **options))


def test_same_name_with_two_suffixes(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    save(tmp_path / "images" / "a.bmp", np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="two images share this name"):
        len(folder(tmp_path))


def test_bad_labels_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    path = save(tmp_path / "labels" / "a.png", np.array([[0, 7, 7]], dtype=np.uint8))
    with pytest.raises(UserError, match=rf"^{path}: label id 7 \(66.7%\) belongs to no class; map it in class_map"):
        folder(tmp_path).label(0)
    path.write_bytes(b"garbage")
    with pytest.raises(UserError, match=rf"^{path}: cannot be read as label"):
        folder(tmp_path).label(0)
    Pillow.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "f.tif")
    os.replace(tmp_path / "f.tif", path)
    with pytest.raises(UserError, match="mode F holds neither ids nor RGB"):
        folder(tmp_path).label(0)


def test_all_ids_without_a_class_are_named_with_their_share(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    save(tmp_path / "labels" / "a.png", np.array([[0] * 5000 + [7, 98, 98]], dtype=np.uint8))
    shown = r"a.png: label ids 98 \(under 0.1%\), 7 \(under 0.1%\) belong to no class; map them in class_map"
    with pytest.raises(UserError, match=shown):
        folder(tmp_path).label(0)
    save(tmp_path / "labels" / "a.png", np.array([[*range(1, 20), 19]], dtype=np.uint8))
    shown = r"a.png: label ids 19 \(10.0%\), 2 \(5.0%\), 3 .*, 8 \(5.0%\) and 10 more belong to no class; .* was a JPEG"
    with pytest.raises(UserError, match=shown):
        folder(tmp_path).label(0)
    save(tmp_path / "labels" / "a.png", np.array([[[9, 8, 7], [1, 2, 3], [9, 8, 7]]], dtype=np.uint8))
    shown = r"colours \(9, 8, 7\) \(66.7%\), \(1, 2, 3\) \(33.3%\) belong to no class; add them to the palette"
    with pytest.raises(UserError, match=shown):
        folder(tmp_path).label(0)


def test_a_jpeg_mask_is_told_as_such(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    save(tmp_path / "labels" / "a.jpg", np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(UserError, match=r"a.jpg: cannot be read as label: it is a JPEG, whose compression changes ids"):
        folder(tmp_path, label_suffix=".jpg").label(0)


def test_ids_beyond_16_bit_and_negative_ones() -> None:
    space = label_space(["a", "b"])
    stored = np.array([[-1, 1, 0]], dtype=np.int32)
    assert LabelMapping(space, {-1: 255, 0: 0, 1: 1})(stored, "x").tolist() == [[255, 1, 0]]
    for value in (-2, -1, 1 << 20):
        with pytest.raises(UserError, match=f"label id {value} "):
            LabelMapping(space)(np.array([[value]], dtype=np.int32), "x")


def test_colours_that_two_classes_share_only_matter_for_colour_masks() -> None:
    mapping = LabelMapping(label_space(["a", "b"], [[1, 1, 1], [1, 1, 1]]))
    assert mapping(np.zeros((1, 1), dtype=np.uint8), "x").tolist() == [[0]]
    with pytest.raises(UserError, match="two classes have the same colour"):
        mapping(np.zeros((1, 1, 3), dtype=np.uint8), "x")


def test_the_generated_palette_has_no_colour_twice() -> None:
    assert len(set(default_palette(255))) == 255
    assert default_palette(3) == default_palette(7)[:3]


def test_camvid_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "camvid" / "images" / "val" / "x.jpg", np.zeros((6, 8, 3), dtype=np.uint8))
    save(tmp_path / "camvid" / "labels" / "val" / "x.png", np.full((6, 8), 11, dtype=np.uint8))
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    data = CamVid(split="val")
    assert [len(data), data.name(0), int(data.label(0)[0, 0])] == [1, "x", 255]
    assert data.label_space == CAMVID_11
    assert len(CamVid(str(tmp_path / "camvid"), "val")) == 1
    with pytest.raises(UserError, match="images/train: no such folder"):
        len(CamVid())
    monkeypatch.delenv("GKD_DATA")
    with pytest.raises(UserError, match="GKD_DATA is not set"):
        CamVid()


@pytest.mark.skipif("GKD_DATA" not in os.environ, reason="needs the real images")
def test_real_camvid() -> None:
    assert [len(CamVid(split=split)) for split in ("train", "val", "test")] == [367, 101, 233]
    data = CamVid(split="val")
    assert data.image(0).shape == (360, 480, 3)
    assert data.label(0).shape == (360, 480)
    assert set(np.unique(data.label(0))) <= {*range(11), 255}


@pytest.mark.parametrize("settings", [{"ignore": 0}, {"ignore": 1}, {"ignore": 3, "class_map": {3: 1, 0: 0}}])
def test_an_id_is_ignored_or_a_class(tmp_path: Path, settings: dict[str, Any]) -> None:
    """0 = unlabelled, taken as it is, would train void as the first class."""
    with pytest.raises(UserError, match=r"ignore: \d is also the id of the class 'b?a?'; say in class_map"):
        FolderSegmentation(str(tmp_path), str(tmp_path), ["a", "b"], **settings)
    FolderSegmentation(str(tmp_path), str(tmp_path), ["a", "b"], class_map={0: 255, 1: 0, 2: 1}, ignore=0)
