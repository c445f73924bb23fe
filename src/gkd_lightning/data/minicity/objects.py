"""Things that stand in a street: cars, persons, trees, hedges, poles with signs, houses.

Every function draws one object at (X cm to the right, scale) into a scene; sizes are in centimetres. Persons and
poles are a little larger than life, so that a small image still shows what they are.
"""

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


def car_along(scene: Scene, x: int, distance: int, toward: bool, shape: CarShape | None = None) -> None:
    """A car driving along the street, seen from behind (or from the front) and from one side and above."""
    view, canvas = scene.view, scene.canvas
    s = shape or scene.draws.pick(CAR_SHAPES)
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


def car_across(scene: Scene, x: int, scale: int, shape: CarShape | None = None) -> None:
    """A car seen from its side."""
    view, canvas = scene.view, scene.canvas
    s = shape or scene.draws.pick(CAR_SHAPES)
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


def person(scene: Scene, x: int, scale: int, height: int | None = None) -> None:
    """A person who stands or walks."""
    view, canvas, draws = scene.view, scene.canvas, scene.draws
    tall = view.pixels(height or draws.between(195, 235), scale, 14)
    code = scene.instance(scale)
    foot, centre = view.y(0, scale), view.x(x, scale)
    top = foot - tall
    half = max(tall * draws.between(15, 19) // 100, 2)
    head = max(tall * 17 // 100, 4)
    scene.cast(centre - half, centre + half, foot, 2, tall * 2 // 3)
    hip, neck = top + tall * 52 // 100, top + head
    stride = draws.between(0, 2) * tall // 16
    leg = max(half * 8 // 10, 2)
    if draws.chance(22):  # a skirt or a coat
        canvas.rows(hip - 1, foot - tall // 6, (centre - half, centre + half), (centre - half - 1, centre + half + 1),
                    code + PART["trousers"])  # fmt: skip
        canvas.rect(centre - leg, foot - tall // 6, centre - 1, foot, code + PART["skin"])
        canvas.rect(centre + 1, foot - tall // 6, centre + leg, foot, code + PART["skin"])
    else:
        canvas.rows(hip - 1, foot, (centre - leg, centre), (centre - leg - stride, centre - stride),
                    code + PART["trousers_dark"])  # fmt: skip
        canvas.rows(hip - 1, foot, (centre, centre + leg), (centre + stride, centre + leg + stride),
                    code + PART["trousers"])  # fmt: skip
        canvas.rect(centre - leg - stride, foot - 1, centre - stride + 1, foot, code + PART["shoe"])
        canvas.rect(centre + stride, foot - 1, centre + leg + stride + 1, foot, code + PART["shoe"])
    arm = max(half // 3, 1)
    swing = draws.between(0, 2)
    hand = neck + (hip - neck) * draws.between(85, 120) // 100
    for side in (-1, 1):
        outer = centre + side * half
        a, b = (outer - arm, outer) if side < 0 else (outer, outer + arm)
        shift = side * swing
        canvas.rows(neck + 1, hand, (a, b), (a + shift, b + shift), code + PART["sleeve"])
        canvas.rect(a + shift, hand, b + shift, hand + arm + 1, code + PART["skin"])
    canvas.rect(centre - half, neck, centre + half, hip, code + PART["shirt"])
    if draws.chance(25):  # a rucksack
        back = half if draws.chance(50) else -half - arm - 1
        canvas.rect(centre + back, neck + 1, centre + back + arm + 1, hip - 1, code + PART["trousers_dark"])
    wide = max(head * 4 // 10, 2)
    canvas.ellipse(centre - wide, top, centre + wide, neck + 1, code + PART["skin"])
    cap = head * draws.between(35, 60) // 100
    canvas.ellipse(centre - wide, top, centre + wide, top + max(cap, 2), code + PART["hair"])


def _clump(scene: Scene, code: int, x0: int, y0: int, x1: int, y1: int) -> None:
    """A leafy blob: dark below and on the far side of the light, bright on top."""
    canvas, shift = scene.canvas, scene.sun * (x1 - x0) // 12
    canvas.ellipse(x0, y0, x1, y1, code + PART["foliage_dark"])
    wide, high = (x1 - x0) // 8, (y1 - y0) // 5
    canvas.ellipse(x0 + wide + shift, y0, x1 - wide + shift, y1 - high, code + PART["foliage"])
    canvas.ellipse(x0 + 2 * wide + 2 * shift, y0 + 1, x1 - 2 * wide + 2 * shift, y0 + (y1 - y0) // 2,
                   code + PART["foliage_light"])  # fmt: skip


def tree(scene: Scene, x: int, scale: int) -> None:
    """A tree: round, tall or a conifer."""
    view, canvas, draws = scene.view, scene.canvas, scene.draws
    code = scene.instance(scale)
    foot, centre = view.y(0, scale), view.x(x, scale)
    height = view.pixels(draws.between(420, 760), scale, 16)
    kind = draws.below(4)
    trunk = max(height // draws.between(12, 16), 2)
    scene.cast(centre - trunk, centre + trunk, foot, 2, height // 2)
    canvas.rect(centre - trunk // 2, foot - height * 2 // 3, centre + (trunk + 1) // 2, foot, code + PART["trunk"])
    if kind == 0:  # conifer
        half, top = height // 4, foot - height
        for tier in range(3):
            y0 = top + height * tier * 24 // 100
            y1 = min(y0 + height * 38 // 100, foot - height // 8)
            reach = half * (tier + 2) // 4 + 1
            canvas.rows(y0, y1, (centre, centre + 1), (centre - reach, centre + reach), code + PART["foliage"])
            lit = centre + scene.sun * reach
            canvas.rows(y0, y1, (centre, centre + 1), (min(centre, lit), max(centre, lit)),
                        code + PART["foliage_light"])  # fmt: skip
            canvas.rows(y1 - max(height // 20, 1), y1, (centre - reach, centre + reach),
                        (centre - reach, centre + reach), code + PART["foliage_dark"])  # fmt: skip
    elif kind == 1:  # tall
        half = height // 6
        _clump(scene, code, centre - half, foot - height, centre + half, foot - height // 6)
    else:
        crown, top = height * draws.between(52, 66) // 100, foot - height
        half = height * draws.between(26, 36) // 100
        canvas.ellipse(centre - half, top, centre + half, top + crown, code + PART["foliage_dark"])
        for _ in range(draws.between(4, 6)):
            size = half * draws.between(45, 75) // 100 + 1
            cx = centre + draws.between(-half + size // 2, half - size // 2)
            cy = top + draws.between(size // 2, max(crown - size, size // 2))
            _clump(scene, code, cx - size, cy - size * 3 // 4, cx + size, cy + size * 3 // 4)


def bush(scene: Scene, x: int, scale: int) -> None:
    """One to three low clumps."""
    view, draws = scene.view, scene.draws
    code, foot = scene.instance(scale), view.y(0, scale)
    for _ in range(draws.between(1, 3)):
        high = view.pixels(draws.between(90, 170), scale, 6)
        wide = high * draws.between(60, 90) // 100
        centre = view.x(x + draws.between(-70, 70), scale)
        _clump(scene, code, centre - wide, foot - high, centre + wide, foot + 1)


def hedge(scene: Scene, x: int, width: int, distance: int, length: int, height: int) -> None:
    """A clipped hedge that runs along the street."""
    code = scene.instance(scene.view.scale(distance))
    faces = tuple(PART[name] for name in ("foliage", "hedge_left", "hedge_right", "hedge_top"))
    scene.box(code, (x, x + width), (0, height), (distance, distance + length), faces)


def pole(scene: Scene, x: int, scale: int) -> None:
    """A sign post, a traffic light or a street lamp."""
    view, canvas, draws = scene.view, scene.canvas, scene.draws
    code, foot, centre = scene.instance(scale), view.y(0, scale), view.x(x, scale)
    width = max(view.pixels(draws.between(32, 42), scale), 4)
    left, kind = centre - width // 2, draws.below(8)
    height = view.pixels(draws.between(255, 320) if kind < 6 else draws.between(430, 560), scale, 18)
    top = foot - height
    scene.cast(left, left + width, foot, 1, height * 2 // 3)
    canvas.rect(left, top, left + width, foot, code + PART["pole"])
    shade = left if scene.sun > 0 else left + width - 1
    canvas.rect(shade, top, shade + 1, foot, code + PART["pole_dark"])
    if kind < 4:
        _plate(scene, code, centre, top, max(view.pixels(draws.between(105, 140), scale), 9), kind)
        if kind == 0 and draws.chance(50):
            size = max(view.pixels(92, scale), 8)
            _plate(scene, code, centre, top + size, size, 2)
    elif kind < 6:  # traffic light
        wide, high = max(view.pixels(70, scale), 7), max(view.pixels(160, scale), 15)
        canvas.rect(centre - wide // 2, top, centre + (wide + 1) // 2, top + high, code + PART["signal_box"])
        bulb, lit = max(wide * 2 // 3, 3), draws.below(2)
        for place, part in ((0, "signal_red"), (1, "signal_green")):
            y = top + 1 + place * (high - bulb - 2)
            name = part if place == lit else "pole_dark"
            canvas.ellipse(centre - bulb // 2, y, centre - bulb // 2 + bulb, y + bulb, code + PART[name])
            if place == lit:
                scene.lights.append((centre, y + bulb // 2, max(bulb, 4)))
    else:
        reach = view.pixels(draws.between(90, 140), scale, 6) * (-1 if centre > view.vanishing else 1)
        x0, x1 = min(centre, centre + reach), max(centre, centre + reach)
        thick = max(width * 2 // 3, 2)
        canvas.rect(x0, top, x1, top + thick, code + PART["pole"])
        lamp, end = max(abs(reach) // 2, 4), centre + reach
        canvas.rect(end - lamp // 2, top + thick // 2, end + (lamp + 1) // 2, top + thick + 2, code + PART["lantern"])
        scene.lights.append((end, top + thick + 1, view.pixels(290, scale, 8)))


def _plate(scene: Scene, code: int, centre: int, top: int, size: int, kind: int) -> None:
    """A sign plate of about `size` pixels: round, triangular, square or oblong; the rim differs from the face."""
    canvas, rim = scene.canvas, max(size // 6, 1)
    x0, x1 = centre - size // 2, centre - size // 2 + size
    sign, figure = code + PART["sign"], code + PART["figure"]
    if kind == 0:
        canvas.ellipse(x0, top, x1, top + size, sign)
        canvas.ellipse(x0 + rim + 1, top + rim + 1, x1 - rim - 1, top + size - rim - 1, figure)
    elif kind == 1:
        canvas.rows(top, top + size, (centre, centre + 1), (x0, x1), sign)
        canvas.rows(top + size // 3, top + size - rim, (centre, centre + 1),
                    (x0 + 2 * rim + 1, x1 - 2 * rim - 1), figure)  # fmt: skip
    elif kind == 2:
        canvas.rect(x0, top, x1, top + size, sign)
        canvas.rect(x0 + 2 * rim, top + 2 * rim, x1 - 2 * rim, top + size - 2 * rim, figure)
    else:
        wide = size * 3 // 4
        canvas.rect(centre - wide, top, centre + wide, top + size * 3 // 4, sign)
        canvas.rect(centre - wide + 1 + rim, top + size // 4, centre + wide - 1 - rim, top + size // 2, figure)


def house(scene: Scene, x: int, width: int, distance: int) -> None:
    """A detached house that looks at the camera, with a gable or a hipped roof."""
    view, canvas, draws = scene.view, scene.canvas, scene.draws
    near = view.scale(distance)
    code = scene.instance(near)
    height = draws.between(330, 640)
    faces = tuple(PART[name] for name in ("facade_front", "facade_right", "facade_left", "roof"))
    scene.box(code, (x, x + width), (0, height), (distance, distance + 600), faces)
    x0, x1, top, foot = view.x(x, near), view.x(x + width, near), view.y(height, near), view.y(0, near)
    over = max((x1 - x0) // 12, 1)
    peak = top - view.pixels(draws.between(200, 340), near, 4)
    if draws.chance(50):
        middle = (x0 + x1) // 2
        canvas.rows(peak, top + 1, (middle, middle + 1), (x0 - over, x1 + over), code + PART["roof_side"])
        inset = max((x1 - x0) // 8, 2)
        canvas.rows(peak + inset, top + 1, (middle, middle + 1), (x0 + inset, x1 - inset), code + PART["facade_front"])
    else:
        inset = (x1 - x0) // draws.between(4, 7)
        canvas.rows(peak, top + 1, (x0 + inset, x1 - inset), (x0 - over, x1 + over), code + PART["roof"])
        stack = x0 + (x1 - x0) * draws.pick((1, 2)) // 3
        canvas.rect(stack, peak - view.pixels(70, near, 2), stack + view.pixels(60, near, 2), peak + 2,
                    code + PART["chimney"])  # fmt: skip
    across, floors = max(width // 260, 2), max(height // 300, 1)
    door = draws.below(across)
    wide, high = view.pixels(110, near, 2), view.pixels(130, near, 2)
    for column in range(across):
        centre = x0 + (x1 - x0) * (2 * column + 1) // (2 * across)
        for floor in range(floors):
            if floor == 0 and column == door:
                canvas.rect(centre - wide // 2, view.y(215, near), centre - wide // 2 + wide, foot, code + PART["door"])
                continue
            sill = view.y(90 + 300 * floor, near)
            lit = PART["window_lit"] if draws.chance(50) else PART["window"]
            canvas.rect(centre - wide // 2 - 1, sill - high - 1, centre - wide // 2 + wide + 1, sill + 1,
                        code + PART["trim"])  # fmt: skip
            canvas.rect(centre - wide // 2, sill - high, centre - wide // 2 + wide, sill, code + lit)
