"""IDD20K, WildDash 2, MUAD and DeLiVER: encodings, classes, and what `gkd data check` says of damaged ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from gkd_lightning.cli import main
from gkd_lightning.data import CITYSCAPES_19, check_dataset
from gkd_lightning.data.benchmarks import IDD, MUAD, DeLiVER, PublishedSegmentation, WildDash2, published_parts
from gkd_lightning.data.benchmarks.adverse import DELIVER_TRAIN_IDS
from gkd_lightning.data.benchmarks.idd import IDD_CLASSES, IDD_TRAIN_IDS
from gkd_lightning.data.benchmarks.wilddash import wilddash_train_ids
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.data.fakes.scenes import Streets
from gkd_lightning.errors import UserError

SIZE = (96, 64)
NAMES = ("idd", "wilddash2", "muad", "deliver")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All imitations, which no test changes."""
    root = tmp_path_factory.mktemp("wild")
    for name in NAMES:
        write_fake(name, root / name, images=2, size=SIZE)
    return root


@pytest.fixture
def copied(trees: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of them to be changed."""
    return lambda name: Path(shutil.copytree(trees / name, tmp_path / name))


@pytest.mark.parametrize("name", NAMES)
def test_imitations_have_nothing_wrong(name: str, trees: Path) -> None:
    for part, dataset in published_parts(name, str(trees / name)).items():
        check, _ = check_dataset(dataset)
        assert (check.images, check.problems) == (2, []), part
        lacking = {"rider", "train", "motorcycle", "bicycle"} if name == "deliver" else set()
        assert {CITYSCAPES_19.names[i] for i, pixels in enumerate(check.pixels) if pixels == 0} == lacking, part
        assert check.ignored > 0, part
        assert check.notes[-1] == f"the published data set has {dataset.expected} images, here are 2"  # type: ignore[attr-defined]
        assert len(check.notes) == 1 + bool(lacking), part  # no label of another part counts as one without an image


def test_stored_ids_become_the_train_ids_that_were_drawn(trees: Path) -> None:
    drawn: list[tuple[PublishedSegmentation, str, int]] = [
        (IDD(str(trees / "idd"), "val", 1), "wild", 43),
        (IDD(str(trees / "idd"), "val", 2), "wild", 45),
        (WildDash2(str(trees / "wilddash2")), "wild", 46),
        (MUAD(str(trees / "muad"), "test_id_high_adv"), "fog", 55),
    ]
    for dataset, style, seed in drawn:
        assert np.array_equal(dataset.label(0), Streets(style, seed=seed, size=SIZE).draw().label), dataset.card.name
    scene = Streets("fog", seed=62, size=SIZE).draw()  # the second weather
    found = DeLiVER(str(trees / "deliver"), "test").label(1)
    assert np.array_equal(found, np.where(np.isin(scene.label, [12, 16, 17, 18]), 255, scene.label))


def test_the_classes_of_idd_go_by_names_but_for_terrain() -> None:
    by_name = {CITYSCAPES_19.names[train_id]: IDD_CLASSES[class_id] for class_id, train_id in IDD_TRAIN_IDS.items()}
    assert len(by_name) == len(IDD_TRAIN_IDS) == 19
    assert {name: own for name, own in by_name.items() if own != name} == {"terrain": "non-drivable fallback"}


def test_idd_has_the_same_pixels_in_every_encoding(trees: Path, copied: Callable[[str], Path]) -> None:
    maps = IDD(str(trees / "idd"), "val")
    assert maps.files.layout.title == "train ids"  # type: ignore[union-attr]
    root = copied("idd")
    for path in root.rglob("*_labelcsTrainIds.png"):
        path.unlink()
    polygons = IDD(str(root), "val")
    assert polygons.files.layout.title == "published"  # type: ignore[union-attr]
    for index in range(2):
        assert np.array_equal(polygons.label(index), maps.label(index))
        path = polygons.label_path(index)
        drawn = polygons.files._stored_label(path)  # type: ignore[union-attr]
        Pillow.fromarray(drawn).save(path.with_name(path.name.replace("_polygons.json", "_labelids.png")))
    ids = IDD(str(root), "val")
    assert ids.files.layout.title == "ids"  # type: ignore[union-attr]
    assert np.array_equal(ids.label(1), maps.label(1))


def test_idd_draws_as_its_authors_tool(copied: Callable[[str], Path]) -> None:
    dataset = IDD(str(copied("idd")), "val", 2)

    def label_of(*objects: dict[str, Any]) -> np.ndarray:
        plain = {"imgHeight": 4, "imgWidth": 6, "objects": list(objects)}
        dataset.label_path(0).write_text(json.dumps(plain))
        return dataset.label(0)

    everything = [[0, 0], [5, 0], [5, 3], [0, 3]]
    road = {"label": "road", "polygon": everything}
    assert (label_of(road) == 0).all()  # the border's pixels too
    assert (label_of(road, {"label": "car", "polygon": everything, "deleted": 1}) == 0).all()
    assert (label_of(road, {"label": "car", "polygon": everything[:2]}) == 0).all()
    later = label_of(road, {"label": "cargroup", "polygon": [[1, 1], [3, 1], [3, 2], [1, 2]]})
    assert np.count_nonzero(later == 13) == 6
    assert (label_of({"label": "autorickshaw", "polygon": everything}) == 255).all()


def test_the_parts_of_idd(trees: Path) -> None:
    inside = IDD(str(trees / "idd/idd20kII"), "val", 2)
    assert inside.root == trees / "idd"
    assert inside.name(0) == "31/frame0000"
    assert (inside.split_title, inside.expected) == ("part 2 val", 1055)
    with pytest.raises(UserError, match=r"no IDD20K \(part 2 train\) here; looked for idd20kII/leftImg8bit/train"):
        len(IDD(str(trees / "muad"), "train", 2))
    with pytest.raises(UserError, match="no part 3; give 1 or 2"):
        IDD("x", "val", 3)  # type: ignore[arg-type]


def test_wilddash_follows_its_authors_policy() -> None:
    wanted = {
        "traffic light": 6, "trafficlight": 6, "street-light(object)": 255, "road-marking (flat)": 0, "pickup": 14,
        "van": 13, "autorickshaw": 17, "on rails": 16, "curb": 1, "guard rail": 255, "ego vehicle": 255,
    }  # fmt: skip
    assert wilddash_train_ids(list(wanted)) == list(wanted.values())
    assert wilddash_train_ids(CITYSCAPES_19.names) == list(range(19))
    with pytest.raises(UserError, match="'elephant' is not in WildDash 2's label policy"):
        wilddash_train_ids(["road", "elephant"])


def test_the_older_package_of_wilddash(trees: Path, copied: Callable[[str], Path]) -> None:
    newer = WildDash2(str(trees / "wilddash2"))
    assert newer.shared_files == (trees / "wilddash2/panoptic.json",)
    root = copied("wilddash2")
    shutil.rmtree(root / "panoptic")
    (root / "labels").mkdir()
    for number, ids in enumerate(([7, 34, 35], [33, 36, 38])):
        Pillow.fromarray(np.array([ids], np.uint8)).save(root / f"labels/wd{number:04d}.png")
    older = WildDash2(str(root))
    assert older.shared_files == ()
    assert [older.label(index).tolist() for index in range(2)] == [[[0, 14, 13]], [[18, 255, 0]]]


def test_objects_that_muad_adds_are_unknown(copied: Callable[[str], Path]) -> None:
    dataset = MUAD(str(copied("muad")), "test_ood")
    Pillow.fromarray(np.array([[13, 19, 20, 21, 255]], np.uint8)).save(dataset.label_path(0))
    assert dataset.label(0).tolist() == [[13, 255, 255, 255, 255]]
    assert dataset.unknown(0).tolist() == [[False, True, True, False, False]]
    assert dataset.has_unknown
    assert not MUAD(dataset.root, "test_id").has_unknown


def test_the_weathers_of_deliver(trees: Path) -> None:
    every = DeLiVER(str(trees / "deliver"), "val")
    assert [every.name(index) for index in range(2)] == [
        "cloud/val/MAP_2_point102/045050", "fog/val/MAP_2_point103/045051"
    ]  # fmt: skip
    fog = DeLiVER(str(trees / "deliver"), "val", "fog")
    assert [fog.name(index) for index in range(len(fog))] == ["MAP_2_point103/045051"]
    assert np.array_equal(fog.label(0), every.label(1))
    assert (fog.expected, fog.split_title, every.split_title) == (0, "fog val", "val")
    assert set(DELIVER_TRAIN_IDS.values()) == set(range(19)) - {12, 16, 17, 18}
    with pytest.raises(UserError, match="no weather 'snow'; give one of cloud, fog, night, rain, sun, or null"):
        DeLiVER("x", "val", "snow")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"looked for img/\*/test/\*_rgb_front.png with semantic/\*/test/\*_semantic"):
        len(DeLiVER("x", "test"))


def remove_label(dataset: PublishedSegmentation) -> str:
    dataset.label_path(1).unlink()
    return "1 images have no label, first"


def another_size(dataset: PublishedSegmentation) -> str:
    path = dataset.label_path(1)
    if path.suffix == ".json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"imgWidth": SIZE[0] // 2}))
    else:
        Pillow.fromarray(np.array(Pillow.open(path))[:, : SIZE[0] // 2]).save(path)
    return "1 labels have another shape than their image, first"


def unknown_class(dataset: PublishedSegmentation) -> str:
    path = dataset.label_path(1)
    if path.suffix == ".json":
        path.write_text(path.read_text().replace('"building"', '"elephant"'))
        return "'elephant' is none of IDD's classes"
    stored = np.array(Pillow.open(path))
    stored[:] = 200
    Pillow.fromarray(stored).save(path)
    if isinstance(dataset, WildDash2):
        return f"has segment {200 * 65793}, which"
    return "label id 200 (100.0%) belongs to no class"


def cut_off(dataset: PublishedSegmentation) -> str:
    path = dataset.label_path(1)
    path.write_bytes(path.read_bytes()[:60])
    return "is no whole JSON" if path.suffix == ".json" else "cannot be read as label"


def cut_off_image(dataset: PublishedSegmentation) -> str:
    path = dataset.image_path(1)
    path.write_bytes(path.read_bytes()[:200])
    return "cannot be read as image"


DAMAGED = {"idd": "part2-val", "wilddash2": "public", "muad": "val", "deliver": "test"}


@pytest.mark.parametrize("damage", [remove_label, another_size, unknown_class, cut_off, cut_off_image])
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_found_and_named(
    name: str,
    damage: Callable[[PublishedSegmentation], str],
    copied: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, part = copied(name), DAMAGED[name]
    dataset = published_parts(name, str(root))[part]
    assert isinstance(dataset, PublishedSegmentation)
    culprit = Path(dataset.name(1)).name
    words = damage(dataset)
    assert main(["data", "check", name, str(root), "--split", part, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert culprit in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain.pop("categories"), "categories: lacks 'categories'"),
        (lambda plain: plain.pop("annotations"), "has no annotation"),
        (lambda plain: plain["categories"][0].update(name="elephant"), "categories: category 'elephant' is not in"),
        (lambda plain: plain["annotations"][1]["segments_info"][0].update(category_id=99), "annotation 1 of the list"),
        (lambda plain: plain["annotations"][1]["segments_info"][0].update(id=1 << 24), "is no colour of a picture"),
    ],
)
def test_wilddashs_file_of_segments_is_checked(
    change: Callable[[dict[str, Any]], object], words: str, copied: Callable[[str], Path]
) -> None:
    root = copied("wilddash2")
    changed(root, change)
    with pytest.raises(UserError, match=f"panoptic.json: .*{words}"):
        len(WildDash2(str(root)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain["annotations"].pop(), "has no annotation of it"),
        (lambda plain: plain["annotations"][1]["segments_info"].pop(), "has segment"),
    ],
)
def test_wilddashs_pictures_fit_its_file(
    change: Callable[[dict[str, Any]], object], words: str, copied: Callable[[str], Path]
) -> None:
    root = copied("wilddash2")
    changed(root, change)
    check, _ = check_dataset(WildDash2(str(root)))
    assert check.images == 1
    assert words in check.unreadable[0]


def changed(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "panoptic.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
