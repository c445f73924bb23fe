"""How the materials look in a game, in a photograph and anywhere in the world: intervals for every one of them."""

from __future__ import annotations

from collections.abc import Mapping

from gkd_lightning.data.minicity.parts import Material
from gkd_lightning.data.minicity.textures import Texture as T

Interval = tuple[int, int]
Box = dict[str, Interval]


def look(name: Material, hue: Interval, saturation: Interval, value: Interval,
          texture: Interval = (T.FLAT, T.FLAT), strength: Interval = (0, 0)) -> Box:  # fmt: skip
    """A material: hue in degrees (may leave [0, 360) to wrap), the rest of 256, the kind and strength of texture."""
    key = name.name.lower()
    return {f"{key}.hue": hue, f"{key}.saturation": saturation, f"{key}.value": value,
            f"{key}.texture": (int(texture[0]), int(texture[1])), f"{key}.strength": strength}  # fmt: skip


def merge(*boxes: Mapping[str, Interval]) -> Box:
    """One box of several; where two name a parameter, the later one counts."""
    return {name: interval for box in boxes for name, interval in box.items()}


_M = Material
GAME_MATERIALS = merge(
    look(_M.SKY, (203, 212), (110, 140), (232, 246), (T.CLOUD, T.CLOUD), (0, 8)),
    look(_M.FACADE, (18, 46), (60, 115), (175, 220), (T.FLAT, T.GRAIN), (0, 5)),
    look(_M.ROOF, (4, 16), (140, 170), (140, 165), (T.FLAT, T.FLAT), (0, 4)),
    look(_M.WINDOW, (205, 215), (90, 120), (105, 130)),
    look(_M.TRIM, (35, 50), (20, 50), (225, 240)),
    look(_M.ROAD, (220, 230), (8, 16), (92, 108), (T.GRAIN, T.GRAIN), (3, 7)),
    look(_M.MARKING, (50, 55), (0, 10), (232, 245)),
    look(_M.SIDEWALK, (38, 46), (16, 28), (180, 196), (T.GRAIN, T.GRAIN), (2, 6)),
    look(_M.FOLIAGE, (112, 126), (140, 170), (128, 152), (T.MOTTLE, T.MOTTLE), (6, 14)),
    look(_M.GRASS, (95, 106), (140, 165), (155, 175), (T.GRAIN, T.GRAIN), (4, 8)),
    look(_M.TRUNK, (24, 30), (120, 145), (95, 110)),
    look(_M.PAINT, (0, 359), (170, 215), (185, 225)),
    look(_M.GLASS, (200, 210), (60, 85), (72, 92)),
    look(_M.TYRE, (220, 225), (10, 20), (38, 46)),
    look(_M.HEADLAMP, (48, 54), (20, 45), (240, 250)),
    look(_M.TAILLAMP, (354, 362), (200, 225), (205, 230)),
    look(_M.SKIN, (20, 28), (85, 130), (190, 228)),
    look(_M.HAIR, (20, 32), (90, 150), (50, 95)),
    look(_M.SHIRT, (0, 359), (150, 205), (180, 225)),
    look(_M.TROUSERS, (215, 235), (90, 150), (80, 125)),
    look(_M.POLE, (210, 220), (10, 20), (126, 142)),
    look(_M.SIGN, (212, 226), (180, 215), (185, 215)),
    look(_M.FIGURE, (50, 55), (0, 12), (236, 248)),
    look(_M.THING, (0, 359), (120, 215), (120, 225), (T.FLAT, T.CHECKER), (0, 30)),
)
"""A computer game of some years ago: clean, saturated, the same few materials everywhere."""

