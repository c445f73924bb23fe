"""Images in archives are those of the unpacked folder: names, order, pixels, fingerprints; damage is one line."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from gkd_lightning.data import FolderSegmentation, ProxyDataModule, ProxyImages, archives, contents, manifest
from gkd_lightning.data.archives import members_of
from gkd_lightning.data.benchmarks import ImageNet
from gkd_lightning.data.images import list_images, read_image
from gkd_lightning.errors import UserError
from tests.deploy.predict.made import picture


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number, name in enumerate(
        ("b/two.png", "a/one.png", "a/three.JPEG", "a/.hidden.png", "top.png", "a/notes.txt")
    ):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(path, format="JPEG" if name.endswith("JPEG") else "PNG", quality=90)
    return tmp_path


def tarred(folder: Path, target: Path, prefix: str = "./") -> Path:
    with tarfile.open(target, "w") as tar:
        tar.add(folder, arcname=prefix)
    return target


def zipped(folder: Path, target: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, path.relative_to(folder))
    return target


def nested(folder: Path, target: Path) -> Path:
    """As ImageNet's: a tar of a tar for every class, and what lies beside them."""
    with tarfile.open(target, "w") as tar:
        for part in ("a", "b"):
            inner = tarred(folder / part, target.with_name("inner.tar"), ".")
            tar.add(inner, arcname=f"{part}.tar")
        tar.add(folder / "top.png", arcname="top.png")
    return target


FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "tar": lambda folder, base: tarred(folder, base / "x.tar"),
    "zip": lambda folder, base: zipped(folder, base / "x.zip"),
    "zip as it is": lambda folder, base: zipped(folder, base / "x.ZIP", zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_the_folder_that_it_was_made_of(folder: Path, form: str) -> None:
    packed, plain = ProxyImages(str(FORMS[form](folder / "tree", folder))), ProxyImages(str(folder / "tree"))
    names = [plain.name(index) for index in range(len(plain))]
    assert names == ["a/one.png", "a/three.JPEG", "b/two.png", "top.png"]
    assert [packed.name(index) for index in range(len(packed))] == names
    for index in range(len(plain)):
        assert np.array_equal(packed.image(index), plain.image(index))
    assert manifest(packed, labels=False) == manifest(plain, labels=False)
    assert contents(packed, labels=False) == contents(plain, labels=False)


def test_a_tar_in_a_tar_is_a_folder(folder: Path) -> None:
    packed = ProxyImages(str(nested(folder / "tree", folder / "imagenet.tar")))
    names = [packed.name(index) for index in range(len(packed))]
    assert names == ["a.tar/one.png", "a.tar/three.JPEG", "b.tar/two.png", "top.png"]
    assert np.array_equal(packed.image(1), read_image(folder / "tree/a/three.JPEG"))
    part = ProxyImages(str(folder / "imagenet.tar/b.tar"))
    assert np.array_equal(part.image(0), read_image(folder / "tree/b/two.png"))


def test_imagenet_as_it_is_downloaded(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / split).mkdir()
    nested(folder / "tree", folder / "train/ILSVRC2012_img_train.tar")
    tarred(folder / "tree/a", folder / "val/ILSVRC2012_img_val.tar", ".")
    (folder / "zip/ILSVRC/Data/CLS-LOC").mkdir(parents=True)
    shutil.copytree(folder / "tree", folder / "zip/ILSVRC/Data/CLS-LOC/train")
    zipped(folder / "zip", folder / "kaggle.zip")
    assert ImageNet(str(folder / "train")).name(0) == "a.tar/one.png"
    assert ImageNet(str(folder / "val"), "val").name(0) == "one.png"
    assert ImageNet(str(folder / "kaggle.zip")).name(0) == "a/one.png"
    with pytest.raises(UserError, match=r"looked for val/, .* and ILSVRC2012_img_val\.tar"):
        len(ImageNet(str(folder / "kaggle.zip"), "val"))


def test_a_folder_of_shards_and_a_folder_inside_an_archive(folder: Path) -> None:
    (folder / "shards").mkdir()
    tarred(folder / "tree/a", folder / "shards/000000.tar", ".")
    zipped(folder / "tree/b", folder / "shards/000001.zip")
    assert list_images(folder / "shards") == ["000000.tar/one.png", "000000.tar/three.JPEG", "000001.zip/two.png"]
    tarred(folder / "tree", folder / "all.tar")
    assert list_images(folder / "all.tar/a") == ["one.png", "three.JPEG"]
    assert list_images(folder / "all.tar", recursive=False) == ["top.png"]
    shutil.copy(folder / "tree/top.png", folder / "shards")  # pictures of its own: its archives are none
    assert list_images(folder / "shards") == ["top.png"]


def test_images_and_labels_in_archives_pair_up(folder: Path) -> None:
    for name in ("one", "two"):
        for kind in ("img", "ids"):
            path = folder / kind / "s" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = picture(1) if kind == "img" else np.full((20, 24), len(name) % 3, np.uint8)
            Image.fromarray(pixels).save(path)
    zipped(folder / "img", folder / "img.zip")
    tarred(folder / "ids", folder / "ids.tar")
    classes = ["road", "sky", "car"]
    packed = FolderSegmentation(str(folder / "img.zip"), str(folder / "ids.tar"), classes)
    plain = FolderSegmentation(str(folder / "img"), str(folder / "ids"), classes)
    assert np.array_equal(packed.label(1), plain.label(1))
    assert contents(packed, labels=True) == contents(plain, labels=True)
    (folder / "ids.tar").unlink()
    tarred(folder / "ids/s", folder / "ids.tar")  # labels elsewhere
    with pytest.raises(UserError, match=r"2 of 2 images have no label, this one wants .*ids\.tar/s/one\.png"):
        len(FolderSegmentation(str(folder / "img.zip"), str(folder / "ids.tar"), classes, skip_unlabelled=False))


def test_workers_read_the_same_batches(folder: Path) -> None:
    tarred(folder / "tree", folder / "x.tar")
    batches = []
    for root, workers in (("tree", 0), ("x.tar", 2)):
        data = ProxyDataModule(ProxyImages(str(folder / root)), image_size=32, batch_size=4, num_workers=0)
        loader = data.train_dataloader()
        inner = DataLoader(
            loader.dataset, batch_sampler=loader.batch_sampler, num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )  # fmt: skip
        batches.append(next(iter(inner))["image"])
    assert torch.equal(*batches)


def test_reduced_decoding_reaches_into_archives(folder: Path) -> None:
    from gkd_lightning.data.augment.crops import crop_of_file

    Image.fromarray(np.kron(picture(0), np.ones((8, 8, 1), np.uint8))).save(folder / "tree/a/large.jpg")
    tarred(folder / "tree", folder / "x.tar")
    crops = [
        crop_of_file(Path(folder / root / "a/large.jpg"), lambda height, width: (0, 0, height, width), 16, 2)
        for root in ("tree", "x.tar")
    ]
    assert np.array_equal(*crops)


def test_a_long_list_of_members_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_KEPT_FROM", 1)
    path = str(tarred(folder / "tree", folder / "kept.tar"))
    first = members_of(path)
    archives._listed.cache_clear()
    monkeypatch.setattr(archives, "_tar_rows", None)  # would fail
    assert [list(column) for column in members_of(path)] == [list(column) for column in first]
    kept = next((folder / "cache/gkd-lightning/archives").iterdir())
    kept.write_bytes(kept.read_bytes()[:100])
    archives._listed.cache_clear()
    monkeypatch.undo()
    assert list(members_of(path).names) == list(first.names)  # gone through again


def test_an_archive_that_changed_is_gone_through_again(folder: Path) -> None:
    path = folder / "x.tar"
    tarred(folder / "tree", path)
    assert len(list_images(path)) == 4
    (folder / "tree/b/two.png").unlink()
    tarred(folder / "tree", path)
    os.utime(path, ns=(1, 1))
    assert len(list_images(path)) == 3


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.rindex(b"IDAT") + 20
    data[place] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_a_download_that_was_cut_is_no_archive(folder: Path, form: str, share: float) -> None:
    path = FORMS[form](folder / "tree", folder)
    cut(path, share)
    with pytest.raises(UserError, match=rf"x\.{form}: no whole {form} archive .*; copy or download it again"):
        list_images(path)


def test_a_tar_that_ends_between_two_members_is_cut(folder: Path) -> None:
    path = tarred(folder / "tree", folder / "x.tar")
    with tarfile.open(path) as tar:
        third = tar.getmembers()[3]
    with path.open("r+b") as handle:
        handle.truncate(third.offset)
    with pytest.raises(UserError, match="it is cut short"):
        list_images(path)


def test_other_mistakes_are_one_line(folder: Path) -> None:
    stored = zipped(folder / "tree", folder / "flipped.zip", zipfile.ZIP_STORED)
    flipped(stored)
    with pytest.raises(UserError, match=r"flipped\.zip/top\.png: cannot be read as image: damaged inside the archive"):
        read_image(stored / "top.png")
    whole = tarred(folder / "tree", folder / "whole.tar")
    with pytest.raises(UserError, match=r"whole\.tar/a/none\.png: no such image file"):
        read_image(whole / "a/none.png")
    with pytest.raises(UserError, match=r"whole\.tar/c: no such folder in .*whole\.tar"):
        list_images(whole / "c")
    (folder / "x.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(UserError, match=r"x\.tar\.gz: is compressed as a whole"):
        list_images(folder / "x.tar.gz")
    with pytest.raises(UserError, match=r"none\.tar: no such folder"):
        list_images(folder / "none.tar")
    (folder / "text.tar").write_text("no archive at all")
    with pytest.raises(UserError, match=r"text\.tar: no whole tar archive"):
        list_images(folder / "text.tar")
    with tarfile.open(folder / "twice.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    with pytest.raises(UserError, match=r"twice\.tar: holds a\.png twice"):
        list_images(folder / "twice.tar")
    with tarfile.open(folder / "empty.tar", "w"):
        pass
    with pytest.raises(UserError, match=r"empty\.tar: no image in this archive"):
        len(ProxyImages(str(folder / "empty.tar")))


def test_a_member_that_leads_out_is_none(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w") as opened:
        for name in ("../evil.png", "/abs.png", "./a/../../b.png", "good.png"):
            opened.write(folder / "tree/top.png", name)
            opened.filelist[-1].filename = name
    assert list_images(folder / "x.zip") == ["abs.png", "good.png"]
