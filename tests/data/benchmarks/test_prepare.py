"""`gkd data prepare`: copies that read back with the same labels, resumable, each file whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.cli import main
from gkd_lightning.data.benchmarks import Mapillary, Potsdam, Vaihingen
from gkd_lightning.data.benchmarks.catalogue import published_parts
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.data.prepare import MANIFEST, prepare
from gkd_lightning.errors import UserError


def hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def write_many(folder: Path) -> None:
    """120 pairs of files, enough to be interrupted: four that are drawn, and copies of them."""
    write_fake("gtav", folder, images=4, size=(640, 320))
    for number in range(5, 121):
        for kind in ("images", "labels"):
            shutil.copyfile(folder / kind / f"{(number - 1) % 4 + 1:05d}.png", folder / kind / f"{number:05d}.png")


@pytest.mark.parametrize(
    "name", ["gtav", "synthia", "urbansyn", "cityscapes", "acdc", "loveda", "foggy_zurich", "foggy_driving", "deliver"]
)
def test_a_fast_copy_has_the_same_pixels_and_labels(name: str, tmp_path: Path) -> None:
    source, copy = tmp_path / name, tmp_path / "copy"
    write_fake(name, source, images=2, size=(96, 64))
    before = hashes(source)
    made = prepare("fast", name, str(source), copy)
    assert hashes(source) == before
    for part, slow in published_parts(name, str(source)).items():
        fast = published_parts(name, str(copy))[part]
        assert len(fast) == len(slow) == 2
        for index in range(2):
            assert fast.name(index) == slow.name(index)
            assert np.array_equal(fast.image(index), slow.image(index))
            assert np.array_equal(fast.label(index), slow.label(index))  # type: ignore[attr-defined]
            assert fast.image_path(index).suffix == ".bmp"  # type: ignore[attr-defined]
    manifest = json.loads((copy / MANIFEST).read_text())
    on_disk = hashes(copy)
    on_disk.pop(MANIFEST)
    assert {key: value["sha256"] for key, value in manifest["files"].items()} == on_disk
    assert made == len(on_disk)
    assert (manifest["data_set"], manifest["kind"]) == (name, "fast")


def test_jpegs_are_smaller_and_close(tmp_path: Path) -> None:
    write_fake("gtav", tmp_path / "gtav", images=1, size=(256, 128))
    prepare("fast", "gtav", str(tmp_path / "gtav"), tmp_path / "copy", image_format="jpg")
    slow, fast = (published_parts("gtav", str(tmp_path / name))["train"] for name in ("gtav", "copy"))
    difference = np.abs(slow.image(0).astype(int) - fast.image(0).astype(int))
    assert 0 < difference.mean() < 4
    with pytest.raises(UserError, match="format gif: give bmp"):
        prepare("fast", "gtav", str(tmp_path / "gtav"), tmp_path / "other", image_format="gif")


def test_tiles_read_back_as_those_of_the_large_images(tmp_path: Path) -> None:
    write_fake("potsdam", tmp_path / "potsdam", images=1, size=(640, 560))
    assert prepare("tiles", "potsdam", str(tmp_path / "potsdam"), tmp_path / "tiles") == 2 * 2 * 4 * 2
    for bands in ("RGB", "IRRG"):
        large, tiles = (Potsdam(str(tmp_path / name), "val", bands=bands) for name in ("potsdam", "tiles"))  # type: ignore[arg-type]
        names = {large.name(index): index for index in range(len(large))}
        assert len(tiles) == len(large) == 4
        for index in range(4):
            other = names[tiles.name(index)]
            assert np.array_equal(tiles.image(index), large.image(other))
            assert np.array_equal(tiles.label(index), large.label(other))
    assert (tmp_path / "tiles/RGB/img_dir/train/2_10_0_0_512_512.png").is_file()
    write_fake("vaihingen", tmp_path / "vaihingen", images=1, size=(96, 64))
    prepare("tiles", "vaihingen", str(tmp_path / "vaihingen"), tmp_path / "v")
    assert (tmp_path / "v/img_dir/train/area1_0_0_96_64.png").is_file()
    assert np.array_equal(
        Vaihingen(str(tmp_path / "v"), "train").label(0), Vaihingen(str(tmp_path / "vaihingen"), "train").label(0)
    )


def test_mapillary_as_the_official_script_leaves_it(tmp_path: Path) -> None:
    source, copy = tmp_path / "mapillary", tmp_path / "copy"
    write_fake("mapillary", source, images=2, size=(96, 64))
    prepare("official", "mapillary", str(source), copy)
    published_val, prepared = Mapillary(str(source)), Mapillary(str(copy))
    assert prepared.files.layout.title == "prepared"  # type: ignore[union-attr]
    assert all(np.array_equal(prepared.label(index), published_val.label(index)) for index in range(2))
    with Pillow.open(published_val.image_path(0)) as image:
        halved = image.resize((48, 32), resample=Pillow.Resampling.BICUBIC)
    halved.save(tmp_path / "wanted.jpg")
    assert prepared.image_path(0).read_bytes() == (tmp_path / "wanted.jpg").read_bytes()
    with pytest.raises(UserError, match="holds prepared files already"):
        prepare("official", "mapillary", str(copy), tmp_path / "again")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_finished_is_kept(workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fake("gtav", tmp_path / "gtav", images=3, size=(64, 32))
    command = ["data", "prepare", "fast", "gtav", str(tmp_path / "gtav"), str(tmp_path / "copy")]
    assert main([*command, "--workers", str(workers)]) == 0
    assert "6 files made now" in capsys.readouterr().out
    first = hashes(tmp_path / "copy")
    kept = tmp_path / "copy/images/00001.bmp"
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "copy/images/00002.bmp").unlink()
    assert main([*command, "--workers", str(workers)]) == 0
    assert "1 files made now" in capsys.readouterr().out
    assert hashes(tmp_path / "copy") == first
    assert kept.stat().st_mtime_ns == stamp


def test_a_damaged_file_is_named_and_the_rest_can_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fake("gtav", tmp_path / "gtav", images=3, size=(64, 32))
    (tmp_path / "gtav/images/00002.png").write_bytes(b"broken")
    command = ["data", "prepare", "fast", "gtav", str(tmp_path / "gtav"), str(tmp_path / "copy"), "--workers", "2"]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "00002.png: cannot be read as image" in line
    assert json.loads((tmp_path / "copy" / MANIFEST).read_text())["complete"] is False
    assert not list((tmp_path / "copy").rglob(".*"))
    write_fake("gtav", tmp_path / "whole", images=3, size=(64, 32))
    (tmp_path / "whole/images/00002.png").rename(tmp_path / "gtav/images/00002.png")
    assert main(command) == 0


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files_only(tmp_path: Path) -> None:
    write_many(tmp_path / "gtav")
    arguments = ["data", "prepare", "fast", "gtav", str(tmp_path / "gtav"), str(tmp_path / "copy"), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gkd_lightning", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "copy").rglob("*.bmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = process.communicate(timeout=60)
    made = list((tmp_path / "copy").rglob("*.*"))
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("gkd: interrupted, resume with: gkd data prepare fast")
    assert 0 < len(made) < 240
    assert not [path for path in made if path.name.endswith(".partial")]
    assert main(arguments) == 0
    for index in (0, 60, 119):
        slow, fast = (published_parts("gtav", str(tmp_path / name))["train"] for name in ("gtav", "copy"))
        assert np.array_equal(slow.image(index), fast.image(index))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiles", "gtav"], "holds no large images of gtav"),
        (["fast", "bdd100k"], "are no PNG files"),
        (["fast", "imagenet"], "has no labels and is read as it is"),
        (["official", "gtav"], "give mapillary"),
        (["fast", "gtva"], "no published data set of this name"),
    ],
)
def test_what_cannot_be_prepared(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = arguments[1].replace("gtva", "gtav")
    write_fake(name, tmp_path / "source", images=1, size=(64, 32))
    assert main(["data", "prepare", *arguments, str(tmp_path / "source"), str(tmp_path / "copy")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "copy").exists()


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["data", "prepare", *arguments, "--workers", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_source_is_never_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "gtav"
    write_fake("gtav", source, images=1, size=(64, 32))
    before = hashes(tmp_path)
    for destination in (source, source / "images", source / "new/below", tmp_path):
        assert "lies in it or around it" in refused(["fast", "gtav", str(source), str(destination)], capsys)
    assert hashes(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        write_fake("gtav", tmp_path / name, images=1, size=(64, 32))
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays/beach.jpg").write_bytes(b"sand")
    one, two, copy = str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "copy")
    line = refused(["fast", "gtav", one, str(tmp_path / "holidays")], capsys)
    assert "is not empty and was not prepared by gkd" in line
    prepare("fast", "gtav", one, Path(copy))
    before = hashes(tmp_path)
    assert f"was prepared with source {one}, not {two}" in refused(["fast", "gtav", two, copy], capsys)
    assert "image_format bmp, not jpg" in refused(["fast", "gtav", one, copy, "--format", "jpg"], capsys)
    assert hashes(tmp_path) == before
    (tmp_path / "copy" / MANIFEST).write_text("{}")
    assert "cannot be read as a manifest of gkd" in refused(["fast", "gtav", one, copy], capsys)


def test_a_damaged_copy_is_made_again(tmp_path: Path) -> None:
    write_fake("gtav", tmp_path / "gtav", images=3, size=(64, 32))
    source, copy = str(tmp_path / "gtav"), tmp_path / "copy"
    prepare("fast", "gtav", source, copy)
    first = hashes(copy)
    truncated, newer = copy / "images/00001.bmp", tmp_path / "gtav/labels/00002.png"
    truncated.write_bytes(truncated.read_bytes()[:100])
    flipped = copy / "images/00003.bmp"
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"!")
    os.utime(newer)
    assert prepare("fast", "gtav", source, copy) == 3
    assert hashes(copy) == first
    assert json.loads((copy / MANIFEST).read_text())["complete"] is True


@pytest.mark.parametrize(("kind", "name", "size"), [("fast", "cityscapes", (64, 32)), ("tiles", "potsdam", (96, 64))])
def test_an_image_without_a_label_is_no_missing_part(
    kind: str, name: str, size: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / name
    write_fake(name, source, images=2, size=size)
    victim = published_parts(name, str(source))["val" if kind == "fast" else "RGB-val"].label_path(0)  # type: ignore[attr-defined]
    victim.unlink()
    assert str(victim) in refused([kind, name, str(source), str(tmp_path / "copy")], capsys)
    assert not (tmp_path / "copy").exists()


def test_a_part_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "cityscapes"
    write_fake("cityscapes", source, images=2, size=(64, 32))
    shutil.rmtree(source / "leftImg8bit/val")
    prepare("fast", "cityscapes", str(source), tmp_path / "copy")
    assert f"cityscapes-val: not in {source}, left out" in capsys.readouterr().out.splitlines()
    assert len(published_parts("cityscapes", str(tmp_path / "copy"))["train"]) == 2


@pytest.mark.slow
def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    write_many(tmp_path / "gtav")
    arguments = ["data", "prepare", "fast", "gtav", str(tmp_path / "gtav"), str(tmp_path / "copy"), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gkd_lightning", *arguments], stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "copy").rglob("*.bmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    while subprocess.run(["pgrep", "-s", str(process.pid)], check=False, capture_output=True).returncode == 0:
        assert time.monotonic() < deadline, "workers are still there"
        time.sleep(0.05)
    for path in (tmp_path / "copy").rglob(".*.partial"):
        path.unlink()
    assert main(arguments) == 0
    assert json.loads((tmp_path / "copy" / MANIFEST).read_text())["complete"] is True
