"""Styles: every look of MiniCity is a box in one space of integer parameters.

A style gives each parameter an interval, and every image draws its own value from it. Because all styles, the
pre-training of the teacher (`wild`) and the training augmentations (`augmentation_box`) live in the same space,
"the teacher never saw this domain" is a statement that a test can check: the boxes share no point.

What keeps a target apart from all training is a parameter that no photometric augmentation can move:

======  ==================  ======================================================
style   parameter           targets against `wild`
======  ==================  ======================================================
day     light.shadow        hard shadows of a low sun; `wild` has faint ones
night   night.lamps         lamps, lit windows and head lights; `wild` has none lit
fog     fog.density         dense; `wild` has a light haze
rain    rain.streaks        falling rain (and a wet road); `wild` has none
snow    snow.cover          lying (and falling) snow; `wild` has none
======  ==================  ======================================================

`wild` does cover what the targets are made of otherwise: any colour of any material, any texture, casts, noise,
soft and hard light. The validation style `val` (hazy dusk) is disjoint from `wild` and from every target, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gkd_lightning.data.minicity.layout import Traits
from gkd_lightning.data.minicity.parts import Material
from gkd_lightning.data.minicity.textures import Texture as T
from gkd_lightning.errors import UserError

Interval = tuple[int, int]
Box = dict[str, Interval]

NEUTRAL: Box = {
    "light.exposure": (256, 256),  # all reflected light, 256 = as the materials say
    "light.relief": (14, 14),  # brightness step between the tones of one material
    "light.sun": (20, 20),  # how much brighter surfaces are that look towards the light
    "light.shadow": (30, 30),  # darkness of cast shadows, of 256
    "light.contact": (60, 60),  # darkness right below objects, of 256
    "sky.gradient": (40, 40),  # how much darker the sky gets towards the zenith
    "material.jitter": (6, 6),  # brightness differences between two trees, two roads ...
    "fog.density": (0, 0),  # light lost each 25 cm, of 4096
    "fog.hue": (210, 210),
    "fog.saturation": (0, 0),
    "fog.value": (200, 200),
    "night.lamps": (0, 0),  # strength of the light of lamps, of 256
    "night.windows": (0, 0),  # percent of the buildings with light inside
    "rain.streaks": (0, 0),  # streaks of falling rain
    "rain.mirror": (0, 0),  # how much of the scene a wet street reflects, of 256
    "snow.cover": (0, 0),  # how much of the ground and of tops is white, of 256
    "snow.flakes": (0, 0),
    "camera.red": (256, 256),
    "camera.blue": (256, 256),
    "camera.saturation": (256, 256),
    "camera.contrast": (256, 256),
    "camera.brightness": (0, 0),
    "camera.blur": (0, 0),
    "camera.noise": (0, 0),
    "camera.vignette": (0, 0),
    "camera.levels": (0, 0),  # bits taken from every colour
    "camera.outline": (0, 0),  # darkness of lines between things
}


def _look(name: Material, hue: Interval, saturation: Interval, value: Interval,
          texture: Interval = (T.FLAT, T.FLAT), strength: Interval = (0, 0)) -> Box:  # fmt: skip
    """A material: hue in degrees (may leave [0, 360) to wrap), the rest of 256, the kind and strength of texture."""
    key = name.name.lower()
    return {f"{key}.hue": hue, f"{key}.saturation": saturation, f"{key}.value": value,
            f"{key}.texture": (int(texture[0]), int(texture[1])), f"{key}.strength": strength}  # fmt: skip


def _merge(*boxes: Mapping[str, Interval]) -> Box:
    merged: Box = {}
    for box in boxes:
        merged.update(box)
    return merged


_M = Material
_GAME_MATERIALS = _merge(
    _look(_M.SKY, (203, 212), (110, 140), (232, 246), (T.CLOUD, T.CLOUD), (0, 8)),
    _look(_M.FACADE, (18, 46), (60, 115), (175, 220), (T.FLAT, T.GRAIN), (0, 5)),
    _look(_M.ROOF, (4, 16), (140, 170), (140, 165), (T.FLAT, T.FLAT), (0, 4)),
    _look(_M.WINDOW, (205, 215), (90, 120), (105, 130)),
    _look(_M.TRIM, (35, 50), (20, 50), (225, 240)),
    _look(_M.ROAD, (220, 230), (8, 16), (92, 108), (T.GRAIN, T.GRAIN), (3, 7)),
    _look(_M.MARKING, (50, 55), (0, 10), (232, 245)),
    _look(_M.SIDEWALK, (38, 46), (16, 28), (180, 196), (T.GRAIN, T.GRAIN), (2, 6)),
    _look(_M.FOLIAGE, (112, 126), (140, 170), (128, 152), (T.MOTTLE, T.MOTTLE), (6, 14)),
    _look(_M.GRASS, (95, 106), (140, 165), (155, 175), (T.GRAIN, T.GRAIN), (4, 8)),
    _look(_M.TRUNK, (24, 30), (120, 145), (95, 110)),
    _look(_M.PAINT, (0, 359), (170, 215), (185, 225)),
    _look(_M.GLASS, (200, 210), (60, 85), (72, 92)),
    _look(_M.TYRE, (220, 225), (10, 20), (38, 46)),
    _look(_M.HEADLAMP, (48, 54), (20, 45), (240, 250)),
    _look(_M.TAILLAMP, (354, 362), (200, 225), (205, 230)),
    _look(_M.SKIN, (20, 28), (85, 130), (190, 228)),
    _look(_M.HAIR, (20, 32), (90, 150), (50, 95)),
    _look(_M.SHIRT, (0, 359), (150, 205), (180, 225)),
    _look(_M.TROUSERS, (215, 235), (90, 150), (80, 125)),
    _look(_M.POLE, (210, 220), (10, 20), (126, 142)),
    _look(_M.SIGN, (212, 226), (180, 215), (185, 215)),
    _look(_M.FIGURE, (50, 55), (0, 12), (236, 248)),
    _look(_M.THING, (0, 359), (120, 215), (120, 225), (T.FLAT, T.CHECKER), (0, 30)),
)
"""A computer game of some years ago: clean, saturated, the same few materials everywhere."""

_REAL_MATERIALS = _merge(
    _look(_M.SKY, (196, 226), (10, 80), (205, 248), (T.CLOUD, T.CLOUD), (20, 60)),
    _look(_M.FACADE, (4, 52), (15, 135), (75, 200), (T.GRAIN, T.BRICK), (18, 62)),
    _look(_M.ROOF, (-10, 30), (25, 140), (60, 135), (T.GRAIN, T.PLANKS), (20, 60)),
    _look(_M.WINDOW, (180, 240), (10, 70), (38, 150), (T.MOTTLE, T.CLOUD), (20, 70)),
    _look(_M.TRIM, (10, 60), (5, 70), (90, 225), (T.GRAIN, T.MOTTLE), (5, 25)),
    _look(_M.ROAD, (20, 60), (2, 32), (72, 138), (T.GRAIN, T.MOTTLE), (14, 36)),
    _look(_M.MARKING, (40, 60), (0, 50), (170, 235), (T.GRAIN, T.MOTTLE), (20, 60)),
    _look(_M.SIDEWALK, (10, 50), (8, 52), (108, 185), (T.GRAIN, T.TILES), (14, 42)),
    _look(_M.FOLIAGE, (58, 112), (60, 150), (62, 128), (T.LEAVES, T.LEAVES), (35, 90)),
    _look(_M.GRASS, (52, 98), (60, 140), (80, 145), (T.GRAIN, T.LEAVES), (25, 60)),
    _look(_M.TRUNK, (18, 40), (40, 110), (50, 95), (T.STRIPES, T.STRIPES), (10, 35)),
    _look(_M.PAINT, (-20, 240), (0, 185), (35, 228), (T.FLAT, T.MOTTLE), (0, 20)),
    _look(_M.GLASS, (190, 230), (5, 50), (28, 78), (T.CLOUD, T.CLOUD), (20, 70)),
    _look(_M.TYRE, (20, 40), (0, 25), (22, 42)),
    _look(_M.HEADLAMP, (40, 60), (5, 40), (195, 240)),
    _look(_M.TAILLAMP, (350, 368), (150, 215), (130, 190)),
    _look(_M.SKIN, (12, 30), (60, 140), (75, 210)),
    _look(_M.HAIR, (10, 40), (20, 140), (22, 120)),
    _look(_M.SHIRT, (0, 359), (10, 150), (35, 215), (T.FLAT, T.MOTTLE), (0, 30)),
    _look(_M.TROUSERS, (195, 260), (10, 110), (25, 105), (T.FLAT, T.MOTTLE), (0, 20)),
    _look(_M.POLE, (20, 220), (4, 40), (75, 165), (T.GRAIN, T.GRAIN), (5, 20)),
    _look(_M.SIGN, (-12, 232), (110, 220), (120, 225), (T.GRAIN, T.GRAIN), (4, 14)),
    _look(_M.FIGURE, (45, 55), (0, 30), (190, 242)),
    _look(_M.THING, (0, 359), (20, 200), (40, 225), (T.FLAT, T.CHECKER), (0, 60)),
)
"""Weathered materials with a grain, muted and varied: what a photograph of a street is made of."""

_NATURAL_MATERIALS = _merge(
    _look(_M.SKY, (180, 250), (0, 160), (130, 240), (T.FLAT, T.CLOUD), (0, 60)),
    _look(_M.FACADE, (-20, 70), (0, 170), (60, 235), (T.FLAT, T.TILES), (0, 70)),
    _look(_M.ROOF, (-30, 60), (0, 180), (40, 190), (T.FLAT, T.BRICK), (0, 70)),
    _look(_M.WINDOW, (170, 260), (0, 140), (25, 180), (T.FLAT, T.CLOUD), (0, 70)),
    _look(_M.TRIM, (0, 80), (0, 110), (60, 240), (T.FLAT, T.CLOUD), (0, 40)),
    _look(_M.ROAD, (0, 260), (0, 45), (45, 170), (T.FLAT, T.CLOUD), (0, 60)),
    _look(_M.MARKING, (30, 70), (0, 80), (140, 240), (T.FLAT, T.CLOUD), (0, 70)),
    _look(_M.SIDEWALK, (0, 80), (0, 80), (80, 220), (T.FLAT, T.TILES), (0, 60)),
    _look(_M.FOLIAGE, (30, 140), (30, 190), (40, 190), (T.FLAT, T.LEAVES), (0, 80)),
    _look(_M.GRASS, (40, 130), (30, 190), (50, 200), (T.FLAT, T.LEAVES), (0, 70)),
    _look(_M.TRUNK, (0, 60), (0, 160), (30, 140), (T.FLAT, T.STRIPES), (0, 50)),
    _look(_M.PAINT, (0, 359), (0, 200), (25, 240), (T.FLAT, T.CLOUD), (0, 30)),
    _look(_M.GLASS, (170, 260), (0, 110), (25, 120), (T.FLAT, T.CLOUD), (0, 70)),
    _look(_M.TYRE, (0, 260), (0, 45), (25, 70)),
    _look(_M.HEADLAMP, (30, 80), (0, 80), (170, 240)),
    _look(_M.TAILLAMP, (340, 380), (100, 200), (100, 235)),
    _look(_M.SKIN, (5, 40), (40, 160), (60, 235)),
    _look(_M.HAIR, (0, 60), (0, 170), (25, 160)),
    _look(_M.SHIRT, (0, 359), (0, 200), (25, 240), (T.FLAT, T.CLOUD), (0, 40)),
    _look(_M.TROUSERS, (0, 359), (0, 140), (25, 160), (T.FLAT, T.CLOUD), (0, 30)),
    _look(_M.POLE, (0, 260), (0, 60), (50, 210), (T.FLAT, T.GRAIN), (0, 40)),
    _look(_M.SIGN, (-20, 260), (60, 200), (80, 240), (T.FLAT, T.GRAIN), (0, 30)),
    _look(_M.FIGURE, (30, 80), (0, 70), (160, 240)),
    _look(_M.THING, (0, 359), (0, 200), (25, 240), (T.FLAT, T.DIAGONAL), (0, 80)),
)
"""Wide guesses of what each material may look like anywhere in the world, in photographs, games and drawings."""

_ANY_MATERIAL = _merge(*(
    _look(material, (0, 359), (0, 200), (25, 240), (T.FLAT, T.DIAGONAL), (0, 80)) for material in Material
))  # fmt: skip

_PHOTO: Box = {
    "light.relief": (9, 17), "light.contact": (60, 130), "material.jitter": (10, 26), "camera.blur": (60, 190),
    "camera.noise": (3, 11), "camera.vignette": (10, 60),
}  # fmt: skip

_GAME_TRAITS = Traits()
_REAL_TRAITS = Traits(camera=(215, 290), horizon=(34, 50), cars=(2, 4), persons=(1, 4), trees=(1, 4), walls=60)
_WILD_TRAITS = Traits(camera=(205, 325), horizon=(32, 52), cars=(1, 4), persons=(1, 4), poles=(1, 4), trees=(0, 4))


@dataclass(frozen=True)
class Style:
    """A look of the world: a box of rendering parameters, and how its streets are built.

    `likely`: a part of the box (materials only) from which each material of an image is drawn in two of three cases.
    """

    name: str
    box: Box = field(repr=False)
    traits: Traits = _GAME_TRAITS
    likely: Box = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if set(self.box) != set(_SPACE):
            raise ValueError(f"style {self.name}: {sorted(set(self.box) ^ set(_SPACE))} not in the parameter space")
        for key, (low, high) in self.likely.items():
            if not key.endswith(".hue") and not self.box[key][0] <= low <= high <= self.box[key][1]:
                raise ValueError(f"style {self.name}: the likely {key} leaves the box")

    def parameter_box(self) -> Box:
        """Interval of every parameter, both ends included; all styles share the names."""
        return dict(self.box)


_SPACE = tuple(_merge(NEUTRAL, _GAME_MATERIALS))
PARAMETERS: tuple[str, ...] = _SPACE
"""Names of the space's dimensions, in the order in which values are drawn."""


