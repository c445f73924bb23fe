"""What a pixel of a scene shows: a part (car roof), made of a material (paint), with a class (car).

A layout stores one code per pixel, `instance * PARTS + part`. Everything that a renderer or a label map needs
to know about a pixel is a look-up by that code.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

SKY, BUILDING, ROAD, SIDEWALK, VEGETATION, CAR, PERSON, POLE = range(8)
OTHER = 255
"""Class of what MiniCity's label space has no name for (balls, animals, furniture of `shapes`)."""

PARTS = 64
"""Codes per instance; a power of two, so that part and instance come out by a mask and a shift."""


Material = IntEnum(
    "Material",
    "SKY FACADE ROOF WINDOW TRIM ROAD MARKING SIDEWALK FOLIAGE GRASS TRUNK PAINT GLASS TYRE HEADLAMP TAILLAMP SKIN "
    "HAIR SHIRT TROUSERS POLE SIGN FIGURE THING",
    start=0,
)
"""What the colour and the texture of a part come from; every style says how each one looks."""


ONE_PER_INSTANCE = frozenset(
    {Material.FACADE, Material.ROOF, Material.TRIM, Material.PAINT, Material.SKIN, Material.HAIR, Material.SHIRT,
     Material.TROUSERS, Material.SIGN, Material.THING}
)  # fmt: skip
"""Materials whose colour is drawn anew for every instance. The others have one colour in a scene, give or take."""


Facing = IntEnum("Facing", "NONE LEFT RIGHT UP FRONT", start=0)
"""Which way a surface looks: a light from the left brightens LEFT and leaves RIGHT in the shade."""


class PartInfo(NamedTuple):
    """One row of the table below."""

    label: int
    material: Material
    tone: int = 0  # steps brighter or darker than the material
    facing: Facing = Facing.NONE
    snow: int = 0  # 0..4: how readily snow stays on it
    glow: int = 0  # 0..4: how brightly it shines at night


