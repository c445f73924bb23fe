"""`shapes`, the proxy domain: one to three objects of all kinds before a plain background, and never a street.

It stands in for ImageNet: cars, persons, trees, houses and signs occur, but so do balls, animals, furniture,
bottles and abstract forms, in every colour and texture of `wild`; nothing tells how a street is composed.
"""

from __future__ import annotations

from collections.abc import Callable

from gkd_lightning.data.minicity import cars, objects
from gkd_lightning.data.minicity.draws import Draws
from gkd_lightning.data.minicity.parts import PART
from gkd_lightning.data.minicity.scene import Layout, Scene, View

_BACKGROUNDS = tuple(PART[name] for name in (
    "sky", "facade_front", "roof", "window", "trim", "road", "sidewalk", "foliage", "grass", "trunk", "thing", "glass",
))  # fmt: skip


def shapes(draws: Draws) -> Layout:
    """Layout of one proxy image. Background pixels belong to instance 0."""
    foot, tall = draws.between(66, 92), draws.between(24, 58)
    view = View(foot - tall, draws.between(30, 66), draws.between(90, 230))
    scene = Scene(view, draws)
    scene.ground_depth[:] = draws.between(20, 120)
    scene.canvas.code[:] = draws.pick(_BACKGROUNDS)
    if draws.chance(55):  # a floor, a table or a meadow
        scene.canvas.code[foot - draws.between(4, max(tall, 5)) :] = draws.pick(_BACKGROUNDS)
    if draws.chance(25):  # a curtain, a column, a window frame
        left = draws.between(-20, 80)
        scene.canvas.code[:, max(left, 0) : max(left + draws.between(8, 40), 0)] = draws.pick(_BACKGROUNDS)
    scale = tall * 16
    for _ in range(draws.pick((1, 1, 1, 2, 2, 3))):
        x = (draws.between(16, 80) - view.vanishing) * 16 * view.camera // scale
        draws.pick(_KINDS)(scene, x, scale)
    return scene.finish()


def _car(scene: Scene, x: int, scale: int) -> None:
    if scene.draws.chance(50):
        cars.car_across(scene, x, scale)
    else:
        cars.car_along(scene, x, scene.view.distance(scale), scene.draws.chance(50))