def _game() -> Style:
    return Style("game", _merge(NEUTRAL, _GAME_MATERIALS, {
        "light.exposure": (250, 262), "light.sun": (16, 24), "light.shadow": (30, 55), "sky.gradient": (30, 50),
        "camera.saturation": (256, 280), "camera.contrast": (256, 276),
    }))  # fmt: skip


def _day() -> Style:
    sky = _look(_M.SKY, (200, 224), (40, 125), (205, 248), (T.CLOUD, T.CLOUD), (15, 55))
    return Style("day", _merge(NEUTRAL, _REAL_MATERIALS, _PHOTO, sky, {
        "light.exposure": (225, 300), "light.sun": (45, 85), "light.shadow": (112, 165), "sky.gradient": (10, 80),
        "camera.red": (256, 276), "camera.blue": (226, 252), "camera.saturation": (170, 250),
        "camera.contrast": (262, 315),
    }), _REAL_TRAITS)  # fmt: skip


def _night() -> Style:
    return Style("night", _merge(NEUTRAL, _REAL_MATERIALS, _PHOTO, _look(_M.SKY, (215, 250), (60, 150), (40, 95)), {
        "light.exposure": (62, 100), "light.sun": (0, 8), "light.shadow": (0, 30), "sky.gradient": (20, 80),
        "night.lamps": (120, 220), "night.windows": (20, 60), "camera.red": (225, 275), "camera.blue": (265, 340),
        "camera.saturation": (150, 230), "camera.contrast": (250, 310), "camera.noise": (12, 26),
    }), _REAL_TRAITS)  # fmt: skip


