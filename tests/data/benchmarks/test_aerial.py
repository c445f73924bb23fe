"""The aerial data sets: tiles of large images, bands, colours, prepared folders, and damage that is named."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from gkd_lightning.cli import main
from gkd_lightning.data import check_dataset
from gkd_lightning.data.benchmarks import LoveDA, OpenEarthMap, Potsdam, PotsdamRescue, RescueNet, Vaihingen
from gkd_lightning.data.benchmarks.catalogue import published_parts
from gkd_lightning.data.benchmarks.isprs import AREAS, ids_of_colours
from gkd_lightning.data.benchmarks.openearthmap import REGIONS, TARGET_REGIONS, XBD_REGIONS
from gkd_lightning.data.benchmarks.tiles import tiff_shape, tiff_window, tile_boxes
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.data.fakes.aerial import town
from gkd_lightning.data.modules import preset_protocol
from gkd_lightning.errors import UserError

SIZE = (640, 560)
Aerial = Potsdam | Vaihingen | RescueNet | LoveDA | OpenEarthMap


@pytest.fixture(scope="module")
def potsdam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("isprs") / "potsdam"
    write_fake("potsdam", root, images=2, size=SIZE)
    return root


def test_tiles_of_the_published_images_are_as_many_as_mmsegmentation_s() -> None:
    per_area = len(tile_boxes(6000, 6000))
    assert per_area == 144
    assert [per_area * len(AREAS["potsdam"][split]) for split in ("train", "val")] == [3456, 2016]
    assert {split: len(areas) for split, areas in AREAS["vaihingen"].items()} == {"train": 16, "val": 17}
    assert not set(AREAS["potsdam"]["train"]) & set(AREAS["potsdam"]["val"])


VAIHINGEN_SIZES = {
    "train": [
        (1919, 2569), (2006, 3007), (1887, 2557), (1887, 2557), (1893, 2566), (2818, 2558), (1919, 2565), (2336, 1281),
        (1903, 2546), (1903, 2546), (2995, 1783), (1917, 2567), (1934, 2563), (1980, 2555), (1388, 2555), (1996, 1995),
    ],
    "val": [
        (2428, 2767), (1887, 2557), (1887, 2557), (1887, 2557), (1887, 2557), (1922, 2575), (1919, 2565), (1919, 2565),
        (1866, 2315), (1903, 2546), (1903, 2546), (1917, 3313), (1917, 2563), (1980, 2555), (1581, 2555), (2805, 1884),
        (3816, 2550),
    ],
}  # fmt: skip
"""Width and height of the real images, in the order of their areas."""


def test_tiles_of_vaihingen_s_real_sizes_are_as_many_as_mmsegmentation_s() -> None:
    counts = {split: sum(len(tile_boxes(*size)) for size in sizes) for split, sizes in VAIHINGEN_SIZES.items()}
    assert counts == Vaihingen.card.counts == {"train": 344, "val": 398}
    assert {split: len(sizes) for split, sizes in VAIHINGEN_SIZES.items()} == {"train": 16, "val": 17}


def test_tiles_cover_the_image_and_stay_inside() -> None:
    boxes = tile_boxes(640, 560)
    assert boxes == [(0, 0, 512, 512), (128, 0, 640, 512), (0, 48, 512, 560), (128, 48, 640, 560)]
    assert tile_boxes(300, 512) == [(0, 0, 300, 512)]


def test_bands_and_classes(potsdam: Path) -> None:
    pixels, label = town(SIZE, seed=0)
    rgb, irrg = Potsdam(str(potsdam)), Potsdam(str(potsdam), bands="IRRG")
    assert (len(rgb), rgb.name(1)) == (8, "2_10_0_48_512_560")
    assert np.array_equal(rgb.image(1), pixels[48:, :512, :3])
    assert np.array_equal(irrg.image(1), pixels[48:, :512, [3, 0, 1]])
    assert np.array_equal(rgb.label(1), label[48:, :512])
    merged = Potsdam(str(potsdam), classes="rescue-5").label(1)
    assert np.array_equal(merged, np.array([0, 1, 2, 2, 3, 4])[label[48:, :512]])


def test_four_bands_serve_both(tmp_path: Path) -> None:
    write_fake("potsdam", tmp_path / "p", images=1, size=SIZE)
    pixels, _ = town(SIZE, seed=0)
    for name in ("2_Ortho_RGB", "3_Ortho_IRRG"):
        (tmp_path / "p" / name).rename(tmp_path / name)
    for bands, channels in (("RGB", [0, 1, 2]), ("IRRG", [3, 0, 1])):
        data = Potsdam(str(tmp_path / "p"), bands=bands)  # type: ignore[arg-type]
        assert data.image_path(0).parent.name == "4_Ortho_RGBIR"
        assert np.array_equal(data.image(0), pixels[:512, :512][..., channels])


def test_a_four_band_file_with_three_is_named(tmp_path: Path) -> None:
    write_fake("potsdam", tmp_path / "p", images=1, size=(96, 64))
    for name in ("2_Ortho_RGB", "3_Ortho_IRRG"):
        (tmp_path / "p" / name).rename(tmp_path / name)
    path = tmp_path / "p/4_Ortho_RGBIR/top_potsdam_2_10_RGBIR.tif"
    tifffile.imwrite(path, np.zeros((64, 96, 3), dtype=np.uint8), photometric="rgb")
    check, _ = check_dataset(Potsdam(str(tmp_path / "p"), bands="IRRG"))
    assert check.unreadable == [f"{path}: has 3 bands of uint8; expected 4 bands of uint8"]


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_a_fourth_band_survives_however_it_is_declared(extra: int, options: dict[str, str], tmp_path: Path) -> None:
    pixels, _ = town((96, 64), seed=3)
    path = tmp_path / "bands.tif"
    stored = np.moveaxis(pixels, -1, 0) if options.get("planarconfig") else pixels
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=(extra,), **options)
    assert tiff_shape(path) == (64, 96, 4)
    assert np.array_equal(tiff_window(path, (10, 20, 50, 60), 4), pixels[20:60, 10:50])
    with pytest.raises(UserError, match=r"bands.tif: has 4 bands of uint8; expected 3 bands"):
        tiff_window(path, (0, 0, 8, 8), 3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_three_bands_are_read_in_compressions_that_tifffile_lacks(compression: str, tmp_path: Path) -> None:
    pixels = town((96, 64), seed=3)[0][..., :3]
    Pillow.fromarray(pixels).save(tmp_path / "label.tif", compression=compression)
    found = tiff_window(tmp_path / "label.tif", (10, 20, 50, 60), 3)
    assert np.abs(found.astype(int) - pixels[20:60, 10:50]).mean() < (1 if compression == "tiff_lzw" else 20)


def test_damaged_colours_of_two_real_labels_are_rounded() -> None:
    stored = np.array(
        [
            [(252, 255, 0), (9, 222, 221), (225, 227, 227), (0, 0, 0)],
            [(60, 40, 200), (80, 230, 70), (255, 0, 20), (0, 0, 0)],
        ],
        dtype=np.uint8,
    )  # fmt: skip
    assert ids_of_colours("isprs-6", stored, "x").tolist() == [[4, 2, 0, 255], [1, 3, 5, 255]]
    assert ids_of_colours("rescue-5", stored, "x").tolist() == [[3, 2, 0, 255], [1, 2, 4, 255]]
    for colour in ((255, 0, 255), (3, 0, 0), (255, 120, 0)):  # magenta, nearly black, between red and yellow
        with pytest.raises(UserError, match=r"x: colour .* \([\d.]+%\) belongs to no class; add it"):
            ids_of_colours("isprs-6", np.array([[colour]], dtype=np.uint8), "x")


def test_data_sets_of_tiles_travel_to_worker_processes(potsdam: Path) -> None:
    data = Potsdam(str(potsdam))
    label = data.label(0)
    assert np.array_equal(pickle.loads(pickle.dumps(data)).label(0), label)


def test_tiles_of_vaihingen_are_named_as_by_mmsegmentation(tmp_path: Path) -> None:
    write_fake("vaihingen", tmp_path / "v", images=1, size=(96, 64))
    assert Vaihingen(str(tmp_path / "v")).name(0) == "area2_0_0_96_64"


def test_prepared_tiles_are_read_as_they_are(potsdam: Path, tmp_path: Path) -> None:
    large = Potsdam(str(potsdam))
    for folder, pixels in (("img_dir", large.image(0)), ("ann_dir", (large.label(0) + 1).astype(np.uint8))):
        path = tmp_path / f"RGB/{folder}/train/{large.name(0)}.png"
        path.parent.mkdir(parents=True)
        if folder == "ann_dir":
            pixels[0, 0] = 0
        Pillow.fromarray(pixels).save(path)
    prepared = Potsdam(str(tmp_path))
    assert (len(prepared), prepared.name(0)) == (1, large.name(0))
    assert prepared.label(0)[0, 0] == 255
    assert np.array_equal(prepared.label(0).ravel()[1:], large.label(0).ravel()[1:])
    rescue = Potsdam(str(tmp_path), classes="rescue-5").label(0)
    assert np.array_equal(rescue.ravel()[1:], np.array([0, 1, 2, 2, 3, 4])[large.label(0).ravel()[1:]])
    Pillow.fromarray(np.array([[0, 1, 2, 3, 4, 5]] * 6, dtype=np.uint8)).save(path)
    relabelled = PotsdamRescue(str(tmp_path))
    assert relabelled.label(0)[0].tolist() == [255, 0, 1, 2, 3, 4]


def test_rescuenet(tmp_path: Path) -> None:
    write_fake("rescuenet", tmp_path / "r", images=1, size=(96, 64))
    data = RescueNet(str(tmp_path / "r"), "val")
    _, label = town((96, 64), seed=1100)
    wanted = np.array([0, 1, 2, 2, 3, 4])[label]
    wanted[:, :3] = 255
    assert np.array_equal(data.label(0), wanted)
    ids = np.arange(11, dtype=np.uint8)[None].repeat(64, axis=0)
    Pillow.fromarray(ids).save(data.label_path(0))
    assert data.label(0)[0].tolist() == [255, 4, 1, 1, 1, 1, 3, 0, 4, 2, 4]
    for kind in ("org", "label"):  # the official repository's layout: relabelled, without a folder for the split
        (tmp_path / f"r/test/test-{kind}-img").rename(tmp_path / f"r/test-{kind}-img")
    flat = RescueNet(str(tmp_path / "r"), "test")
    Pillow.fromarray(np.array([[0, 1, 5]] * 2, dtype=np.uint8)).save(flat.label_path(0))
    assert flat.label(0)[0].tolist() == [255, 0, 4]


def test_loveda_is_two_domains_in_one_folder(tmp_path: Path) -> None:
    write_fake("loveda", tmp_path / "LoveDA", images=1, size=(96, 64))
    root = str(tmp_path / "LoveDA")
    parts: dict[str, Any] = published_parts("loveda", root)
    assert {name: (len(part), part.name(0)) for name, part in parts.items()} == {
        "urban-train": (1, "1366"), "urban-val": (1, "3514"), "rural-train": (1, "0"), "rural-val": (1, "2522"),
    }  # fmt: skip
    counts = {name: part.expected for name, part in parts.items()}
    for split, total in LoveDA.card.counts.items():
        assert counts[f"urban-{split}"] + counts[f"rural-{split}"] == total
    data = LoveDA(root, "val", "rural")
    assert (data.split_title, preset_protocol("full-resolution", "x", data).resize) == ("rural val", "none")
    Pillow.fromarray(np.arange(8, dtype=np.uint8)[None].repeat(64, axis=0)).save(data.label_path(0))
    assert data.label(0)[0].tolist() == [255, 0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(UserError, match="LoveDA: no scene 'both'; give one of urban, rural"):
        LoveDA(root, scene="both")  # type: ignore[arg-type]


def test_openearthmap_is_two_domains_by_regions(tmp_path: Path) -> None:
    write_fake("openearthmap", tmp_path / "oem/OpenEarthMap_wo_xBD", images=1, size=(96, 64))
    root = tmp_path / "oem"
    parts: dict[str, Any] = published_parts("openearthmap", str(root))
    assert {name: (len(part), part.name(0)) for name, part in parts.items()} == {
        "source-train": (1, "tokyo/images/tokyo_1"), "source-val": (1, "tokyo/images/tokyo_2"),
        "target-train": (1, "vienna/images/vienna_1"), "target-val": (1, "vienna/images/vienna_2"),
    }  # fmt: skip
    counts = {name: part.expected for name, part in parts.items()}
    whole = {"train": 3000, "val": 500}
    for split, total in OpenEarthMap.card.counts.items():
        assert counts[f"source-{split}"] + counts[f"target-{split}"] == total
        both = [OpenEarthMap(str(root), split, regions, xbd=True).expected for regions in REGIONS]  # type: ignore[arg-type]
        assert sum(both) == whole[split]
    assert (len(TARGET_REGIONS), len(XBD_REGIONS), len(TARGET_REGIONS & XBD_REGIONS)) == (24, 22, 6)
    data = OpenEarthMap(str(root), "val", "target")
    assert (data.split_title, preset_protocol("full-resolution", "x", data).resize) == ("target val", "none")
    Pillow.fromarray(np.arange(9, dtype=np.uint8)[None].repeat(64, axis=0)).save(data.label_path(0))
    assert data.label(0)[0].tolist() == [255, 0, 1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(UserError, match="OpenEarthMap: no regions 'asia'; give one of source, target"):
        OpenEarthMap(str(root), regions="asia")  # type: ignore[arg-type]


def test_openearthmap_with_the_images_of_xbd(tmp_path: Path) -> None:
    write_fake("openearthmap", tmp_path / "oem", images=1, size=(96, 64))
    data = OpenEarthMap(str(tmp_path / "oem"), xbd=True)
    with pytest.raises(UserError, match=r"train.txt: 1 listed images are not below .*oem, first 'jeremie_1.tif'"):
        len(data)
    (tmp_path / "oem/jeremie/images").mkdir()
    Pillow.fromarray(town((96, 64), seed=3)[0][..., :3]).save(tmp_path / "oem/jeremie/images/jeremie_1.tif")
    assert [data.name(index) for index in range(len(data))] == ["tokyo/images/tokyo_1", "jeremie/images/jeremie_1"]
    assert (data.split_title, data.label(1).shape) == ("source train with xBD", (64, 96))


def remove_label(dataset: Aerial) -> tuple[str, str]:
    path = dataset.label_path(0)
    path.unlink()
    return "1 images have no label", path.name.removesuffix("_lab.png")


def holds_colours(path: Path) -> bool:
    with Pillow.open(path) as stored:
        return stored.mode != "L"


def unknown(dataset: Aerial) -> tuple[str, str]:
    path = dataset.label_path(0)
    if not holds_colours(path):
        Pillow.fromarray(np.full((64, 96), 99, dtype=np.uint8)).save(path)
        return "label id 99 (100.0%) belongs to no class", path.name
    tifffile.imwrite(path, np.full((*tiff_shape(path)[:2], 3), 77, dtype=np.uint8), photometric="rgb")
    return "colour (77, 77, 77) (100.0%) belongs to no class", path.name


def wrong_size(dataset: Aerial) -> tuple[str, str]:
    path = dataset.label_path(0)
    if not holds_colours(path):
        Pillow.fromarray(np.zeros((10, 96), dtype=np.uint8)).save(path)
        return "another shape than their image", path.stem.removesuffix("_lab")
    tifffile.imwrite(path, np.zeros((10, 20, 3), dtype=np.uint8), photometric="rgb")
    return "is 20x10, its image is", path.name


def wrong_bands(dataset: Aerial) -> tuple[str, str]:
    path = dataset.image_path(0)
    if not isinstance(dataset, Potsdam | Vaihingen):
        path.write_bytes(b"no image")
        return "cannot be read as image", path.name
    height, width, _ = tiff_shape(path)
    tifffile.imwrite(path, np.zeros((height, width, 4), dtype=np.uint8), photometric="rgb", extrasamples=(0,))
    return "has 4 bands of uint8; expected 3 bands of uint8", path.name


@pytest.mark.parametrize("damage", [remove_label, unknown, wrong_size, wrong_bands])
@pytest.mark.parametrize("name", ["potsdam", "vaihingen", "rescuenet", "loveda", "openearthmap"])
def test_damage_is_found_and_named(
    name: str, damage: Callable[..., tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fake(name, tmp_path / name, images=2, size=(96, 64))
    parts = published_parts(name, str(tmp_path / name))
    for part in parts.values():
        check, _ = check_dataset(part)
        assert (check.images, check.problems) == (2, [])
        assert all(pixels > 0 for pixels in check.pixels)
    words, culprit = damage(next(iter(parts.values())))
    command = [
        "data",
        "check",
        name,
        str(tmp_path / name),
        "--split",
        next(iter(parts)),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert culprit in line


def test_what_is_missing(tmp_path: Path) -> None:
    for data in (
        Potsdam(str(tmp_path)),
        Vaihingen(str(tmp_path)),
        RescueNet(str(tmp_path)),
        LoveDA(str(tmp_path)),
        OpenEarthMap(str(tmp_path)),
        PotsdamRescue(str(tmp_path)),
    ):
        with pytest.raises(UserError, match=r"here; looked for .* get it from https://"):
            len(data)
    with pytest.raises(UserError, match="2_Ortho_RGB/top_potsdam_"):
        len(Potsdam(str(tmp_path)))
    with pytest.raises(UserError, match="no bands 'RGBIR'; give one of RGB, IRRG"):
        Potsdam("x", bands="RGBIR")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no classes 'six'"):
        Potsdam("x", classes="six")  # type: ignore[arg-type]
