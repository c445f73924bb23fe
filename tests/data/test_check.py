from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.cli import main
from gkd_lightning.data import FolderSegmentation, LabelSpace, ProxyImages, check_dataset, contact_sheet
from gkd_lightning.data.contact_sheets import overlay
from gkd_lightning.errors import UserError
from tests.data.helpers import TWO, Scribbles, save, write_folder


def test_a_good_set() -> None:
    check, _ = check_dataset(Scribbles(5))
    assert (check.images, check.sizes, check.problems, check.notes) == (5, {"30x20": 5}, [], [])
    assert sum(check.pixels) + check.ignored == 5 * 600
    assert check.ignored == 5 * 9
    assert check.pixels[1] == sum(int((Scribbles(5).label(index) == 1).sum()) for index in range(5))
    assert check.images_with == [5, 5]
    assert [row[1] for row in check.class_rows()] == ["road", "car"]
    assert sum(row[2] for row in check.class_rows()) == pytest.approx(1)
    assert ("pixels without truth", "1.5%") in check.summary_rows()
    assert json.loads(json.dumps(check.as_dict()))["classes"][1]["name"] == "car"


def test_everything_that_is_wrong_is_listed(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a", "b", "c", "d", "e", "f"])
    (images / "a.png").write_bytes(b"broken")
    save(labels / "b.png", np.full((16, 24), 9, dtype=np.uint8))
    save(labels / "c.png", np.zeros((8, 14), dtype=np.uint8))
    (labels / "d.png").unlink()
    save(labels / "z.png", np.zeros((8, 12), dtype=np.uint8))
    save(labels / "e.png", np.full((16, 24), 255, dtype=np.uint8))
    data = FolderSegmentation(str(images), str(labels), ["road", "car", "bus"])
    check, usable = check_dataset(data)
    assert check.images == 3
    assert [len(check.unreadable), check.without_label, check.without_image] == [2, ["d.png"], ["z.png"]]
    assert check.odd_sized == ["c (image 24x16, label 14x8)"]
    assert check.without_truth == ["e"]
    assert "label id 9 (100.0%) belongs to no class" in check.unreadable[1]
    assert [line.split(",")[0] for line in check.problems] == [
        "2 files cannot be used", "1 images have no label", "1 labels have another shape than their image",
    ]  # fmt: skip
    assert check.notes[0] == "1 classes never occur: bus"
    assert len(check.notes) == 3
    assert json.loads(json.dumps(check.as_dict()))["images"] == 3
    contact_sheet(usable, tmp_path / "sheet.png", "set")
    with pytest.raises(UserError, match="1 of 6 images have no label"):
        len(data)


def test_another_resolution_is_worth_a_note(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a", "b"])
    save(labels / "b.png", np.zeros((8, 12), dtype=np.uint8))
    check, _ = check_dataset(FolderSegmentation(str(images), str(labels), ["road", "car"]))
    assert check.problems == []
    assert check.notes == ["1 labels have another resolution, first b (image 24x16, label 12x8)"]


def folder_with_instances(root: Path) -> FolderSegmentation:
    """Two images; in each two cars, and cars in none below them."""
    images, labels = write_folder(root, ["a", "b"])
    for name in ("a", "b"):
        save(labels / f"{name}.png", np.repeat(np.array([[0, 1]], np.uint8), 12, axis=1).repeat(16, axis=0))
        numbers = np.zeros((16, 24), np.uint8)
        numbers[:8, 12:18], numbers[:8, 18:] = 1, 2
        save(root / "instances" / f"{name}.png", numbers)
    return FolderSegmentation(
        str(images), str(labels), ["road", "car"], instances=str(root / "instances"), things=["car"]
    )


def test_instances_are_counted_and_drawn(tmp_path: Path) -> None:
    data = folder_with_instances(tmp_path)
    check, usable = check_dataset(data)
    assert (check.instances, check.problems) == ({"car": 4}, [])
    assert ("instances", "car 4; 50.0% of these classes' pixels in none") in check.summary_rows()
    assert check.as_dict()["instances"] == {"car": 4}
    contact_sheet(usable, tmp_path / "apart.png", "set")
    contact_sheet(FolderSegmentation(data.images, data.labels, ["road", "car"]), tmp_path / "plain.png", "set")
    assert (tmp_path / "apart.png").read_bytes() != (tmp_path / "plain.png").read_bytes()
    plain, _ = check_dataset(FolderSegmentation(data.images, data.labels, ["road", "car"]))
    assert not any(what == "instances" for what, _ in plain.summary_rows())


def test_the_command_takes_instances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder_with_instances(tmp_path)
    words = ["data", "check", "--images", str(data.images), "--labels", str(data.labels), "--classes", "road,car"]
    words += ["--instances", str(tmp_path / "instances"), "--things", "car", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "data: instances: car 4; 50.0% of these classes' pixels in none" in capsys.readouterr().out


def test_damaged_instances_are_a_problem_and_none_a_note(tmp_path: Path) -> None:
    data = folder_with_instances(tmp_path)
    save(tmp_path / "instances/b.png", np.zeros((4, 4), np.uint8))
    check, usable = check_dataset(data)
    assert check.images == 2
    assert check.problems == [f"1 maps of instances cannot be used, first {check.without_instances[0]}"]
    assert "b: the label is 24x16 but its instances 4x4" in check.problems[0]
    contact_sheet(usable, tmp_path / "sheet.png", "set")  # the classes alone
    (tmp_path / "instances/a.png").unlink()
    check, _ = check_dataset(data)
    assert check.problems == []
    assert any(line.startswith("no instances, which segments: panoptic needs, first ") for line in check.notes)


def test_segments_are_drawn_with_the_lines_between_them() -> None:
    image = np.full((8, 8, 3), 128, np.uint8)
    space = LabelSpace(("road", "car"), ((0, 0, 0), (0, 0, 142)), things=("car",))
    label = np.ones((8, 8), np.uint8)
    codes = label.astype(np.int32) + 256
    assert np.array_equal(overlay(image, label, space), overlay(image, codes, space))
    codes[:, 4:] += 256
    differs = (overlay(image, label, space) != overlay(image, codes, space)).any(-1)
    assert differs[:, 4].all()
    assert differs.sum() == 8
    assert overlay(np.full((16, 16, 3), 128, np.uint8), codes, space).shape == (16, 16, 3)  # brought to its size


def test_images_without_labels(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a", "b"])
    check, _ = check_dataset(ProxyImages(str(tmp_path / "images")))
    assert (check.images, check.problems, check.class_rows()) == (2, [], [])
    assert check.summary_rows() == [("images", "2"), ("sizes", "24x16 (2)")]


def test_nothing_usable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    data = ProxyImages(str(tmp_path))
    check, _ = check_dataset(data)
    assert check.problems[-1] == "no usable image is left"
    with pytest.raises(UserError, match="none of the images can be read"):
        contact_sheet(data, tmp_path / "sheet.png", "set")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_overlay() -> None:
    space = LabelSpace(names=TWO.names, palette=((255, 0, 0), (0, 0, 255)))
    image = np.full((20, 20, 3), 100, dtype=np.uint8)
    label = np.zeros((10, 10), dtype=np.uint8)
    label[:, 5:] = 1
    label[5:] = 255
    picture = overlay(image, label, space)
    assert picture.shape == image.shape
    red, blue, ignored = picture[5, 5], picture[5, 15], picture[15, 15]
    assert red[0] > 150 > red[2]
    assert blue[2] > 150 > blue[0]
    assert ignored.max() == ignored.min() < 100


def test_contact_sheet(tmp_path: Path) -> None:
    contact_sheet(Scribbles(5), tmp_path / "labelled.png", "scribbles", count=3, shares=[0.5, 0.5])
    contact_sheet(Scribbles(1), tmp_path / "one.png", "scribbles", count=8)
    write_folder(tmp_path, ["a", "a very long name " * 8])
    contact_sheet(ProxyImages(str(tmp_path / "images")), tmp_path / "plain.png", "images")
    sizes = {name: Pillow.open(tmp_path / f"{name}.png").size for name in ("labelled", "one", "plain")}
    assert sizes["labelled"][0] == 2 * 32 + 3 * 300 + 2 * 12
    assert sizes["one"][0] == 2 * 32 + 2 * 300
    assert sizes["plain"][1] < sizes["labelled"][1]
