"""A street as geometry: where everything is, before any style says how it looks.

`street(draws, traits)` composes the ground, rows of buildings or gardens on both sides, what closes the street at
its end, and the objects. The result holds codes, depths, texture coordinates and lamps, all integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from gkd_lightning.data.minicity import cars, objects
from gkd_lightning.data.minicity.draws import Draws
from gkd_lightning.data.minicity.facades import wall
from gkd_lightning.data.minicity.parts import PART
from gkd_lightning.data.minicity.scene import CAST_SHADOW, SIZE, Layout, Scene, View

_END = 80
"""Scale at which a street ends: five pixels below the horizon."""


@dataclass(frozen=True)
class Traits:
    """How the streets of a style differ from those of another: ranges, both ends included.

    `camera` and `horizon`: height in cm and row. `cars`, `persons`, `poles`, `trees`: objects an image.
    `walls`: percent of the street sides that are closed rows of buildings.
    """

    camera: tuple[int, int] = (225, 310)
    horizon: tuple[int, int] = (36, 48)
    cars: tuple[int, int] = (2, 3)
    persons: tuple[int, int] = (1, 3)
    poles: tuple[int, int] = (1, 3)
    trees: tuple[int, int] = (1, 3)
    walls: int = 55


@dataclass(frozen=True)
class _Street:
    """Sideways borders in cm (negative = left of the camera) and what lies beyond the sidewalks."""

    left: int
    right: int
    left_walk: int
    right_walk: int
    left_wall: bool
    right_wall: bool


def street(draws: Draws, traits: Traits) -> Layout:
    """One street scene."""
    bend = draws.between(-150, 150) if draws.chance(45) else 0
    view = View(draws.between(*traits.horizon), draws.between(26, 70), draws.between(*traits.camera), bend)
    half, aside = draws.between(260, 400), draws.between(-170, 170)
    walks = [0 if draws.chance(10) else draws.between(170, 320) for _ in range(2)]
    road = _Street(aside - half, aside + half, walks[0], walks[1],
                   draws.chance(traits.walls), draws.chance(traits.walls))  # fmt: skip
    scene = Scene(view, draws)
    _ground(scene, road)
    _backdrop(scene)
    for side in (-1, 1):
        _side(scene, road, side)
    _populate(scene, road, traits)
    return scene.finish()


def _ground(scene: Scene, road: _Street) -> None:
    """Road, sidewalks, verges, curbs, joints, lane markings and patches, row by row."""
    view, draws = scene.view, scene.draws
    rows = np.arange(view.horizon + 1, SIZE)
    scale = (rows - view.horizon) * 16
    middle = view.vanishing + view.bend[scale]
    sideways = (np.arange(SIZE)[None] - middle[:, None]) * (16 * view.camera) // scale[:, None]
    distance = (16 * 80 * view.camera // scale)[:, None]
    ground = np.full(sideways.shape, PART["grass"], np.uint16)
    edge = 14 + 5 * 16 * view.camera // (4 * scale[:, None])  # a curb stays at least a pixel wide
    for near, far in ((road.left, road.left - road.left_walk), (road.right, road.right + road.right_walk)):
        low, high = min(near, far), max(near, far)
        walk = (sideways >= low) & (sideways < high)
        ground[walk] = PART["sidewalk"]
        if near != far:
            ground[walk & (distance % 240 < 30 + distance // 24)] = PART["joint"]
            ground[walk & (np.abs(sideways - near) < edge)] = PART["curb"]
    on_road = (sideways >= road.left) & (sideways < road.right)
    ground[on_road] = PART["road"]
    centre = (road.left + road.right) // 2
    kind, line = draws.below(4), 8 + 2 * 16 * view.camera // (3 * scale[:, None])
    if kind < 2:  # dashes
        period = draws.between(500, 700)
        ground[(np.abs(sideways - centre) < line) & (distance % period < period // 2)] = PART["marking"]
    elif kind == 2:  # solid, and lines at the edges
        ground[np.abs(sideways - centre) < line] = PART["marking"]
        for side in (road.left + 45, road.right - 45):
            ground[(np.abs(sideways - side) < line) & on_road] = PART["marking"]
    if draws.chance(30):  # zebra crossing
        start = draws.between(450, 1300)
        stripes = (distance >= start) & (distance < start + 320) & ((sideways + 10000) % 100 < 52)
        ground[stripes & on_road] = PART["marking"]
    if draws.chance(50):  # a repaired patch
        start, aside, wide = draws.between(380, 1200), draws.between(road.left, centre), draws.between(100, 260)
        patch = (distance >= start) & (distance < start + 400) & (sideways >= aside) & (sideways < aside + wide)
        ground[patch & (ground == PART["road"])] = PART["road_patch"]
    scene.canvas.code[rows] = ground
    scene.ground_depth[rows] = np.minimum(distance // 25 + 1, 254).astype(np.uint8)
    scene.texture_y[rows] = (rows * 2)[:, None].astype(np.uint8)


def _backdrop(scene: Scene) -> None:
    """Far houses and trees where the street ends."""
    view, draws, canvas = scene.view, scene.draws, scene.canvas
    foot, x = view.horizon + _END // 16, -draws.between(0, 8)
    leafy = draws.between(10, 60)
    while x < SIZE:
        code, wide = scene.instance(_END), draws.between(9, 20)
        if draws.chance(leafy):
            high = draws.between(8, 16)
            canvas.rect(x, foot - high // 2, x + wide, foot, code + PART["foliage_dark"])
            canvas.ellipse(x - 2, foot - high, x + wide + 2, foot + high // 2, code + PART["foliage"])
            canvas.ellipse(x, foot - high, x + wide - 2, foot - high // 3, code + PART["foliage_light"])
            canvas.rect(x - 2, foot, x + wide + 2, foot + high, PART["grass"])
        else:
            high = draws.between(8, 24)
            canvas.rect(x, foot - high, x + wide, foot, code + PART["facade_front"])
            if draws.chance(50):
                canvas.rect(x, foot - high, x + wide, foot - high + 2, code + PART["roof"])
            for row in range(foot - high + 4, foot - 3, 4):
                for column in range(x + 2, x + wide - 2, 4):
                    lit = PART["window_lit"] if draws.chance(40) else PART["window"]
                    canvas.rect(column, row, column + 2, row + 2, code + lit)
        x += wide
    canvas.code[foot:] = np.where(canvas.code[foot:] < 64, canvas.code[foot:], PART["grass"])


def _side(scene: Scene, road: _Street, side: int) -> None:
    """What borders the street on one side: a closed row of buildings, or gardens with houses and hedges."""
    draws = scene.draws
    walk = road.left - road.left_walk if side < 0 else road.right + road.right_walk
    if road.left_wall if side < 0 else road.right_wall:
        wall(scene, walk + side * draws.pick((0, 0, 60)), side, _END)
        if side == scene.sun:
            _wall_shadow(scene, walk, side)
        return
    distance, houses = draws.between(2600, 3600), []
    while distance > 900:
        houses.append(distance)
        distance -= draws.between(700, 1100)
    setback = draws.between(60, 300)
    for distance in houses:
        if draws.chance(75):
            width = draws.between(700, 1100)
            objects.house(scene, walk + setback if side > 0 else walk - setback - width, width, distance)
        else:
            objects.tree(scene, walk + side * draws.between(200, 500), scene.view.scale(distance))
    if draws.chance(45):
        start, thick = draws.between(420, 900), draws.between(70, 120)
        aside = walk + side * 30 - (thick if side < 0 else 0)
        objects.hedge(scene, aside, thick, start, draws.between(500, 1500), draws.between(70, 130))


def _wall_shadow(scene: Scene, walk: int, side: int) -> None:
    """The shade of a row of buildings on the ground beside it."""
    view = scene.view
    rows = np.arange(view.horizon + _END // 16, SIZE)
    scale = (rows - view.horizon) * 16
    reach = walk - side * scene.draws.between(80, 330)
    border = view.vanishing + view.bend[scale] + reach * scale // (16 * view.camera)
    x = np.arange(SIZE)[None]
    shade = x < border[:, None] if side < 0 else x >= border[:, None]
    scene.shadow.code[rows] = np.where(shade, CAST_SHADOW, scene.shadow.code[rows])


def _populate(scene: Scene, road: _Street, traits: Traits) -> None:
    """Cars, persons, trees and poles, collected first and then drawn from far to near."""
    view, draws = scene.view, scene.draws
    queue: list[tuple[int, Callable[[], None]]] = []

    def visible(x: int, scale: int, margin: int = 3) -> bool:
        return margin <= view.x(x, scale) < SIZE - margin

    _queue_cars(scene, road, draws.between(*traits.cars), queue)
    walks = [(road.left - road.left_walk, road.left), (road.right, road.right + road.right_walk)]

    def place(near: int, far: int, on_road: int, verge: int) -> tuple[int, int] | None:
        """A visible spot (X, scale) on a sidewalk, at the curb or on the road."""
        for _ in range(6):
            scale = 16 * draws.between(near, far)
            low, high = (road.left, road.right) if draws.chance(on_road) else draws.pick(walks)
            x = draws.between(low - verge, high + verge)
            if visible(x, scale):
                return x, scale
        return None

    for _ in range(draws.between(*traits.persons)):
        if spot := place(29, 47, 25, 0):
            queue.append((spot[1], partial(objects.person, scene, *spot)))
            if draws.chance(20):
                beside = (spot[0] + draws.pick((-105, 105)), spot[1] - 8)
                queue.append((beside[1], partial(objects.person, scene, *beside)))
    for _ in range(draws.between(*traits.trees)):
        walk, side = draws.pick(((road.left - road.left_walk, -1), (road.right + road.right_walk, 1)))
        closed = road.left_wall if side < 0 else road.right_wall
        x = walk - side * draws.between(40, 90) if closed else walk + side * draws.between(40, 420)
        scale = 16 * draws.between(10, 30)
        if visible(x, scale, -8):
            grow = objects.bush if not closed and draws.chance(40) else objects.tree
            queue.append((scale, partial(grow, scene, x, scale)))
    for _ in range(draws.between(*traits.poles)):
        for _ in range(5):
            scale = 16 * draws.between(22, 42)
            x = draws.pick((road.left - draws.between(20, 60), road.right + draws.between(20, 60)))
            if visible(x, scale, 4):
                queue.append((scale, partial(objects.pole, scene, x, scale)))
                break
    for _, put in sorted(queue, key=lambda entry: entry[0]):
        put()


def _queue_cars(scene: Scene, road: _Street, count: int, queue: list[tuple[int, Callable[[], None]]]) -> None:
    """Cars parked at the curbs, driving in the lanes or crossing the street."""
    view, draws = scene.view, scene.draws
    half = (road.right - road.left) // 2
    taken: list[tuple[int, int]] = []
    for _ in range(count):
        for _ in range(6):
            side, parked = draws.pick((-1, 1)), draws.chance(50)
            across = draws.chance(18)
            curb = road.left if side < 0 else road.right
            x = curb - side * (110 if parked else half * draws.between(48, 62) // 100)
            distance = draws.between(450, 1150)
            if across:
                x, distance = draws.between(road.left, road.right), draws.between(620, 1050)
            scale = view.scale(distance)
            inside = -8 <= view.x(x, scale) < SIZE + 8
            clear = all(abs(x - a) > 210 or abs(distance - b) > 560 for a, b in taken)
            if inside and clear:
                taken.append((x, distance))
                if across:
                    queue.append((scale, partial(cars.car_across, scene, x, scale)))
                else:
                    queue.append((scale, partial(cars.car_along, scene, x, distance, side < 0)))
                break
