"""Imitations tell things apart as their readers read it: every car and person of a street, and crowds."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gkd_lightning.cli import main
from gkd_lightning.data import CocoPanoptic, FolderSegmentation, segments_of
from gkd_lightning.data.benchmarks import Cityscapes
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.data.fakes.scenes import Scene, Streets
from gkd_lightning.data.types import CITYSCAPES_19

SIZE = (160, 96)
COUNTED = {"person", "rider", "car", "truck", "bus", "train", "motorcycle"}


def coco(root: Path) -> CocoPanoptic:
    notes = root / "annotations/panoptic_train2017"
    return CocoPanoptic(str(root / "train2017"), str(notes), str(notes.with_suffix(".json")))


def folder(root: Path) -> FolderSegmentation:
    paths = {part: str(root / part / "train") for part in ("images", "labels", "instances")}
    return FolderSegmentation(**paths, classes="cityscapes-19")


READERS: dict[str, tuple[Callable[[Path], Any], int]] = {
    "cityscapes": (lambda root: Cityscapes(str(root), "train"), 12),
    "coco_panoptic": (coco, 70),
    "folders": (folder, 72),
}
"""What reads an imitation, and the seed of its streets."""


def things(scene: Scene) -> set[tuple[str, bytes]]:
    """Class and pixels of every thing of a street."""
    return {
        (CITYSCAPES_19.names[int(train_id)], mask.tobytes())
        for number in np.unique(scene.instances[scene.instances > 0])
        for mask in [scene.instances == number]
        for train_id in np.unique(scene.label[mask])
    }


@pytest.mark.parametrize("name", list(READERS))
def test_every_thing_is_found_again(name: str, tmp_path: Path) -> None:
    write_fake(name, tmp_path, images=2, size=SIZE)
    reader, seed = READERS[name]
    data, streets = reader(tmp_path), Streets("day", seed, SIZE)
    for index in range(2):
        scene = streets.draw()
        expected = things(scene)
        assert {thing for thing, _ in expected} == COUNTED
        assert len(expected) > len(COUNTED)  # of some there are several
        codes, names = segments_of(data, index, data.label(index)), data.label_space.names
        found = {(names[int(code) % 256], (codes == code).tobytes()) for code in np.unique(codes[codes >= 256])}
        if name == "coco_panoptic":  # which has no riders, and takes lights and signs for things
            assert {thing for thing, _ in found} == COUNTED - {"rider"} | {"traffic light", "stop sign"}
            assert {mask for thing, mask in expected if thing != "rider"} <= {mask for _, mask in found}
        else:
            assert found == expected
        bicycles = scene.label == CITYSCAPES_19.names.index("bicycle")
        assert (codes[bicycles] == 255).all()  # a crowd
        assert set(np.unique(data.label(index)[bicycles]).tolist()) == {names.index("bicycle")}


@pytest.mark.parametrize("name", ["cityscapes", "folders"])
def test_the_command_that_is_told_counts_them(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--images", "1", "--width", "160", "--height", "96"]
    assert main(["data", "fake", name, str(tmp_path / name), *size]) == 0
    told = capsys.readouterr().out.partition("; try gkd ")[2]
    assert main([*shlex.split(told), "--out", str(tmp_path / "out")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if ": instances: " in line)
    counts = dict(each.rsplit(" ", 1) for each in line.partition(": instances: ")[2].partition(";")[0].split(", "))
    assert {thing for thing, count in counts.items() if int(count)} == COUNTED
    assert counts["bicycle"] == "0"
