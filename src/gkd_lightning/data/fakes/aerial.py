"""Imitations of the aerial data sets: invented towns seen from above, in visible and infrared light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from gkd_lightning.data.benchmarks.isprs import AREAS
from gkd_lightning.data.benchmarks.openearthmap import XBD_REGIONS
from gkd_lightning.data.fakes.scenes import save
from gkd_lightning.data.types import ISPRS_6, Label

Size = tuple[int, int]
_IMPERVIOUS, _BUILDING, _LOW, _TREE, _CAR, _CLUTTER = range(6)
_TO_RESCUENET = np.array([7, 2, 9, 9, 6, 1], dtype=np.uint8)
"""One of RescueNet's ids for each of the six classes."""
_TO_LOVEDA = np.array([3, 2, 7, 6, 1, 5], dtype=np.uint8)
"""One of LoveDA's ids for each of the six classes; water is drawn on top."""
_TO_OPENEARTHMAP = np.array([4, 8, 2, 5, 3, 1], dtype=np.uint8)
"""One of OpenEarthMap's ids for each of the six classes; water is drawn on top."""
_LOVEDA_FIRST = {"Train/Rural": 0, "Train/Urban": 1366, "Val/Rural": 2522, "Val/Urban": 3514}
"""The first image's number: they are counted through all folders."""
_LAND = {"tokyo": (1.0, 1.0, 1.0), "vienna": (1.25, 1.1, 0.9), "jeremie": (1.0, 1.0, 1.0)}
"""Regions of OpenEarthMap and the colour of their light: a source, a target, and one whose images are xBD's."""


