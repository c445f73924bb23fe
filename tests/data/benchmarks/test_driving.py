"""The driving data sets in their authors' layouts and encodings, and what `gkd data check` says of damaged ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.cli import main
from gkd_lightning.data import check_dataset
from gkd_lightning.data.benchmarks import (
    ACDC,
    BDD100K,
    GTAV,
    Cityscapes,
    ImageNet,
    Mapillary,
    PublishedSegmentation,
    Synthia,
    UrbanSyn,
)
from gkd_lightning.data.benchmarks.catalogue import CATALOGUE, published_parts
from gkd_lightning.data.benchmarks.driving import SYNTHIA_TRAIN_IDS
from gkd_lightning.data.benchmarks.mapillary import class_map
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.data.fakes.mapillary_names import VISTAS_1_2
from gkd_lightning.data.fakes.scenes import Streets
from gkd_lightning.errors import UserError

DRIVING = [
    "gtav", "synthia", "urbansyn", "cityscapes", "bdd100k", "mapillary", "acdc", "dark_zurich", "nighttime_driving",
    "foggy_zurich", "foggy_driving",
]  # fmt: skip
SIZE = (96, 64)


def fake(name: str, root: Path) -> Path:
    write_fake(name, root / name, images=2, size=SIZE)
    return root / name


def first_part(name: str, root: Path) -> PublishedSegmentation:
    part = next(iter(published_parts(name, str(root)).values()))
    assert isinstance(part, PublishedSegmentation)
    return part


@pytest.mark.parametrize("name", DRIVING)
def test_imitations_have_nothing_wrong_and_every_class(name: str, tmp_path: Path) -> None:
    fake(name, tmp_path)
    for part, dataset in published_parts(name, str(tmp_path / name)).items():
        check, _ = check_dataset(dataset)
        assert (check.images, check.problems) == (2, []), part
        assert all(pixels > 0 for pixels in check.pixels), part
        assert check.ignored > 0, part
        assert check.notes == [f"the published data set has {dataset.expected} images, here are 2"], part  # type: ignore[attr-defined]


def test_one_in_sixteen_of_cityscapes_training_images(tmp_path: Path) -> None:
    root = tmp_path / "cityscapes"
    write_fake("cityscapes", root, images=5, size=(64, 32))
    whole, few = Cityscapes(str(root)), Cityscapes(str(root), every=2)
    assert [few.name(index) for index in range(len(few))] == [whole.name(index) for index in (0, 2, 4)]
    assert np.array_equal(few.label(1), whole.label(2))
    assert (few.expected, few.split_title) == (1488, "train, one image of 2")
    assert Cityscapes("x", every=16).expected == 186
    check, _ = check_dataset(few)
    assert (check.images, check.problems) == (3, [])
    with pytest.raises(UserError, match="every: 0; give a number at least 1"):
        Cityscapes("x", every=0)


def test_stored_ids_become_the_train_ids_that_were_drawn(tmp_path: Path) -> None:
    scene = Streets("game", seed=11, size=SIZE).draw()
    label = GTAV(str(fake("gtav", tmp_path))).label(0)
    assert np.array_equal(label, scene.label)
    stored = np.array(Pillow.open(tmp_path / "gtav/labels/00001.png"))
    assert set(np.unique(stored[scene.label == 13])) == {26}  # a car has label id 26
    scene = Streets("game", seed=19, size=SIZE).draw()
    synthia = Synthia(str(fake("synthia", tmp_path)))
    assert np.array_equal(synthia.label(0), scene.label)
    colours = cv2.imread(str(tmp_path / "synthia/GT/LABELS/0000000.png"), cv2.IMREAD_UNCHANGED)
    assert colours.dtype == np.uint16
    assert set(np.unique(colours[..., 2][scene.label == 13])) == {8}  # a car has class 8, in the red channel
    scene = Streets("val", seed=18, size=SIZE).draw()
    assert np.array_equal(UrbanSyn(str(fake("urbansyn", tmp_path))).label(0), scene.label)
    scene = Streets("night", seed=17, size=SIZE).draw()
    assert np.array_equal(ACDC(str(fake("acdc", tmp_path)), "val", "night").label(0), scene.label)


def test_the_classes_of_synthia() -> None:
    assert len(SYNTHIA_TRAIN_IDS) == len(set(SYNTHIA_TRAIN_IDS.values())) == 19
    assert not {0, 13, 14, 22} & set(SYNTHIA_TRAIN_IDS)


def test_the_rules_for_mapillary() -> None:
    mapped = {VISTAS_1_2[class_id]: train_id for class_id, train_id in class_map(VISTAS_1_2).items()}
    assert len(mapped) == 66
    assert [mapped[name] for name in ("Road", "Lane Marking - General", "Crosswalk - Plain", "Parking")] == [0] * 4
    assert [mapped[name] for name in ("Sidewalk", "Curb", "Curb Cut", "Pedestrian Area")] == [1] * 4
    assert [mapped[name] for name in ("Pole", "Utility Pole", "Street Light")] == [5] * 3
    assert [mapped[name] for name in ("Traffic Sign (Back)", "Traffic Sign (Front)", "Traffic Sign Frame")] == [7] * 3
    assert [mapped[name] for name in ("Bicyclist", "Motorcyclist", "Other Rider")] == [12] * 3
    assert mapped["On Rails"] == 16
    assert {mapped[name] for name in ("Guard Rail", "Bird", "Manhole", "Caravan", "Bridge", "Unlabeled")} == {255}
    assert class_map(["Traffic Light - Cyclists"]) == {0: 6}


def test_mapillary_is_halved_as_by_the_official_script(tmp_path: Path) -> None:
    root = fake("mapillary", tmp_path)
    whole, half = Mapillary(str(root), "val", half=False), Mapillary(str(root), "val")
    with Pillow.open(whole.image_path(0)) as image:
        wanted = np.asarray(image.convert("RGB").resize((SIZE[0] // 2, SIZE[1] // 2), Pillow.Resampling.BICUBIC))
    assert np.array_equal(half.image(0), wanted)
    assert np.array_equal(half.label(0), whole.label(0)[1::2, 1::2])
    newer = Mapillary(str(root), "val", version="v2.0")
    assert np.array_equal(newer.label(0), half.label(0))
    assert newer.label_path(0) != half.label_path(0)


PREPARED: dict[str, Callable[[str], PublishedSegmentation]] = {
    "gtav": GTAV,
    "synthia": Synthia,
    "cityscapes": lambda root: Cityscapes(root, "val"),
    "acdc": lambda root: ACDC(root, "val", "rain"),
}
TRAIN_ID_NAMES = {
    "gtav": ("labels", ".png", "_labelTrainIds.png"),
    "synthia": ("GT/LABELS", ".png", "_labelTrainIds.png"),
    "cityscapes": ("gtFine/val", "_labelIds.png", "_labelTrainIds.png"),
    "acdc": ("gt/rain/val", "_labelIds.png", "_labelTrainIds.png"),
}


@pytest.mark.parametrize("name", PREPARED)
def test_prepared_train_ids_are_read_where_the_published_labels_are_missing(name: str, tmp_path: Path) -> None:
    root = fake(name, tmp_path)
    labels = [PREPARED[name](str(root)).label(index) for index in range(2)]
    folder, published_suffix, prepared_suffix = TRAIN_ID_NAMES[name]
    dataset = PREPARED[name](str(root))
    for index in range(2):
        path = dataset.label_path(index)
        prepared = path.with_name(path.name.removesuffix(published_suffix) + prepared_suffix)
        path.unlink()
        Pillow.fromarray(labels[index]).save(prepared)
    assert (root / folder).is_dir()
    again = PREPARED[name](str(root))
    assert again.files.layout.title == "train ids"
    assert all(np.array_equal(again.label(index), labels[index]) for index in range(2))


def test_the_official_layouts_of_mapillary_urbansyn_and_older_bdd(tmp_path: Path) -> None:
    root = fake("mapillary", tmp_path)
    half = Mapillary(str(root), "val")
    image, label = half.image(0), half.label(0)
    prepared = tmp_path / "prepared"
    for folder, pixels, suffix in (("val_img", image, ".jpg"), ("val_label", label, ".png")):
        (prepared / "half" / folder).mkdir(parents=True)
        Pillow.fromarray(pixels).save(prepared / "half" / folder / f"a{suffix}")
    assert np.array_equal(Mapillary(str(prepared), "val").label(0), label)  # and no config file is asked for
    root = fake("urbansyn", tmp_path)
    truth = UrbanSyn(str(root)).label(0)
    for path in (root / "ss").iterdir():
        path.rename(path.with_name(path.name.replace("ss_", "rgb_")))
    assert np.array_equal(UrbanSyn(str(root)).label(0), truth)
    root = fake("bdd100k", tmp_path)
    truth = BDD100K(str(root), "val").label(0)
    (root / "seg").mkdir()
    (root / "images/10k").rename(root / "seg/images")
    (root / "labels/sem_seg/masks").rename(root / "seg/labels")
    for path in (root / "seg/labels").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_train_id.png"))
    assert np.array_equal(BDD100K(str(root), "val").label(0), truth)


def remove_label(dataset: PublishedSegmentation) -> str:
    dataset.label_path(1).unlink()
    return "1 images have no label, first"


def wrong_shape(dataset: PublishedSegmentation) -> str:
    path = dataset.label_path(1)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), stored[:, : stored.shape[1] // 2])
    return "1 labels have another shape than their image, first"


def unknown_id(dataset: PublishedSegmentation) -> str:
    path = dataset.label_path(1)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored.ndim == 2:
        stored[:] = 200
    elif stored.dtype == np.uint16:
        stored[:, :, 2] = 200
    else:
        with Pillow.open(path) as image:  # a palette, which OpenCV turned into colours
            stored = np.full_like(np.array(image), 200)
    cv2.imwrite(str(path), stored)
    return "label id 200 (100.0%) belongs to no class"


def eight_bit_colours(dataset: PublishedSegmentation) -> str:
    path = dataset.label_path(1)
    height, width = dataset.label(1).shape
    Pillow.fromarray(np.full((height, width, 3), 77, dtype=np.uint8)).save(path)
    return "three 16 bit channels" if isinstance(dataset, Synthia) else "(77, 77, 77) (100.0%) belongs to no class"


def truncated_image(dataset: PublishedSegmentation) -> str:
    path = dataset.image_path(1)
    path.write_bytes(path.read_bytes()[:200])
    return "cannot be read as image"


@pytest.mark.parametrize("damage", [remove_label, wrong_shape, unknown_id, eight_bit_colours, truncated_image])
@pytest.mark.parametrize("name", DRIVING)
def test_damage_is_found_and_named(
    name: str, damage: Callable[[PublishedSegmentation], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = fake(name, tmp_path)
    dataset = first_part(name, root)
    culprit = dataset.name(1).rpartition("/")[2].removeprefix("rgb_")
    words = damage(dataset)
    assert main(["data", "check", name, str(root), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert culprit in line
    record = json.loads((tmp_path / "out/check.json").read_text())
    part = next(iter(published_parts(name, str(root))))
    assert sum(words in problem for problem in record[f"{name}-{part}"]["problems"]) == 1


def emptied(split: Path) -> tuple[str, str]:
    """As where the archives of the classes lie there, not unpacked."""
    for path in split.rglob("*.JPEG"):
        path.unlink()
    return "no image in this folder or below it", split.name


def cut_off(split: Path) -> tuple[str, str]:
    path = min(split.rglob("*.JPEG"))
    path.write_bytes(path.read_bytes()[:300])
    return "cannot be read as image", path.name


def a_web_page(split: Path) -> tuple[str, str]:
    """As a refused download leaves it."""
    path = min(split.rglob("*.JPEG"))
    path.write_text("<html>403 Forbidden</html>")
    return "the format is unknown or the file is damaged", path.name


def without_validation(split: Path) -> tuple[str, str]:
    shutil.rmtree(split.with_name("val"))
    return "no ImageNet-1k (val) here", "imagenet"


@pytest.mark.parametrize("damage", [emptied, cut_off, a_web_page, without_validation])
@pytest.mark.parametrize("parent", ["", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_is_checked_too(
    parent: str, damage: Callable[[Path], tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, folder = tmp_path / "imagenet", tmp_path / "imagenet" / parent
    write_fake("imagenet", tmp_path / "fake", images=6, size=SIZE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "fake").rename(folder)
    command = ["data", "check", "imagenet", str(root), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "imagenet-val: images: 6" in capsys.readouterr().out
    words, culprit = damage(folder / "train")
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert culprit in line


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_missing_data_set_is_one_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, parts = CATALOGUE[name]
    for dataset in parts(str(tmp_path / "nowhere")).values():
        with pytest.raises(UserError) as caught:
            len(dataset)
        message = str(caught.value)
        assert "\n" not in message
        for part in (str(tmp_path / "nowhere"), card.title, "looked for", card.homepage, card.licence):
            assert part in message
    monkeypatch.delenv("GKD_DATA", raising=False)
    with pytest.raises(UserError, match="GKD_DATA is not set"):
        parts(None)


def test_folders_below_gkd_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    assert GTAV().root == tmp_path / "gtav"
    write_fake("gtav", tmp_path / "GTA5", images=1, size=SIZE)
    assert len(GTAV()) == 1  # the official repository's name of the folder
    (tmp_path / "imagenet/ILSVRC/Data/CLS-LOC/val/n01440764").mkdir(parents=True)
    Pillow.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(
        tmp_path / "imagenet/ILSVRC/Data/CLS-LOC/val/n01440764/ILSVRC2012_val_00000293.JPEG"
    )
    assert ImageNet(split="val").name(0) == "n01440764/ILSVRC2012_val_00000293.JPEG"


def test_wrong_arguments() -> None:
    with pytest.raises(UserError, match="no split 'test'; give one of train, val"):
        Cityscapes("x", "test")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no condition 'sun'"):
        ACDC("x", "val", "sun")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no version 'v1'"):
        Mapillary("x", "val", version="v1")  # type: ignore[arg-type]


def test_mapillary_without_its_list_of_classes(tmp_path: Path) -> None:
    root = fake("mapillary", tmp_path)
    (root / "config_v1.2.json").write_text("{}")
    with pytest.raises(UserError, match=r"config_v1.2.json: not Mapillary's list"):
        len(Mapillary(str(root)))
    (root / "config_v1.2.json").unlink()
    with pytest.raises(UserError, match=r"config_v1.2.json: no such file"):
        len(Mapillary(str(root)))


def test_night_has_six_more_images() -> None:
    assert [ACDC("x", "val", condition).expected for condition in ("night", "fog")] == [106, 100]  # type: ignore[arg-type]


def test_fakes_never_mix_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("kept")
    for arguments, words in (
        (["gtav", str(tmp_path / "full")], "is not empty"),
        (["gtva", str(tmp_path / "new")], "no imitation"),
        (["gtav", str(tmp_path / "new"), "--images", "0"], "at least one"),
    ):
        with pytest.raises(UserError, match=words):
            write_fake(arguments[0], Path(arguments[1]), images=0 if "--images" in arguments else 2)
        assert main(["data", "fake", *arguments]) == 2
    assert not (tmp_path / "new").exists()


def test_the_command_writes_what_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "bdd")
    assert main(["data", "fake", "bdd100k", folder, "--images", "2", "--width", "64", "--height", "48"]) == 0
    assert "8 files in the layout of bdd100k" in capsys.readouterr().out
    assert main(["data", "check", "bdd100k", folder, "--split", "val", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "the truth as prediction scores 100.0" in out
    assert "bdd100k-train" not in out
    shutil.rmtree(tmp_path / "bdd/labels/sem_seg/masks/train")
    assert (
        main(["data", "check", "bdd100k", folder, "--out", str(tmp_path / "out")]) == 2
    )  # and looks at the other part
    found = capsys.readouterr()
    assert found.err.startswith("gkd: 1 problem, first: bdd100k-train: ")
    assert "bdd100k-val: the truth as prediction scores 100.0" in found.out
    assert main(["data", "check", "bdd100k", folder, "--split", "vla"]) == 2
    assert "--split vla: bdd100k has train, val" in capsys.readouterr().err
