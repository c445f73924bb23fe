"""From a layout and a style to pixels, in integers from the first step to the last."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.minicity.draws import Draws
from gkd_lightning.data.minicity.parts import (
    FACING_OF,
    GLOW_OF,
    LABEL_OF,
    MATERIAL_OF,
    ONE_PER_INSTANCE,
    PARTS,
    ROAD,
    SIDEWALK,
    SNOW_OF,
    TONE_OF,
    Facing,
    Material,
)
from gkd_lightning.data.minicity.scene import CAST_SHADOW, CONTACT_SHADOW, SIZE, Layout
from gkd_lightning.data.minicity.styles import PARAMETERS, Style
from gkd_lightning.data.minicity.textures import TEXELS, bank

Bounds = NDArray[np.int64]
Planes = NDArray[np.int32]  # (3, 96, 96), mostly 0..255

_ROW = np.arange(SIZE, dtype=np.int32)[:, None]
_COLUMN = np.arange(SIZE, dtype=np.int32)[None]
_INDIVIDUAL = np.array([material in ONE_PER_INSTANCE for material in Material])
_WARM = np.array([255, 214, 150], np.int32)[:, None, None]
_SNOW = np.array([232, 238, 248], np.int32)[:, None, None]
_FALLOFF = np.array([256 * 16 // (16 + d * d // 6) if d < 64 else 0 for d in range(65)], np.int32)
"""Brightness of a lamp, of 256, by the squared distance in sixteenths of its squared radius."""


@cache
def _bounds(box: tuple[tuple[int, int], ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    both = np.array(box, np.int64)
    return both[:, 0].copy(), both[:, 1].copy()


def _mostly_likely(low: Bounds, high: Bounds, style: Style, draws: Draws) -> tuple[Bounds, Bounds]:
    """The box of one image: two of three materials keep to what the style calls likely for them."""
    inner = _bounds(tuple(style.likely.get(key, style.box[key]) for key in PARAMETERS))
    free = np.repeat(draws.noise(len(Material)) < 85, 5)
    keep = np.concatenate([np.zeros(len(low) - len(free), np.bool_), ~free])
    return np.where(keep, inner[0], low), np.where(keep, inner[1], high)


def _rgb(hue: NDArray[np.int64], saturation: NDArray[np.int64], value: NDArray[np.int64]) -> NDArray[np.int32]:
    """HSV (degrees, 0..255, 0..255) to RGB; the channels come first."""
    sixth = hue * 1536 // 360
    shift = np.array([1280, 768, 256]).reshape(3, *[1] * hue.ndim)
    t = (shift + sixth[None]) % 1536
    share = np.clip(np.minimum(t, 1024 - t), 0, 256)
    rgb: NDArray[np.int32] = (value - value * saturation * share // (255 * 256)).astype(np.int32)
    return rgb


def render(layout: Layout, style: Style, draws: Draws) -> NDArray[np.uint8]:
    """(96, 96, 3) RGB picture of a layout in a style."""
    low, high = _bounds(tuple(style.box[key] for key in PARAMETERS))
    if style.likely:
        low, high = _mostly_likely(low, high, style, draws)
    drawn = draws.within(low, high)
    value = dict(zip(PARAMETERS, drawn.tolist(), strict=True))
    looks = drawn[-5 * len(Material) :].reshape(len(Material), 5)
    spans = (low[-5 * len(Material) :].reshape(-1, 5), high[-5 * len(Material) :].reshape(-1, 5))
    part = (layout.code & np.uint16(PARTS - 1)).astype(np.intp)

    image = _surfaces(layout, part, value, looks, spans, draws)
    light = _light(layout, value)
    if value["snow.cover"]:
        _lay_snow(image, layout, part, value["snow.cover"], draws)
    image = image * light >> 8
    if value["night.lamps"]:
        _lamps(image, layout, part, value, draws)
    if value["rain.mirror"]:
        _wet_street(image, layout, part, value["rain.mirror"])
    if value["fog.density"]:
        _fog(image, layout, value)
    np.clip(image, 0, 255, out=image)
    if value["rain.streaks"]:
        _streaks(image, value["rain.streaks"], draws)
    if value["snow.flakes"]:
        _flakes(image, value["snow.flakes"], draws)
    return _camera(image, layout, value, draws)


def _surfaces(layout: Layout, part: NDArray[np.intp], value: dict[str, int], looks: NDArray[np.int64],
              spans: tuple[NDArray[np.int64], NDArray[np.int64]], draws: Draws) -> Planes:  # fmt: skip
    """Colour and texture of every surface, with its tone and the light of its side, before shadows."""
    count = layout.instances
    low, high = (np.broadcast_to(span[:, :3], (count, len(Material), 3)) for span in spans)
    colours = np.where(_INDIVIDUAL[None, :, None], draws.within(low, high), looks[None, :, :3])
    jitter = value["material.jitter"]
    limit = np.full((count, len(Material)), jitter, np.int64)
    colours[..., 2] = np.clip(colours[..., 2] + draws.within(-limit, limit), 8, 252)
    table = _rgb(colours[..., 0], colours[..., 1], colours[..., 2])  # (3, instances, materials)

    sun = value["light.sun"]
    facing = np.zeros(len(Facing), np.int64)
    facing[Facing.UP], facing[Facing.FRONT] = sun // 3, 0
    facing[Facing.LEFT], facing[Facing.RIGHT] = -layout.sun * sun, layout.sun * sun
    shade = 256 + TONE_OF * value["light.relief"] + facing[FACING_OF]
    by_code = (table[:, :, MATERIAL_OF] * shade.astype(np.int32) >> 8).reshape(3, -1)
    image: Planes = np.take(by_code, layout.code, axis=1)

    offset = draws.within(np.zeros(len(Material), np.int64), np.full(len(Material), TEXELS - 1, np.int64))
    material = MATERIAL_OF[part]
    start = looks[:, 3] * TEXELS * TEXELS
    x = (layout.texture_x.astype(np.int64) + offset[material]) & (TEXELS - 1)
    y = (layout.texture_y.astype(np.int64) + (offset * 7 & (TEXELS - 1))[material]) & (TEXELS - 1)
    texture = bank()[start[material] + y * TEXELS + x].astype(np.int32)
    gain = 256 + (texture * looks[:, 4].astype(np.int32)[material] >> 7)
    sky = part == 0
    gain[sky] += (value["sky.gradient"] * (_ROW - 30) // 48 + np.zeros_like(_COLUMN))[sky]
    image *= gain
    image >>= 8
    return image


def _light(layout: Layout, value: dict[str, int]) -> NDArray[np.int32]:
    """How much light falls on every pixel, of 256: exposure and the shadows on the ground."""
    factors = np.full(3, value["light.exposure"], np.int32)
    factors[CONTACT_SHADOW] = factors[0] * (256 - max(value["light.contact"], value["light.shadow"])) >> 8
    factors[CAST_SHADOW] = factors[0] * (256 - value["light.shadow"]) >> 8
    on_ground = np.where((layout.code < PARTS) & (layout.code > 0), layout.shadow, 0)
    light: NDArray[np.int32] = factors[on_ground]
    return light


def _lay_snow(image: Planes, layout: Layout, part: NDArray[np.intp], cover: int, draws: Draws) -> None:
    """Snow on the ground, on roofs, on tree tops, and a rim on whatever stands in front of something farther."""
    readiness = SNOW_OF[part]
    corner = draws.below(128), draws.below(128)
    clouds = bank()[3 * TEXELS * TEXELS : 4 * TEXELS * TEXELS].reshape(TEXELS, TEXELS)
    patch = clouds[corner[0] : corner[0] + SIZE, corner[1] : corner[1] + SIZE].astype(np.int32)
    amount = np.clip((readiness * cover // 2 - 150 - patch) * 3, 0, 240)
    amount[readiness == 0] = 0
    rim = np.zeros_like(amount)
    rim[1:] = (layout.depth[:-1].astype(np.int32) > layout.depth[1:].astype(np.int32) + 8) * cover
    amount = np.maximum(amount, np.where((readiness > 0) & (layout.code >= PARTS), rim, 0))
    image += (_SNOW - image) * amount >> 8


def _lamps(image: Planes, layout: Layout, part: NDArray[np.intp], value: dict[str, int], draws: Draws) -> None:
    """Lit windows and lamps, the light that lamps throw, and the beam of the camera's own car."""
    strength = value["night.lamps"]
    pool = np.minimum(strength * 24 // (4 + layout.depth.astype(np.int32)), 150)  # own headlights
    pool = pool * np.clip(_ROW * 5, 64, 256) >> 8  # head lights shine downwards
    if len(layout.lights):
        x, y, radius = (layout.lights[:, k].astype(np.int32)[:, None, None] for k in range(3))
        square = ((_COLUMN[None] - x) ** 2 + (_ROW[None] - y) ** 2) * 16 // (radius * radius)
        halo = _FALLOFF[np.minimum(square, 64)].max(axis=0) * strength >> 8
    else:
        halo = np.zeros_like(pool)
    image += image * (pool + halo) * 5 // 512
    lit = draws.within(np.zeros(layout.instances, np.int64), np.full(layout.instances, 99, np.int64))
    glow = GLOW_OF[part]
    window = MATERIAL_OF[part] == Material.WINDOW
    on = (glow > 0) & (~window | (lit < value["night.windows"])[layout.code >> 6])
    own = np.where(on, glow * strength // 4, 0)
    image += (_WARM - image) * own * 9 // (256 * 10)
    image += _WARM * halo >> 9


def _wet_street(image: Planes, layout: Layout, part: NDArray[np.intp], mirror: int) -> None:
    """A darker street that mirrors what stands behind it."""
    label = LABEL_OF[part]
    ground = (layout.code < PARTS) & ((label == ROAD) | (label == SIDEWALK))
    contact = np.maximum.accumulate(np.where(ground, 0, _ROW), axis=0)
    source = np.clip(2 * contact + 1 - _ROW, 0, SIZE - 1)
    reflected = np.take_along_axis(image, np.broadcast_to(source[None], image.shape), axis=1)
    weight = np.where(ground, np.maximum(mirror - (_ROW - contact) * 2, mirror // 3), 0)
    image -= image * np.where(ground, mirror // 4, 0) >> 8
    image += (reflected - image) * weight >> 8


def _fog(image: Planes, layout: Layout, value: dict[str, int]) -> None:
    """What the air in front of a pixel leaves of its light; the lost part is the fog's own colour."""
    clear, through = 65536, []
    for _ in range(256):
        through.append(clear >> 8)
        clear = clear * (4096 - value["fog.density"]) >> 12
    hsv = [np.array([value[f"fog.{key}"]]) for key in ("hue", "saturation", "value")]
    air = _rgb(*hsv)[:, :, None] * min(value["light.exposure"] + 40, 256) >> 8
    left = np.array(through, np.int32)[layout.depth]
    image -= air
    image *= left
    image >>= 8
    image += air


def _streaks(image: Planes, count: int, draws: Draws) -> None:
    """Slanted, half transparent streaks."""
    slant = draws.between(-6, 6)
    start = draws.noise(3, count).astype(np.int64)
    x, y, length = start[0], start[1] // 2 - 16, 5 + start[2] // 28
    step = np.arange(16)[None]
    column = (x[:, None] + step * slant // 12) % SIZE
    row = y[:, None] + step
    inside = (row >= 0) & (row < SIZE) & (step < length[:, None])
    at = row[inside] * SIZE + column[inside]
    flat = image.reshape(3, -1)
    flat[:, at] += (214 - flat[:, at]) * 80 >> 8


def _flakes(image: Planes, count: int, draws: Draws) -> None:
    """Flakes of one, two and a few of three pixels."""
    spots = draws.noise(3, count).astype(np.int64)
    x, y, size = spots[0] * SIZE >> 8, spots[1] * SIZE >> 8, spots[2]
    flat = image.reshape(3, -1)
    for dx, dy, least in ((0, 0, 0), (1, 0, 90), (0, 1, 90), (1, 1, 160)):
        chosen = size >= least
        at = np.minimum(y[chosen] + dy, SIZE - 1) * SIZE + np.minimum(x[chosen] + dx, SIZE - 1)
        flat[:, at] += (242 - flat[:, at]) * 190 >> 8


def _camera(image: Planes, layout: Layout, value: dict[str, int], draws: Draws) -> NDArray[np.uint8]:
    """What a camera or a game engine adds: outlines, softness, cast, saturation, contrast, vignette, noise, levels."""
    if value["camera.outline"] > 40:
        thing = layout.code >> 6
        edge = np.zeros((SIZE, SIZE), np.bool_)
        edge[:, 1:] |= thing[:, 1:] != thing[:, :-1]
        edge[1:] |= thing[1:] != thing[:-1]
        image -= image * (edge * np.int32(value["camera.outline"])) >> 8
    if value["camera.blur"]:
        image = _soften(image, value["camera.blur"])
    saturation = value["camera.saturation"]
    gains = np.array([value["camera.red"], 256, value["camera.blue"]], np.int32)
    grey = (image[0] * 77 + image[1] * 150 + image[2] * 29) >> 8
    image = grey + ((image - grey) * saturation >> 8)
    image *= (gains * value["camera.contrast"] >> 8)[:, None, None]
    image >>= 8
    image += 128 + value["camera.brightness"] - (128 * value["camera.contrast"] >> 8)
    if value["camera.vignette"]:
        radius = ((2 * _COLUMN - SIZE) ** 2 + (2 * _ROW - SIZE) ** 2) >> 6  # 0 .. 288
        image *= 256 - (radius * value["camera.vignette"] >> 8)
        image >>= 8
    if value["camera.noise"]:
        grain = draws.noise(2, 3, SIZE, SIZE).astype(np.int32)
        image += (grain[0] - grain[1]) * value["camera.noise"] >> 8
    np.clip(image, 0, 255, out=image)
    levels = value["camera.levels"]
    if levels > 2:
        image = (image >> (levels - 1) << (levels - 1)) | (1 << (levels - 2))
    return np.ascontiguousarray(image.astype(np.uint8).transpose(1, 2, 0))


def _soften(image: Planes, share: int) -> Planes:
    """Mix with the 3×3 binomial average; `share` of 256."""
    wide = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]
    soft = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) >> 4
    softened: Planes = image + ((soft - image) * share >> 8)
    return softened