def town(size: Size, seed: int) -> tuple[NDArray[np.uint8], Label]:
    """Red, green, blue and infrared uint8 (H, W, 4), and the six classes uint8 (H, W).

    Streets divide lawns into blocks, with houses, trees, parked cars and a building site.
    """
    width, height = size
    draw = np.random.RandomState(seed)
    rows, columns = np.indices((height, width))
    label = np.full((height, width), _LOW, dtype=np.uint8)
    colour = np.empty((height, width, 4), dtype=np.float64)
    colour[:] = (104, 128, 78, 170)
    colour += 14 * np.sin(columns / 7 + seed)[..., None] * np.sin(rows / 11)[..., None]
    block = max(24, min(size) // 3)
    road = max(4, block // 6)

    def paint(where: NDArray[np.bool_], class_id: int, *values: float) -> None:
        label[where], colour[where] = class_id, values

    for top in range(0, height, block):
        for left in range(0, width, block):
            kind = draw.randint(0, 5)
            for _ in range(3 + 4 * (kind == 0)):
                y, x, radius = top + draw.randint(road, block), left + draw.randint(road, block), draw.randint(2, road)
                green = draw.randint(60, 100)
                paint((rows - y) ** 2 + (columns - x) ** 2 <= radius**2, _TREE, green * 0.6, green, green * 0.5, 205)
            if kind != 0:
                y1, x1 = top + road + draw.randint(2, road + 1), left + road + draw.randint(2, road + 1)
                y2, x2 = y1 + block // 3 + draw.randint(0, road), x1 + block // 2
                red = draw.randint(120, 190)
                roof = (rows >= y1) & (rows < y2) & (columns >= x1) & (columns < x2)
                paint(roof, _BUILDING, red, red * 0.6, red * 0.5, 90)
                paint(roof & (rows >= (y1 + y2) // 2), _BUILDING, red * 0.75, red * 0.45, red * 0.38, 70)
            if kind == 1:
                site = (rows >= top + block * 3 // 4) & (rows < top + block) & (columns >= left + block * 3 // 4)
                paint(site & (columns < left + block), _CLUTTER, 176, 150, 112, 120)
    street = (rows % block < road) | (columns % block < road)
    paint(street, _IMPERVIOUS, 128, 128, 132, 80)
    length, breadth = max(6, road // 2), max(3, road // 4)
    for _ in range(max(4, width * height // (40 * block))):
        y = draw.randint(0, height // block + 1) * block + draw.randint(0, max(1, road - breadth))
        x = draw.randint(0, width)
        car = (rows >= y) & (rows < y + breadth) & (columns >= x) & (columns < x + length)
        paint(car & street, _CAR, *draw.randint(30, 250, 3), 60)
    colour += draw.normal(0, 5, colour.shape)
    return np.clip(colour, 0, 255).astype(np.uint8), label


def _in_colours(label: Label) -> NDArray[np.uint8]:
    return np.array(ISPRS_6.palette, dtype=np.uint8)[label]


def _write_tiff(path: Path, pixels: NDArray[np.uint8], extra: tuple[str, ...] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=extra or None)


def potsdam(root: Path, images: int, size: Size) -> None:
    """Large TIFFs in three folders of bands, labels in colours."""
    for split, areas in AREAS["potsdam"].items():
        for number, area in enumerate(areas[:images]):
            pixels, label = town(size, seed=number + 100 * (split == "val"))
            _write_tiff(root / f"2_Ortho_RGB/top_potsdam_{area}_RGB.tif", pixels[..., :3])
            _write_tiff(root / f"3_Ortho_IRRG/top_potsdam_{area}_IRRG.tif", pixels[..., [3, 0, 1]])
            _write_tiff(root / f"4_Ortho_RGBIR/top_potsdam_{area}_RGBIR.tif", pixels, extra=("unspecified",))
            _write_tiff(root / f"5_Labels_all/top_potsdam_{area}_label.tif", _in_colours(label))


def vaihingen(root: Path, images: int, size: Size) -> None:
    """Large infrared TIFFs of different sizes, labels in colours."""
    truth = "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE"
    for split, areas in AREAS["vaihingen"].items():
        for number, area in enumerate(areas[:images]):
            pixels, label = town((size[0] + 8 * number, size[1]), seed=500 + number + 100 * (split == "val"))
            _write_tiff(root / f"top/top_mosaic_09cm_area{area}.tif", pixels[..., [3, 0, 1]])
            _write_tiff(root / f"{truth}/top_mosaic_09cm_area{area}.tif", _in_colours(label))


def rescuenet(root: Path, images: int, size: Size) -> None:
    """JPEG images and PNGs of ids, a strip without truth along one edge."""
    for offset, split in enumerate(("train", "val", "test")):
        for number in range(images):
            pixels, label = town(size, seed=1000 + 100 * offset + number)
            ids = _TO_RESCUENET[label]
            ids[:, : max(1, size[0] // 32)] = 0
            save(root / f"{split}/{split}-org-img/{10778 + number}.jpg", pixels[..., :3])
            save(root / f"{split}/{split}-label-img/{10778 + number}_lab.png", ids)


def loveda(root: Path, images: int, size: Size) -> None:
    """PNG images and PNGs of ids; the country is brighter and drier."""
    for folder, first in _LOVEDA_FIRST.items():
        tint = (1.25, 1.1, 0.9) if folder.endswith("Rural") else (1.0, 1.0, 1.0)
        for number in range(first, first + images):
            colour, ids = _land_cover(size, 2000 + number, _TO_LOVEDA, 4, tint)
            save(root / f"{folder}/images_png/{number}.png", colour)
            save(root / f"{folder}/masks_png/{number}.png", ids)


def openearthmap(root: Path, images: int, size: Size) -> None:
    """TIFFs of colours and of ids, the lists of all regions' images, and no image where it would be xBD's."""
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for place, (region, tint) in enumerate(_LAND.items()):
        for number in range(2 * images):
            name = f"{region}_{number + 1}.tif"
            lists["train" if number < images else "val"].append(name)
            colour, ids = _land_cover(size, 3000 + 100 * place + number, _TO_OPENEARTHMAP, 6, tint)
            ids[:, size[0] // 2 :][ids[:, size[0] // 2 :] == 2] = 7  # what grows in the east is farmed
            save(root / region / "labels" / name, ids)
            if region not in XBD_REGIONS:
                save(root / region / "images" / name, colour)
    for split, names in lists.items():
        (root / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def _land_cover(
    size: Size, seed: int, ids: NDArray[np.uint8], water: int, tint: tuple[float, float, float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colours uint8 (H, W, 3) and ids uint8 (H, W) of a town, with a pond in a corner and a strip without data."""
    width, height = size
    rows, columns = np.indices((height, width))
    pond = (rows - height) ** 2 + (columns - width) ** 2 <= (min(size) // 4) ** 2
    pixels, label = town(size, seed)
    stored, colour = ids[label], np.clip(pixels[..., :3] * tint, 0, 255).astype(np.uint8)
    stored[pond], colour[pond] = water, (38, 62, 84)
    stored[:, : max(1, width // 32)], colour[:, : max(1, width // 32)] = 0, 255
    return colour, stored
