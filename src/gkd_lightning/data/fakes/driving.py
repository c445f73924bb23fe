"""Imitations of ImageNet and the driving data sets: the exact folders, names and encodings, a few invented streets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data.benchmarks.driving import ACDC, CONDITIONS, SYNTHIA_TRAIN_IDS
from gkd_lightning.data.benchmarks.mapillary import class_map
from gkd_lightning.data.fakes.mapillary_names import VISTAS_1_2, VISTAS_2_0
from gkd_lightning.data.fakes.scenes import Scene, Streets, save, save_16_bit_rgb, stored
from gkd_lightning.data.labels import TRAIN_IDS
from gkd_lightning.data.minicity import MiniCityShapes
from gkd_lightning.data.types import CITYSCAPES_19, Label

Size = tuple[int, int]


def _palette(ids: Mapping[int, int]) -> NDArray[np.uint8]:
    """Colours (256, 3) of stored ids, from stored id -> train id."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[list(ids)] = [CITYSCAPES_19.palette[train_id] for train_id in ids.values()]
    return colours


def _label_ids(label: Label) -> Label:
    return stored(label, TRAIN_IDS, void=0)


def _save_truth(path: Path, label: Label, colours: str) -> None:
    """Label ids, train ids and colours, each with its own end of the name."""
    save(path.with_name(f"{path.name}_labelIds.png"), _label_ids(label))
    save(path.with_name(f"{path.name}_labelTrainIds.png"), label)
    save(path.with_name(f"{path.name}_{colours}.png"), _palette({train_id: train_id for train_id in range(19)})[label])


def gtav(root: Path, images: int, size: Size) -> None:
    """Palette PNGs of label ids."""
    streets = Streets("game", seed=11, size=size)
    for number in range(1, images + 1):
        scene = streets.draw()
        save(root / f"images/{number:05d}.png", scene.image)
        save(root / f"labels/{number:05d}.png", _label_ids(scene.label), _palette(TRAIN_IDS))


