"""What is peculiar to the sets of night and fog: second encodings, a list of images, two folders of labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.data.benchmarks import FoggyDriving, FoggyZurich, NighttimeDriving
from gkd_lightning.data.benchmarks.published import LaidOut
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.errors import UserError


def fake(name: str, root: Path) -> Path:
    write_fake(name, root / name, images=2, size=(96, 64))
    return root / name


def test_the_night_and_fog_sets_in_their_second_encoding(tmp_path: Path) -> None:
    kinds: dict[str, type[NighttimeDriving | FoggyZurich]]
    kinds = {"nighttime_driving": NighttimeDriving, "foggy_zurich": FoggyZurich}
    for name, kind in kinds.items():
        root = fake(name, tmp_path)
        dataset = kind(str(root))
        labels = [dataset.label(index) for index in range(2)]
        for index in range(2):
            dataset.label_path(index).unlink()
        again = kind(str(root))
        assert isinstance(again.files, LaidOut)
        assert again.files.layout.title == "label ids"
        assert all(np.array_equal(again.label(index), labels[index]) for index in range(2))


def test_foggy_zurich_is_what_its_list_names(tmp_path: Path) -> None:
    root = fake("foggy_zurich", tmp_path)
    listed = root / "lists_file_names/RGB_testv2_filenames.txt"
    assert len(list((root / "RGB").rglob("*.png"))) == 3
    assert [FoggyZurich(str(root)).name(index) for index in range(2)] == [
        f"GP010229/1508040913.0_frame_{number:06d}" for number in (955, 956)
    ]
    lines = listed.read_text().splitlines()
    for text, words in (
        (f"{lines[0]}\nRGB/GP010229/gone.png\n", "1 listed images are not below .*, first 'RGB/GP010229/gone.png'"),
        ("", "the list is empty"),
    ):
        listed.write_text(text)
        with pytest.raises(UserError, match=words):
            len(FoggyZurich(str(root)))
    listed.unlink()
    with pytest.raises(UserError, match=r"RGB_testv2_filenames.txt: cannot be read as a list"):
        len(FoggyZurich(str(root)))


def test_foggy_driving_joins_fine_and_coarse_labels(tmp_path: Path) -> None:
    dataset = FoggyDriving(str(fake("foggy_driving", tmp_path)))
    found = {dataset.label_path(index).relative_to(dataset.root).parts[:2] for index in range(2)}
    assert found == {("gtFine", "test"), ("gtCoarse", "test_extra")}
    shutil.rmtree(dataset.root / "gtCoarse")
    with pytest.raises(UserError, match=r"1 of 2 images have no label, .*gtCoarse/test_extra/web/web_fog_1_gtCoarse_"):
        len(FoggyDriving(str(dataset.root)))
    shutil.rmtree(dataset.root / "gtFine")
    with pytest.raises(UserError, match=r"leftImg8bit/\*_leftImg8bit.png with gtFine/\*_gtFine_labelIds.png"):
        len(FoggyDriving(str(dataset.root)))
