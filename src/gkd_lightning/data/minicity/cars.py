"""Cars, along the street and across it; sizes are in centimetres."""

from __future__ import annotations

from typing import NamedTuple

from gkd_lightning.data.minicity.parts import PART
from gkd_lightning.data.minicity.scene import Scene


class CarShape(NamedTuple):
    """Outline of a car in cm; the cabin begins and ends `rear` and `front` from the ends, `slope` slanted."""

    length: int
    width: int
    belt: int
    height: int
    rear: int
    front: int
    slope: int


CAR_SHAPES = (
    CarShape(430, 184, 88, 148, 60, 120, 45),  # saloon
    CarShape(385, 178, 90, 154, 4, 105, 35),  # hatchback
    CarShape(440, 194, 102, 176, 4, 115, 18),  # off-roader
    CarShape(500, 200, 118, 216, 0, 50, 8),  # van
    CarShape(410, 180, 80, 136, 90, 140, 60),  # coupe
)
_CAR_FACES = tuple(PART[name] for name in ("car_end", "car_left", "car_right", "car_top"))


def car_along(scene: Scene, x: int, distance: int, toward: bool) -> None:
    """A car driving along the street, seen from behind (or from the front) and from one side and above."""
    view, canvas = scene.view, scene.canvas
    s = scene.draws.pick(CAR_SHAPES)
    rear, front = (s.front, s.rear) if toward else (s.rear, s.front)
    half, near, z = s.width // 2, view.scale(distance), distance
    code = scene.instance(near)
    x0, x1 = view.x(x - half, near), view.x(x + half, near)
    ground = view.y(0, near)
    scene.cast(x0 - 1, x1 + 1, ground, view.pixels(40, near, 2), view.pixels(120, near))
    far_ground = view.y(0, view.scale(z + s.length))
    far0, far1 = view.x(x - half, view.scale(z + s.length)), view.x(x + half, view.scale(z + s.length))
    scene.shadow.rows(far_ground, ground + 1, (far0 - 1, far1 + 1), (x0 - 1, x1 + 1), 1)

    scene.box(code, (x - half, x + half), (22, s.belt), (z, z + s.length), _CAR_FACES)
    side = x + half if x1 < far1 else x - half  # the side that is in view
    for centre in (z + 80, z + s.length - 80):
        a, b = view.x(side, view.scale(centre - 34)), view.x(side, view.scale(centre + 34))
        at = view.scale(centre)
        canvas.ellipse(min(a, b), view.y(62, at), max(a, b) + 1, view.y(0, at) + 1, code + PART["tyre"])

    inner = half - 14
    z0, z1 = z + rear, z + s.length - front
    top0, top1 = view.scale(z0 + s.slope), view.scale(z1 - s.slope)
    low0, low1 = view.scale(z0), view.scale(z1)
    belt, roof = view.y(s.belt, low0), view.y(s.height, top0)
    edge = inner if side > x else -inner
    a, b = view.x(x + edge, low0), view.x(x + edge, low1)
    mid0, mid1 = view.scale(z0 + s.slope // 2), view.scale(z1 - s.slope // 2)
    rows_near = (view.y(s.height, mid0), view.y(s.belt, mid0))
    rows_far = (view.y(s.height, mid1), view.y(s.belt, mid1))
    if a < b:
        canvas.columns(a, b, rows_near, rows_far, code + PART["glass_side"])
        canvas.columns(a, b, rows_near, (rows_far[0], rows_far[0] + 1), code + PART["car_right"])
        _roof_line(scene, code + PART["car_right"], a, b, rows_near[0], rows_far[0], low0)
    elif b < a:
        canvas.columns(b, a, rows_far, rows_near, code + PART["glass_side"])
        _roof_line(scene, code + PART["car_left"], b, a, rows_far[0], rows_near[0], low0)
    narrow = inner - 10
    canvas.rows(roof, belt, (view.x(x - narrow, top0), view.x(x + narrow, top0)),
                (view.x(x - inner, low0), view.x(x + inner, low0)), code + PART["car_end"])  # fmt: skip
    pillar = view.pixels(9, low0)
    canvas.rows(roof + pillar, belt, (view.x(x - narrow, top0) + pillar, view.x(x + narrow, top0) - pillar),
                (view.x(x - inner, low0) + pillar, view.x(x + inner, low0) - pillar), code + PART["glass"])  # fmt: skip
    far_roof = view.y(s.height, top1)
    if far_roof < roof:
        canvas.rows(far_roof, roof + 1, (view.x(x - narrow, top1), view.x(x + narrow, top1)),
                    (view.x(x - narrow, top0), view.x(x + narrow, top0)), code + PART["car_top"])  # fmt: skip
    _car_end(scene, code, x, half, near, s, toward)


def _roof_line(scene: Scene, code: int, x0: int, x1: int, left: int, right: int, scale: int) -> None:
    thick = scene.view.pixels(10, scale)
    scene.canvas.columns(x0, x1, (left, left + thick), (right, right + thick), code)


def _car_end(scene: Scene, code: int, x: int, half: int, near: int, s: CarShape, toward: bool) -> None:
    """Tyres, bumper, lamps and plate on the end that looks at the camera."""
    view, canvas = scene.view, scene.canvas
    x0, x1 = view.x(x - half, near), view.x(x + half, near)
    tyre = view.pixels(30, near, 2)
    for left in (x0 + 1, x1 - 1 - tyre):
        canvas.rect(left, view.y(24, near), left + tyre, view.y(0, near) + 1, code + PART["tyre"])
    canvas.rect(x0, view.y(40, near), x1, view.y(20, near), code + PART["car_low"])
    lamp, deep = view.pixels(36, near, 2), view.pixels(20, near, 2)
    top = view.y(s.belt - 12, near)
    part = PART["headlamp"] if toward else PART["taillamp"]
    for left in (x0, x1 - lamp):
        canvas.rect(left, top, left + lamp, top + deep, code + part)
        scene.lights.append((left + lamp // 2, top + deep // 2, view.pixels(160 if toward else 60, near, 3)))
    middle = view.x(x, near)
    if toward:
        canvas.rect(middle - 2 * lamp // 3, top, middle + 2 * lamp // 3, top + deep, code + PART["car_low"])
    plate = view.pixels(24, near)
    canvas.rect(middle - plate, view.y(52, near), middle + plate, view.y(40, near), code + PART["plate"])


def car_across(scene: Scene, x: int, scale: int) -> None:
    """A car seen from its side."""
    view, canvas = scene.view, scene.canvas
    s = scene.draws.pick(CAR_SHAPES)
    code, half = scene.instance(scale), s.length // 2
    flip = -1 if scene.draws.chance(50) else 1  # +1: the bonnet is on the right

    def span(a: int, b: int) -> tuple[int, int]:
        p, q = view.x(x + flip * a, scale), view.x(x + flip * b, scale)
        return (p, q) if p <= q else (q, p)

    x0, x1 = span(-half, half)
    ground, belt, roof = view.y(0, scale), view.y(s.belt, scale), view.y(s.height, scale)
    scene.cast(x0, x1, ground, view.pixels(40, scale, 2), view.pixels(90, scale))
    distance = view.distance(scale)
    scene.box(code, (x - half, x + half), (26, s.belt), (distance, distance + s.width), _CAR_FACES)
    cabin = (code + PART["car_end"], span(-half + s.rear + s.slope, half - s.front - s.slope))
    deep = view.scale(distance + s.width)
    above = view.y(s.height, deep)
    if above < roof:
        canvas.rows(above, roof, cabin[1], cabin[1], code + PART["car_top"])
    canvas.rows(roof, belt, cabin[1], span(-half + s.rear, half - s.front), cabin[0])
    frame = view.pixels(9, scale)
    inner, outer = cabin[1], span(-half + s.rear, half - s.front)
    canvas.rows(roof + frame, belt, (inner[0] + frame, inner[1] - frame), (outer[0] + frame, outer[1] - frame),
                code + PART["glass"])  # fmt: skip
    post = view.x(x - flip * 20, scale)
    canvas.rect(post, roof, post + frame, belt, code + PART["car_end"])
    canvas.rect(x0 + 1, view.y(40, scale), x1 - 1, view.y(22, scale), code + PART["car_low"])
    for centre in (-half + 80, half - 85):
        a, b = span(centre - 36, centre + 36)
        canvas.ellipse(a, view.y(70, scale), b + 1, ground + 1, code + PART["tyre"])
        hub = (b - a) // 4
        if hub:
            canvas.ellipse(a + hub, view.y(70, scale) + hub, b + 1 - hub, ground + 1 - hub, code + PART["hub"])
    for end, part in ((half - 22, "headlamp"), (-half, "taillamp")):
        a, b = span(end, end + 22)
        canvas.rect(a, view.y(s.belt - 8, scale), max(b, a + 2), view.y(s.belt - 32, scale), code + PART[part])
        scene.lights.append(((a + b) // 2, view.y(s.belt - 20, scale), view.pixels(90, scale, 3)))