def cityscapes(root: Path, images: int, size: Size) -> None:
    """City folders; label ids, train ids, instances and colours beside each other."""
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("frankfurt", "lindau"))):
        streets = Streets("day", seed=12 + (split == "val"), size=size)
        for number in range(images):
            city = cities[number % 2]
            name = f"{city}/{city}_{number // 2:06d}_000019"
            scene = streets.draw()
            save(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png", scene.image)
            _save_truth(root / f"gtFine/{split}/{name}_gtFine", scene.label, "color")
            save(root / f"gtFine/{split}/{name}_gtFine_instanceIds.png", _instance_ids(scene))


def _instance_ids(scene: Scene) -> NDArray[np.uint16]:
    """Label ids; of things `label id * 1000 + k`, k from 0 on in every class; a crowd keeps its label id."""
    ids = _label_ids(scene.label).astype(np.uint16)
    for train_id in CITYSCAPES_19.thing_ids:
        own = scene.instances * (scene.label == train_id)
        for k, number in enumerate(np.unique(own[own > 0])):
            pixels = own == number
            ids[pixels] = ids[pixels] * 1000 + k
    return ids


def bdd100k(root: Path, images: int, size: Size) -> None:
    """JPEG images, train ids."""
    for split in ("train", "val"):
        streets = Streets("wild", seed=14 + (split == "val"), size=size)
        for number in range(images):
            name = f"{number * 2654435761 % 2**32:08x}-{number * 40503 % 2**32:08x}"
            scene = streets.draw()
            save(root / f"images/10k/{split}/{name}.jpg", scene.image)
            save(root / f"labels/sem_seg/masks/{split}/{name}.png", scene.label)


def acdc_conditions(root: Path, images: int, size: Size) -> None:
    """Four conditions, each with its own sequence folders."""
    for condition in CONDITIONS:
        for split in ACDC.card.counts:
            streets = Streets(condition, seed=16 + (split == "val"), size=size)
            for number in range(images):
                sequence = f"GOPR{474 + number % 2:04d}"
                name = f"{sequence}/{sequence}_frame_{41 + number:06d}"
                scene = streets.draw()
                save(root / f"rgb_anon/{condition}/{split}/{name}_rgb_anon.png", scene.image)
                _save_truth(root / f"gt/{condition}/{split}/{name}_gt", scene.label, "labelColor")


def dark_zurich(root: Path, images: int, size: Size) -> None:
    """Validation by night, one sequence."""
    streets = Streets("night", seed=30, size=size)
    for number in range(images):
        name = f"val/night/GOPR0356/GOPR0356_frame_{321 + number:06d}"
        scene = streets.draw()
        save(root / f"rgb_anon/{name}_rgb_anon.png", scene.image)
        _save_truth(root / f"gt/{name}_gt", scene.label, "labelColor")


def nighttime_driving(root: Path, images: int, size: Size) -> None:
    """One folder; labels in two encodings and in colours beside each other."""
    streets = Streets("night", seed=31, size=size)
    for number in range(images):
        name = f"test/night/0_frame_{75 + number:04d}"
        scene = streets.draw()
        save(root / f"leftImg8bit/{name}_leftImg8bit.png", scene.image)
        _save_truth(root / f"gtCoarse_daytime_trainvaltest/{name}_gtCoarse", scene.label, "color")


def foggy_zurich(root: Path, images: int, size: Size) -> None:
    """A folder for every encoding, and lists of the test's images, beside which lies one without a label."""
    streets = Streets("fog", seed=32, size=size)
    names = [f"GP010229/1508040913.0_frame_{955 + number:06d}.png" for number in range(images)]
    for name in names:
        scene = streets.draw()
        save(root / "RGB" / name, scene.image)
        save(root / "gt_labelTrainIds" / name, scene.label)
        save(root / "gt_labelIds" / name, _label_ids(scene.label))
    save(root / "RGB/GOPR0229/1508040000.0_frame_000001.png", streets.draw().image)
    (root / "lists_file_names").mkdir()
    for kind in ("RGB", "gt_labelTrainIds", "gt_labelIds"):
        text = "".join(f"{kind}/{name}\n" for name in names)
        (root / f"lists_file_names/{kind}_testv2_filenames.txt").write_text(text, encoding="utf-8")


def foggy_driving(root: Path, images: int, size: Size) -> None:
    """Fine labels for the first half, coarse ones for the rest."""
    streets = Streets("fog", seed=33, size=size)
    for number in range(images):
        fine = number < images / 2
        name = f"test/public/public_20161213_{83206 + number:06d}" if fine else f"test_extra/web/web_fog_{number}"
        kind = "gtFine" if fine else "gtCoarse"
        scene = streets.draw()
        save(root / f"leftImg8bit/{name}_leftImg8bit.png", scene.image)
        save(root / f"{kind}/{name}_{kind}_labelIds.png", _label_ids(scene.label))


def urbansyn(root: Path, images: int, size: Size) -> None:
    """Train ids with 19 for void; the label's name has another prefix."""
    streets = Streets("val", seed=18, size=size)
    for number in range(1, images + 1):
        scene = streets.draw()
        save(root / f"rgb/rgb_{number:04d}.png", scene.image)
        save(root / f"ss/ss_{number:04d}.png", np.where(scene.label == 255, np.uint8(19), scene.label))


def synthia_rand(root: Path, images: int, size: Size) -> None:
    """16 bit RGB labels: class in the red channel, instance in the green one."""
    streets = Streets("game", seed=19, size=size)
    for number in range(images):
        scene = streets.draw()
        truth = np.zeros((*scene.label.shape, 3), dtype=np.uint16)
        truth[..., 0] = stored(scene.label, SYNTHIA_TRAIN_IDS, void=0)
        truth[..., 1] = (scene.label == 13) * (number + 1)
        save(root / f"RGB/{number:07d}.png", scene.image)
        save_16_bit_rgb(root / f"GT/LABELS/{number:07d}.png", truth)


def vistas(root: Path, images: int, size: Size) -> None:
    """Palette PNGs of both versions, their lists of classes, and images of different sizes."""
    versions = {"v1.2": VISTAS_1_2, "v2.0": VISTAS_2_0}
    for version, names in versions.items():
        root.mkdir(parents=True, exist_ok=True)
        entries = [{"name": name.lower().replace(" ", "-"), "readable": name, "evaluate": True} for name in names]
        text = json.dumps({"version": version, "labels": entries}, indent=1)
        (root / f"config_{version}.json").write_text(text, encoding="utf-8")
    for split, folder in (("train", "training"), ("val", "validation")):
        for number in range(images):
            portrait = number % 4 == 3
            streets = Streets("wild", seed=1000 * (split == "val") + number, size=size[::-1] if portrait else size)
            scene = streets.draw()
            name = f"{'abcdefghijklmnopqrstuv'[number % 22]}{number:020d}{split[0]}"
            save(root / f"{folder}/images/{name}.jpg", scene.image)
            for version, names in versions.items():
                _save_vistas_label(root / f"{folder}/{version}/labels/{name}.png", scene, names)


def _save_vistas_label(path: Path, scene: Scene, names: tuple[str, ...]) -> None:
    ids: dict[int, int] = {}
    for class_id, train_id in class_map(names).items():
        if train_id != 255 and train_id not in ids.values():
            ids[class_id] = train_id
    save(path, stored(scene.label, ids, void=len(names) - 1), _palette(ids))


_OBJECTS = ("n01440764", "n02123045", "n04285008", "n07747607")
_MODES = ("RGB", "RGB", "RGB", "L", "RGB", "CMYK")
"""Colour modes in turn; the real training set has both exceptions, if rarer."""


def imagenet(root: Path, images: int, size: tuple[int, int]) -> None:
    """An ImageFolder tree of JPEGs of single objects, some of them grey, CMYK or upright."""
    for split in ("train", "val"):
        objects = MiniCityShapes(images, seed=21 + (split == "val"), cache=False)
        for number in range(images):
            name = _OBJECTS[number % len(_OBJECTS)]
            stem = f"{name}_{number + 1}" if split == "train" else f"ILSVRC2012_val_{number + 1:08d}"
            path = root / split / name / f"{stem}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Pillow.fromarray(np.asarray(objects.image(number)))
            picture = picture.resize(size[::-1] if number % 3 == 2 else size, Pillow.Resampling.BICUBIC)
            picture.convert(_MODES[number % len(_MODES)]).save(path, quality=90)
