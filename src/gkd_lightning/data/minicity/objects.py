"""Other things that stand in a street: persons, poles with signs, lights or lamps, detached houses, plants.

As in `cars`, every function draws one object at (X cm to the right, scale) into a scene; sizes are in
centimetres. Persons and poles are a little larger than life, so that a small image still shows what they are.
"""

from __future__ import annotations

from gkd_lightning.data.minicity.parts import PART
from gkd_lightning.data.minicity.scene import Scene


def person(scene: Scene, x: int, scale: int) -> None:
    """A person who stands or walks."""
    view, canvas, draws = scene.view, scene.canvas, scene.draws
    tall = view.pixels(draws.between(195, 235), scale, 14)
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