REAL_MATERIALS = merge(
    look(_M.SKY, (196, 226), (10, 80), (205, 248), (T.CLOUD, T.CLOUD), (20, 60)),
    look(_M.FACADE, (4, 52), (15, 135), (75, 200), (T.GRAIN, T.BRICK), (18, 62)),
    look(_M.ROOF, (-10, 30), (25, 140), (60, 135), (T.GRAIN, T.PLANKS), (20, 60)),
    look(_M.WINDOW, (180, 240), (10, 70), (38, 150), (T.MOTTLE, T.CLOUD), (20, 70)),
    look(_M.TRIM, (10, 60), (5, 70), (90, 225), (T.GRAIN, T.MOTTLE), (5, 25)),
    look(_M.ROAD, (20, 60), (2, 32), (72, 138), (T.GRAIN, T.MOTTLE), (14, 36)),
    look(_M.MARKING, (40, 60), (0, 50), (170, 235), (T.GRAIN, T.MOTTLE), (20, 60)),
    look(_M.SIDEWALK, (10, 50), (8, 52), (108, 185), (T.GRAIN, T.TILES), (14, 42)),
    look(_M.FOLIAGE, (58, 112), (60, 150), (62, 128), (T.LEAVES, T.LEAVES), (35, 90)),
    look(_M.GRASS, (52, 98), (60, 140), (80, 145), (T.GRAIN, T.LEAVES), (25, 60)),
    look(_M.TRUNK, (18, 40), (40, 110), (50, 95), (T.STRIPES, T.STRIPES), (10, 35)),
    look(_M.PAINT, (-20, 240), (0, 185), (35, 228), (T.FLAT, T.MOTTLE), (0, 20)),
    look(_M.GLASS, (190, 230), (5, 50), (28, 78), (T.CLOUD, T.CLOUD), (20, 70)),
    look(_M.TYRE, (20, 40), (0, 25), (22, 42)),
    look(_M.HEADLAMP, (40, 60), (5, 40), (195, 240)),
    look(_M.TAILLAMP, (350, 368), (150, 215), (130, 190)),
    look(_M.SKIN, (12, 30), (60, 140), (75, 210)),
    look(_M.HAIR, (10, 40), (20, 140), (22, 120)),
    look(_M.SHIRT, (0, 359), (10, 150), (35, 215), (T.FLAT, T.MOTTLE), (0, 30)),
    look(_M.TROUSERS, (195, 260), (10, 110), (25, 105), (T.FLAT, T.MOTTLE), (0, 20)),
    look(_M.POLE, (20, 220), (4, 40), (75, 165), (T.GRAIN, T.GRAIN), (5, 20)),
    look(_M.SIGN, (-12, 232), (110, 220), (120, 225), (T.GRAIN, T.GRAIN), (4, 14)),
    look(_M.FIGURE, (45, 55), (0, 30), (190, 242)),
    look(_M.THING, (0, 359), (20, 200), (40, 225), (T.FLAT, T.CHECKER), (0, 60)),
)
"""Weathered materials with a grain, muted and varied: what a photograph of a street is made of."""

NATURAL_MATERIALS = merge(
    look(_M.SKY, (180, 250), (0, 160), (130, 240), (T.FLAT, T.CLOUD), (0, 60)),
    look(_M.FACADE, (-20, 70), (0, 170), (60, 235), (T.FLAT, T.TILES), (0, 70)),
    look(_M.ROOF, (-30, 60), (0, 180), (40, 190), (T.FLAT, T.BRICK), (0, 70)),
    look(_M.WINDOW, (170, 260), (0, 140), (25, 180), (T.FLAT, T.CLOUD), (0, 70)),
    look(_M.TRIM, (0, 80), (0, 110), (60, 240), (T.FLAT, T.CLOUD), (0, 40)),
    look(_M.ROAD, (0, 260), (0, 45), (45, 170), (T.FLAT, T.CLOUD), (0, 60)),
    look(_M.MARKING, (30, 70), (0, 80), (140, 240), (T.FLAT, T.CLOUD), (0, 70)),
    look(_M.SIDEWALK, (0, 80), (0, 80), (80, 220), (T.FLAT, T.TILES), (0, 60)),
    look(_M.FOLIAGE, (30, 140), (30, 190), (40, 190), (T.FLAT, T.LEAVES), (0, 80)),
    look(_M.GRASS, (40, 130), (30, 190), (50, 200), (T.FLAT, T.LEAVES), (0, 70)),
    look(_M.TRUNK, (0, 60), (0, 160), (30, 140), (T.FLAT, T.STRIPES), (0, 50)),
    look(_M.PAINT, (0, 359), (0, 200), (25, 240), (T.FLAT, T.CLOUD), (0, 30)),
    look(_M.GLASS, (170, 260), (0, 110), (25, 120), (T.FLAT, T.CLOUD), (0, 70)),
    look(_M.TYRE, (0, 260), (0, 45), (25, 70)),
    look(_M.HEADLAMP, (30, 80), (0, 80), (170, 240)),
    look(_M.TAILLAMP, (340, 380), (100, 200), (100, 235)),
    look(_M.SKIN, (5, 40), (40, 160), (60, 235)),
    look(_M.HAIR, (0, 60), (0, 170), (25, 160)),
    look(_M.SHIRT, (0, 359), (0, 200), (25, 240), (T.FLAT, T.CLOUD), (0, 40)),
    look(_M.TROUSERS, (0, 359), (0, 140), (25, 160), (T.FLAT, T.CLOUD), (0, 30)),
    look(_M.POLE, (0, 260), (0, 60), (50, 210), (T.FLAT, T.GRAIN), (0, 40)),
    look(_M.SIGN, (-20, 260), (60, 200), (80, 240), (T.FLAT, T.GRAIN), (0, 30)),
    look(_M.FIGURE, (30, 80), (0, 70), (160, 240)),
    look(_M.THING, (0, 359), (0, 200), (25, 240), (T.FLAT, T.DIAGONAL), (0, 80)),
)
"""Wide guesses of what each material may look like anywhere in the world, in photographs, games and drawings."""

ANY_MATERIAL = merge(*(
    look(material, (0, 359), (0, 200), (25, 240), (T.FLAT, T.DIAGONAL), (0, 80)) for material in Material
))  # fmt: skip