_M, _F = Material, Facing
TABLE: dict[str, PartInfo] = {
    "sky": PartInfo(SKY, _M.SKY),
    "facade_left": PartInfo(BUILDING, _M.FACADE, 0, _F.RIGHT),  # the left side's wall looks to the right
    "facade_right": PartInfo(BUILDING, _M.FACADE, 0, _F.LEFT),
    "facade_front": PartInfo(BUILDING, _M.FACADE, 0, _F.FRONT),
    "facade_dark": PartInfo(BUILDING, _M.FACADE, -3, _F.FRONT),
    "trim": PartInfo(BUILDING, _M.TRIM, 0, _F.FRONT, 1),
    "door": PartInfo(BUILDING, _M.TRIM, -3, _F.FRONT),
    "window": PartInfo(BUILDING, _M.WINDOW),
    "window_lit": PartInfo(BUILDING, _M.WINDOW, 0, _F.NONE, 0, 3),
    "roof": PartInfo(BUILDING, _M.ROOF, 0, _F.UP, 4),
    "roof_side": PartInfo(BUILDING, _M.ROOF, -2, _F.FRONT, 3),
    "chimney": PartInfo(BUILDING, _M.ROOF, -3, _F.FRONT, 1),
    "road": PartInfo(ROAD, _M.ROAD, 0, _F.UP, 2),
    "road_patch": PartInfo(ROAD, _M.ROAD, -2, _F.UP, 2),
    "marking": PartInfo(ROAD, _M.MARKING, 0, _F.UP, 2),
    "sidewalk": PartInfo(SIDEWALK, _M.SIDEWALK, 0, _F.UP, 3),
    "joint": PartInfo(SIDEWALK, _M.SIDEWALK, -2, _F.UP, 3),
    "curb": PartInfo(SIDEWALK, _M.SIDEWALK, 2, _F.UP, 2),
    "foliage_dark": PartInfo(VEGETATION, _M.FOLIAGE, -3, _F.NONE, 0),
    "foliage": PartInfo(VEGETATION, _M.FOLIAGE, 0, _F.NONE, 1),
    "foliage_light": PartInfo(VEGETATION, _M.FOLIAGE, 2, _F.UP, 3),
    "trunk": PartInfo(VEGETATION, _M.TRUNK, 0, _F.FRONT),
    "grass": PartInfo(VEGETATION, _M.GRASS, 0, _F.UP, 3),
    "hedge_top": PartInfo(VEGETATION, _M.FOLIAGE, 1, _F.UP, 3),
    "hedge_left": PartInfo(VEGETATION, _M.FOLIAGE, -1, _F.LEFT),
    "hedge_right": PartInfo(VEGETATION, _M.FOLIAGE, -1, _F.RIGHT),
    "car_end": PartInfo(CAR, _M.PAINT, 0, _F.FRONT),
    "car_left": PartInfo(CAR, _M.PAINT, -1, _F.LEFT),
    "car_right": PartInfo(CAR, _M.PAINT, -1, _F.RIGHT),
    "car_top": PartInfo(CAR, _M.PAINT, 1, _F.UP, 3),
    "car_low": PartInfo(CAR, _M.PAINT, -4, _F.FRONT),
    "glass": PartInfo(CAR, _M.GLASS, 0, _F.FRONT, 1),
    "glass_side": PartInfo(CAR, _M.GLASS, -1),
    "tyre": PartInfo(CAR, _M.TYRE),
    "hub": PartInfo(CAR, _M.TYRE, 5),
    "headlamp": PartInfo(CAR, _M.HEADLAMP, 0, _F.NONE, 0, 4),
    "taillamp": PartInfo(CAR, _M.TAILLAMP, 0, _F.NONE, 0, 3),
    "plate": PartInfo(CAR, _M.HEADLAMP, -2),
    "skin": PartInfo(PERSON, _M.SKIN),
    "hair": PartInfo(PERSON, _M.HAIR, 0, _F.NONE, 1),
    "shirt": PartInfo(PERSON, _M.SHIRT, 0, _F.FRONT, 1),
    "sleeve": PartInfo(PERSON, _M.SHIRT, -2, _F.FRONT),
    "trousers": PartInfo(PERSON, _M.TROUSERS),
    "trousers_dark": PartInfo(PERSON, _M.TROUSERS, -2),
    "shoe": PartInfo(PERSON, _M.HAIR, -1),
    "pole": PartInfo(POLE, _M.POLE, 1, _F.FRONT),
    "pole_dark": PartInfo(POLE, _M.POLE, -2),
    "sign": PartInfo(POLE, _M.SIGN, 0, _F.FRONT),
    "figure": PartInfo(POLE, _M.FIGURE, 0, _F.FRONT, 1),
    "signal_box": PartInfo(POLE, _M.POLE, -4),
    "signal_red": PartInfo(POLE, _M.TAILLAMP, 0, _F.NONE, 0, 3),
    "signal_green": PartInfo(POLE, _M.FIGURE, 0, _F.NONE, 0, 2),
    "lantern": PartInfo(POLE, _M.HEADLAMP, 0, _F.NONE, 0, 4),
    "thing": PartInfo(OTHER, _M.THING, 0, _F.FRONT, 1),
    "thing_light": PartInfo(OTHER, _M.THING, 2, _F.UP, 2),
    "thing_dark": PartInfo(OTHER, _M.THING, -3, _F.NONE),
    "thing_mark": PartInfo(OTHER, _M.FIGURE, 0, _F.FRONT),
}
PART: dict[str, int] = {name: number for number, name in enumerate(TABLE)}
"""Part name to number. The renderer never sees names."""


_rows = [tuple(info) for info in TABLE.values()] + [(0,) * len(PartInfo._fields)] * (PARTS - len(TABLE))
_LABELS, MATERIAL_OF, TONE_OF, FACING_OF, SNOW_OF, GLOW_OF = np.array(_rows, np.int32).T.copy()
LABEL_OF = _LABELS.astype(np.uint8)
