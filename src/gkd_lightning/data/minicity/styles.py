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
soft and hard light. The validation styles `val` (hazy dusk) and `frost` (an evening of thin snow, drizzle and few
lamps) are disjoint from `wild` and from every target, too, and from each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gkd_lightning.data.minicity.layout import Traits
from gkd_lightning.data.minicity.looks import (
    ANY_MATERIAL,
    GAME_MATERIALS,
    NATURAL_MATERIALS,
    REAL_MATERIALS,
    Box,
    Interval,
    look,
    merge,
)
from gkd_lightning.data.minicity.parts import Material
from gkd_lightning.data.minicity.textures import Texture as T
from gkd_lightning.errors import UserError

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
        if set(self.box) != set(PARAMETERS):
            raise ValueError(f"style {self.name}: {sorted(set(self.box) ^ set(PARAMETERS))} not in the parameter space")
        for key, (low, high) in self.likely.items():
            if not key.endswith(".hue") and not self.box[key][0] <= low <= high <= self.box[key][1]:
                raise ValueError(f"style {self.name}: the likely {key} leaves the box")

    def parameter_box(self) -> Box:
        """Interval of every parameter, both ends included; all styles share the names."""
        return dict(self.box)


PARAMETERS = tuple(merge(NEUTRAL, GAME_MATERIALS))
"""Names of the space's dimensions, in the order in which values are drawn."""


def _photographed(name: str, *parts: Box) -> Style:
    """A style of weathered materials before a camera; `parts` say what is its own."""
    return Style(name, merge(NEUTRAL, REAL_MATERIALS, _PHOTO, *parts), _REAL_TRAITS)


_ALL = (
    Style("game", merge(NEUTRAL, GAME_MATERIALS, {
        "light.exposure": (250, 262), "light.sun": (16, 24), "light.shadow": (30, 55), "sky.gradient": (30, 50),
        "camera.saturation": (256, 280), "camera.contrast": (256, 276),
    })),
    _photographed("day", look(Material.SKY, (200, 224), (40, 125), (205, 248), (T.CLOUD, T.CLOUD), (15, 55)), {
        "light.exposure": (225, 300), "light.sun": (45, 85), "light.shadow": (112, 165), "sky.gradient": (10, 80),
        "camera.red": (256, 276), "camera.blue": (226, 252), "camera.saturation": (170, 250),
        "camera.contrast": (262, 315),
    }),
    _photographed("night", look(Material.SKY, (215, 250), (60, 150), (40, 95)), {
        "light.exposure": (62, 100), "light.sun": (0, 8), "light.shadow": (0, 30), "sky.gradient": (20, 80),
        "night.lamps": (120, 220), "night.windows": (20, 60), "camera.red": (225, 275), "camera.blue": (265, 340),
        "camera.saturation": (150, 230), "camera.contrast": (250, 310), "camera.noise": (12, 26),
    }),
    _photographed("fog", {
        "light.exposure": (215, 265), "light.sun": (0, 10), "light.shadow": (0, 20), "sky.gradient": (-10, 10),
        "fog.density": (48, 84), "fog.hue": (190, 240), "fog.saturation": (0, 24), "fog.value": (150, 222),
        "camera.saturation": (130, 210), "camera.contrast": (235, 275), "camera.blur": (100, 220),
    }),
    _photographed("rain", look(Material.SKY, (200, 235), (4, 40), (130, 205), (T.CLOUD, T.CLOUD), (20, 60)), {
        "light.exposure": (135, 205), "light.sun": (0, 12), "light.shadow": (0, 20), "sky.gradient": (0, 60),
        "fog.density": (6, 18), "fog.value": (140, 180), "fog.saturation": (0, 20), "night.lamps": (0, 50),
        "rain.streaks": (40, 110), "rain.mirror": (90, 170), "camera.blue": (256, 300),
        "camera.saturation": (120, 200), "camera.contrast": (240, 290), "camera.blur": (100, 230),
    }),
    _photographed("snow", look(Material.SKY, (200, 225), (4, 30), (185, 232), (T.CLOUD, T.CLOUD), (5, 30)), {
        "light.exposure": (215, 275), "light.sun": (0, 22), "light.shadow": (0, 35), "sky.gradient": (0, 30),
        "fog.density": (4, 20), "fog.value": (200, 232), "snow.cover": (110, 215), "snow.flakes": (20, 140),
        "camera.blue": (262, 300), "camera.saturation": (130, 210), "camera.contrast": (240, 300),
    }),
    _photographed("val", look(Material.SKY, (12, 50), (25, 100), (185, 240)), {
        "light.exposure": (165, 225), "light.sun": (10, 40), "light.shadow": (20, 80), "sky.gradient": (20, 70),
        "fog.density": (25, 42), "fog.hue": (10, 45), "fog.saturation": (10, 45), "fog.value": (150, 215),
        "camera.red": (262, 300), "camera.blue": (208, 246), "camera.saturation": (200, 270),
        "camera.contrast": (250, 300),
    }),
    _photographed("frost", look(Material.SKY, (225, 262), (20, 70), (110, 165)), {
        "light.exposure": (118, 172), "light.sun": (0, 16), "light.shadow": (0, 40), "sky.gradient": (0, 60),
        "night.lamps": (30, 90), "night.windows": (5, 18), "rain.streaks": (8, 30), "rain.mirror": (45, 80),
        "snow.cover": (30, 90), "snow.flakes": (4, 18), "camera.red": (236, 268), "camera.blue": (256, 296),
        "camera.saturation": (140, 220), "camera.contrast": (236, 286), "camera.noise": (6, 16),
    }),
    Style("wild", merge(NEUTRAL, ANY_MATERIAL, {
        "light.exposure": (190, 320), "light.relief": (0, 22), "light.sun": (0, 60), "light.shadow": (0, 80),
        "light.contact": (0, 130), "sky.gradient": (-60, 110), "material.jitter": (0, 40), "fog.density": (0, 16),
        "fog.hue": (0, 359), "fog.saturation": (0, 120), "fog.value": (60, 240), "rain.mirror": (0, 40),
        "camera.red": (200, 320), "camera.blue": (200, 320), "camera.saturation": (60, 330),
        "camera.contrast": (180, 350), "camera.brightness": (-30, 30), "camera.blur": (0, 256),
        "camera.noise": (0, 26), "camera.vignette": (0, 90), "camera.levels": (0, 4), "camera.outline": (0, 120),
    }), _WILD_TRAITS, NATURAL_MATERIALS),
)  # fmt: skip
STYLES: dict[str, Style] = {style.name: style for style in _ALL}
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
