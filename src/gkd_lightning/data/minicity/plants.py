"""Trees, bushes and hedges; sizes are in centimetres."""

from __future__ import annotations

from gkd_lightning.data.minicity.parts import PART
from gkd_lightning.data.minicity.scene import Scene


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
