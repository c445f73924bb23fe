"""`gkd predict --panoptic`: COCO's panoptic format, read back, and overlays that show segments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.data import CocoPanoptic, MiniCity
from gkd_lightning.deploy.predict.panoptic import picture, segments_info
from gkd_lightning.segment import load_segmenter, queries_of, segments_found
from tests.chain.artefacts import HEAD, segmenter
from tests.deploy.predict.made import checkpoint, video

SKY, CAR_1, CAR_2 = 0, 5 + 256, 5 + 512
ANY = replace(HEAD, segments="panoptic", score_threshold=0.0, overlap_threshold=0.0)


def test_ids_and_what_they_are() -> None:
    codes = np.array([[SKY, SKY, CAR_1], [CAR_2, 255, CAR_1]], np.int32)
    drawn = picture(codes).astype(int)
    ids = drawn[..., 0] + 256 * drawn[..., 1] + 65536 * drawn[..., 2]
    assert ids.tolist() == [[1, 1, CAR_1 + 1], [CAR_2 + 1, 0, CAR_1 + 1]]  # class 0 is not black
    info = segments_info(codes, {SKY: 0.9, CAR_1: 0.8, CAR_2: 0.7}, kept=[0, 5])
    assert [each["id"] for each in info] == [1, CAR_1 + 1, CAR_2 + 1]
    assert info[1] == {
        "id": CAR_1 + 1, "category_id": 5, "iscrowd": 0, "area": 2, "bbox": [2, 0, 1, 2], "score": 0.8
    }  # fmt: skip
    assert [each["id"] for each in segments_info(codes, {SKY: 0.9, CAR_1: 0.8}, kept=[5])] == [CAR_1 + 1]


def images(folder: Path) -> Path:
    city = MiniCity("game", 3)
    folder.mkdir()
    for index in range(3):
        Image.fromarray(city.image(index)[: 60 + 10 * index]).save(folder / f"{index}.png")
    return folder


def test_what_is_written_is_what_the_segmenter_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = segmenter(tmp_path / "made", head=ANY) / "segmenter.safetensors"
    given, out = images(tmp_path / "images"), tmp_path / "out"
    command = ["predict", "--ckpt", str(weights), "--images", str(given), "--out", str(out)]
    assert main(command) == 0
    assert not (out / "panoptic.json").exists()
    plain = np.asarray(Image.open(out / "overlay/0.png"))
    assert main([*command, "--panoptic"]) == 0  # what was done before lacks it
    assert (np.asarray(Image.open(out / "overlay/0.png")) != plain).any()
    found = CocoPanoptic(str(given), str(out / "panoptic"), str(out / "panoptic.json"))
    assert len(found) == 3
    assert found.label_space.things == ("car", "person")
    loaded = load_segmenter(weights)
    for index in range(3):
        pixels = torch.from_numpy(found.image(index)).permute(2, 0, 1)[None]
        size = found.image(index).shape[:2]
        (one,) = segments_found(loaded.segmenter, queries_of(loaded.segmenter, pixels), size, loaded.label_space)
        assert (found.label(index) == one.codes.numpy().astype(np.uint8)).all()
        assert len(np.unique(found.instances(index))) - 1 == len([code for code in one.scores if code >= 256])
    capsys.readouterr()
    assert main([*command, "--panoptic"]) == 0
    assert "nothing to segment (3 were finished before)" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "cars"), "--panoptic", "--classes", "car"]) == 0
    kept = json.loads((tmp_path / "cars/panoptic.json").read_text())
    assert {each["category_id"] for line in kept["annotations"] for each in line["segments_info"]} <= {5}
    assert [each["name"] for each in kept["categories"]] == ["car"]


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, out = images(tmp_path / "images"), tmp_path / "out"
    plain = checkpoint(tmp_path / "plain")
    assert main(["predict", "--ckpt", str(plain), "--images", str(given), "--out", str(out), "--panoptic"]) == 2
    told = capsys.readouterr().err
    assert "finds classes alone; segments need one that was trained with model.head.segments: panoptic" in told
    assert not out.exists()
    pytest.importorskip("av")
    film = video(tmp_path / "film.mp4", frames=2)
    weights = segmenter(tmp_path / "made", head=ANY) / "segmenter.safetensors"
    assert main(["predict", "--ckpt", str(weights), "--images", str(film), "--out", str(out), "--panoptic"]) == 2
    assert "--panoptic: is for images, and" in capsys.readouterr().err
    assert not out.exists()