def _fog() -> Style:
    return Style("fog", _merge(NEUTRAL, _REAL_MATERIALS, _PHOTO, {
        "light.exposure": (215, 265), "light.sun": (0, 10), "light.shadow": (0, 20), "sky.gradient": (-10, 10),
        "fog.density": (48, 84), "fog.hue": (190, 240), "fog.saturation": (0, 24), "fog.value": (150, 222),
        "camera.saturation": (130, 210), "camera.contrast": (235, 275), "camera.blur": (100, 220),
    }), _REAL_TRAITS)  # fmt: skip


def _rain() -> Style:
    sky = _look(_M.SKY, (200, 235), (4, 40), (130, 205), (T.CLOUD, T.CLOUD), (20, 60))
    return Style("rain", _merge(
        NEUTRAL, _REAL_MATERIALS, _PHOTO, sky, {
            "light.exposure": (135, 205), "light.sun": (0, 12), "light.shadow": (0, 20), "sky.gradient": (0, 60),
            "fog.density": (6, 18), "fog.value": (140, 180), "fog.saturation": (0, 20), "night.lamps": (0, 50),
            "rain.streaks": (40, 110), "rain.mirror": (90, 170), "camera.blue": (256, 300),
            "camera.saturation": (120, 200), "camera.contrast": (240, 290), "camera.blur": (100, 230),
        }), _REAL_TRAITS)  # fmt: skip


