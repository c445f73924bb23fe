"""Before a run, and in its plan, a few files of every data set are looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.chain.required_data import NeededData, look_at_data, require_data
from gkd_lightning.cli import main
from gkd_lightning.data import FolderSegmentation, ImageDataset, ProxyImages
from gkd_lightning.errors import UserError
from tests.data.helpers import Scribbles, save, write_folder

PHOTO = np.random.RandomState(0).randint(0, 256, (16, 24, 3)).astype(np.uint8)


def needed(dataset: ImageDataset, labels: bool = True) -> NeededData:
    return NeededData("Own", labels, dataset, len(dataset))


def folder(root: Path) -> FolderSegmentation:
    return FolderSegmentation(str(root / "images"), str(root / "labels"), ["road", "car"])


def turned() -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return exif


def test_what_reading_changes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", np.full((9, 9), 4095, np.uint16))
    save(tmp_path / "c.jpg", PHOTO, exif=turned())
    look_at_data([needed(ProxyImages(str(tmp_path)), labels=False)])
    assert capsys.readouterr().out == (
        "data: Own: of 3 images 1 are turned by EXIF, 2 use 16 bits (brightest value 16 of 255 after conversion)\n"
    )


def test_nothing_odd_nothing_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path, ["a", "b"])
    require_data([needed(folder(tmp_path)), needed(Scribbles(3))])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["damaged", "turned", "bad id"])
def test_what_would_stop_a_training_stops_it_before(tmp_path: Path, kind: str) -> None:
    images, labels = write_folder(tmp_path, ["a", "b"])
    if kind == "damaged":
        (images / "b.png").write_bytes(b"broken")
    elif kind == "turned":
        save(images / "b.png", PHOTO, exif=turned())
    else:
        save(labels / "b.png", np.full((16, 24), 98, np.uint8))
    told = {"damaged": "b.png: cannot be read", "turned": "as EXIF turns the image", "bad id": "label id 98"}[kind]
    with pytest.raises(UserError, match=told):
        require_data([needed(folder(tmp_path))])
    if kind == "bad id":  # labels that nobody uses stay closed
        require_data([needed(folder(tmp_path), labels=False)])


def test_missing_data_are_told_and_in_a_plan_left_alone() -> None:
    missing = [NeededData(name, True, UserError(f"{name}: no such folder"), 0) for name in ("a", "b")]
    look_at_data(missing)
    assert str(missing[0]) == "data: a: NOT USABLE: a: no such folder"
    with pytest.raises(UserError, match=r"^2 of 2 data sets cannot be used, first a: no such folder"):
        require_data(missing)


GRID = ["run", "camvid/gkd", "--methods", "gkd", "--grid", "model.alpha=0.5,1"]


@pytest.mark.parametrize("command", [["run", "camvid/gkd"], GRID, ["reproduce", "f2l", "--row", "deit-s-gtav"]])
def test_a_plan_names_what_is_missing(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("EFFICIENTNET_LITE2", str(tmp_path / "teacher.safetensors"))
    assert main([*command, "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("data: ")]
    assert lines
    assert all("NOT USABLE: " in line and "nowhere" in line for line in lines)
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_reproduce_looks_at_data_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gkd_lightning.data.fakes import write_fake

    for name in ("imagenet", "gtav", "cityscapes", "bdd100k", "mapillary"):
        write_fake(name, tmp_path / name, 2, (64, 48))
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for label in (tmp_path / "gtav").rglob("labels/**/*.png"):
        save(label, np.full((48, 64), 98, np.uint8))
    command = ["reproduce", "f2l", "--row", "deit-s-gtav", "--out", "out"]
    assert main([*command, "--dry-run"]) == 2
    printed = capsys.readouterr()
    assert "label id 98 (100.0%) belongs to no class" in printed.err
    assert "task_agnostic-" in printed.out  # the plan comes first
    assert main(command) == 2
    assert "label id 98 (100.0%) belongs to no class" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