def _house(scene: Scene, x: int, scale: int) -> None:
    width = scene.draws.between(500, 1000)
    objects.house(scene, x // 2 - width // 2, width, scene.view.distance(max(scale // 3, 130)))


def _span(scene: Scene, x: int, scale: int, low: int, high: int) -> tuple[int, int, int, int]:
    """Instance code, centre column, foot row and a size in pixels."""
    size = max(scene.view.pixels(scene.draws.between(low, high), scale), 9)
    return scene.instance(scale), scene.view.x(x, scale), scene.view.y(0, scale), min(size, 70)


def _ball(scene: Scene, x: int, scale: int) -> None:
    code, centre, foot, size = _span(scene, x, scale, 60, 160)
    canvas, left, top = scene.canvas, centre - size // 2, foot - size
    scene.cast(left + size // 4, left + size * 3 // 4, foot, 2, size // 2)
    canvas.ellipse(left, top, left + size, foot, code + PART["thing_dark"])
    canvas.ellipse(left, top, left + size - size // 8, foot - size // 8, code + PART["thing"])
    if scene.draws.chance(50):
        canvas.ellipse(left + size // 3, top, left + size * 2 // 3, foot, code + PART["thing_mark"])
    canvas.ellipse(left + size // 5, top + size // 6, left + size // 2, top + size * 2 // 5, code + PART["thing_light"])


def _animal(scene: Scene, x: int, scale: int) -> None:
    code, centre, foot, size = _span(scene, x, scale, 90, 190)
    canvas, draws = scene.canvas, scene.draws
    flip = draws.pick((-1, 1))
    high, leg = size * draws.between(30, 50) // 100, size * draws.between(15, 40) // 100
    body, thick = foot - leg, max(size // 12, 2)
    scene.cast(centre - size // 2, centre + size // 2, foot, 2, size // 2)
    for place, part in ((-38, "thing_dark"), (-24, "thing"), (20, "thing_dark"), (34, "thing")):
        left = centre + size * place // 100
        canvas.rect(left, body - high // 2, left + thick, foot, code + PART[part])
    canvas.ellipse(centre - size // 2, body - high, centre + size // 2, body + 2, code + PART["thing"])
    canvas.ellipse(centre - size * 2 // 5, body - high, centre + size * 2 // 5, body - high // 2,
                   code + PART["thing_light"])  # fmt: skip
    head, at = max(size // 4, 4), centre + flip * size * 9 // 20
    top = body - high - head * draws.between(0, 120) // 100
    neck = (at - head // 4, at + head // 4)
    canvas.rows(top + head // 2, body - high // 3, neck, (centre + flip * size // 3 - head // 3,
                centre + flip * size // 3 + head // 3), code + PART["thing"])  # fmt: skip
    canvas.ellipse(at - head * 2 // 3, top, at + head * 2 // 3, top + head, code + PART["thing"])
    ear = at - flip * head // 4
    canvas.rect(ear, top - head // 3, ear + thick, top + 2, code + PART["thing_dark"])
    canvas.rect(at + flip * head // 4, top + head // 3, at + flip * head // 4 + 1, top + head // 3 + 1,
                code + PART["thing_mark"])  # fmt: skip
    tail = sorted((centre - flip * size // 2, centre - flip * size * 2 // 3))
    canvas.rect(tail[0], body - high, tail[1], body - high + thick, code + PART["thing_dark"])


def _chair(scene: Scene, x: int, scale: int) -> None:
    code, centre, foot, size = _span(scene, x, scale, 90, 150)
    canvas, half, thick = scene.canvas, size * 3 // 10, max(size // 12, 2)
    seat = foot - size * 9 // 20
    scene.cast(centre - half, centre + half, foot, 2, size // 2)
    for left in (centre - half, centre + half - thick):
        canvas.rect(left, seat, left + thick, foot, code + PART["thing_dark"])
        canvas.rect(left, foot - size, left + thick, seat, code + PART["thing"])
    for bar in range(foot - size, seat - thick, 2 * thick + 1):
        canvas.rect(centre - half, bar, centre + half, bar + thick, code + PART["thing"])
    canvas.rows(seat - thick, seat + thick, (centre - half, centre + half), (centre - half - 2, centre + half + 2),
                code + PART["thing_light"])  # fmt: skip


def _table(scene: Scene, x: int, scale: int) -> None:
    code, centre, foot, size = _span(scene, x, scale, 120, 220)
    canvas, thick, high = scene.canvas, max(size // 14, 2), size * scene.draws.between(35, 60) // 100
    scene.cast(centre - size // 2, centre + size // 2, foot, 2, size // 3)
    for left in (centre - size * 2 // 5, centre + size * 2 // 5 - thick):
        canvas.rect(left, foot - high, left + thick, foot, code + PART["thing_dark"])
    canvas.rows(foot - high - thick, foot - high + thick, (centre - size * 2 // 5, centre + size * 2 // 5),
                (centre - size // 2, centre + size // 2), code + PART["thing_light"])  # fmt: skip
    edge = foot - high + thick
    canvas.rect(centre - size // 2, edge, centre + size // 2, edge + thick, code + PART["thing"])


def _bottle(scene: Scene, x: int, scale: int) -> None:
    code, centre, foot, size = _span(scene, x, scale, 90, 200)
    canvas, half = scene.canvas, size * scene.draws.between(12, 26) // 100
    neck, shoulder = max(half // 3, 1), foot - size * 6 // 10
    scene.cast(centre - half, centre + half, foot, 2, size // 2)
    canvas.rect(centre - half, shoulder, centre + half, foot, code + PART["thing"])
    canvas.rows(shoulder - half, shoulder, (centre - neck, centre + neck), (centre - half, centre + half),
                code + PART["thing"])  # fmt: skip
    canvas.rect(centre - neck, foot - size, centre + neck, shoulder - half, code + PART["thing_dark"])
    canvas.rect(centre - half, foot - size // 3, centre + half, foot - size // 6, code + PART["thing_mark"])
    canvas.rect(centre - half // 2, shoulder, centre - half // 4, foot, code + PART["thing_light"])


def _abstract(scene: Scene, x: int, scale: int) -> None:
    """A few triangles, bars, discs and trapezoids over each other."""
    code, centre, foot, size = _span(scene, x, scale, 80, 200)
    canvas, draws = scene.canvas, scene.draws
    for name in ("thing", "thing_mark", "thing_dark", "thing_light"):
        left, wide = centre + draws.between(-size // 2, size // 4), draws.between(size // 5 + 2, size * 3 // 5 + 3)
        top, high = foot - draws.between(size // 3 + 1, size + 2), draws.between(size // 5 + 2, size * 3 // 5 + 3)
        kind, part = draws.below(4), code + PART[name]
        if kind == 0:
            canvas.ellipse(left, top, left + wide, top + high, part)
        elif kind == 1:
            canvas.rect(left, top, left + wide, top + high, part)
        elif kind == 2:
            peak = left + draws.below(wide)
            canvas.rows(top, top + high, (peak, peak + 1), (left, left + wide), part)
        else:
            canvas.columns(left, left + wide, (top, top + high), (top + high // 3, top + high * 4 // 3), part)


_KINDS: tuple[Callable[[Scene, int, int], None], ...] = (
    _car, _car, _car, objects.person, objects.person, objects.person, objects.tree, objects.tree, objects.bush,
    objects.pole, objects.pole, objects.pole, _house, _house,
    _ball, _animal, _animal, _chair, _table, _bottle, _abstract,
)  # fmt: skip
"""About as many street things as other ones."""