def _snow() -> Style:
    sky = _look(_M.SKY, (200, 225), (4, 30), (185, 232), (T.CLOUD, T.CLOUD), (5, 30))
    return Style("snow", _merge(
        NEUTRAL, _REAL_MATERIALS, _PHOTO, sky, {
            "light.exposure": (215, 275), "light.sun": (0, 22), "light.shadow": (0, 35), "sky.gradient": (0, 30),
            "fog.density": (4, 20), "fog.value": (200, 232), "snow.cover": (110, 215), "snow.flakes": (20, 140),
            "camera.blue": (262, 300), "camera.saturation": (130, 210), "camera.contrast": (240, 300),
        }), _REAL_TRAITS)  # fmt: skip


def _val() -> Style:
    return Style("val", _merge(NEUTRAL, _REAL_MATERIALS, _PHOTO, _look(_M.SKY, (8, 44), (50, 140), (180, 240)), {
        "light.exposure": (165, 225), "light.sun": (10, 40), "light.shadow": (20, 80), "sky.gradient": (20, 70),
        "fog.density": (25, 42), "fog.hue": (10, 45), "fog.saturation": (20, 70), "fog.value": (150, 215),
        "camera.red": (275, 330), "camera.blue": (190, 240), "camera.saturation": (200, 270),
        "camera.contrast": (250, 300),
    }), _REAL_TRAITS)  # fmt: skip


def _wild() -> Style:
    return Style("wild", _merge(NEUTRAL, _ANY_MATERIAL, {
        "light.exposure": (190, 320), "light.relief": (0, 22), "light.sun": (0, 60), "light.shadow": (0, 100),
        "light.contact": (0, 130), "sky.gradient": (-60, 110), "material.jitter": (0, 40), "fog.density": (0, 22),
        "fog.hue": (0, 359), "fog.saturation": (0, 120), "fog.value": (60, 240), "rain.mirror": (0, 40),
        "camera.red": (200, 320), "camera.blue": (200, 320), "camera.saturation": (60, 330),
        "camera.contrast": (180, 350), "camera.brightness": (-30, 30), "camera.blur": (0, 256),
        "camera.noise": (0, 26), "camera.vignette": (0, 90), "camera.levels": (0, 4), "camera.outline": (0, 120),
    }), _WILD_TRAITS, _NATURAL_MATERIALS)  # fmt: skip


STYLES: dict[str, Style] = {
    style.name: style for style in (_game(), _day(), _night(), _fog(), _rain(), _snow(), _val(), _wild())
}
TARGET_STYLES = ("day", "night", "fog", "rain", "snow")
"""The unseen domains. No training, and no choice of a recipe, may look at them."""


def style(name: str) -> Style:
    """A style by its name; UserError for a name that there is not."""
    if name not in STYLES:
        raise UserError(f"MiniCity has no style {name!r}; it has {', '.join(STYLES)}")
    return STYLES[name]


def augmentation_box(name: str) -> Box:
    """The box that a style fills once photometric training augmentation is applied to its images.

    Brightness, contrast, saturation, hue, sharpness and posterising (of the task stage and of timm's RandAugment)
    can at most carry every colour and camera parameter anywhere, so those get their whole range; what is in the
    scene (lamps, fog by distance, rain, snow, shadows) they cannot make. Cut-outs and warps are outside the space.
    """
    box = style(name).parameter_box()
    for key in box:
        if key == "light.exposure" or key.startswith("camera.") or key.endswith((".hue", ".saturation", ".value")):
            box[key] = (-1024, 1024)
    return box


def boxes_disjoint(a: Mapping[str, Interval], b: Mapping[str, Interval]) -> list[str]:
    """Parameters whose intervals do not overlap; an empty list means that the boxes share a point.

    Hues are circular and never counted.
    """
    if set(a) != set(b):
        raise ValueError("the boxes are not from the same parameter space")
    return [key for key in a if not key.endswith(".hue") and (a[key][1] < b[key][0] or b[key][1] < a[key][0])]
