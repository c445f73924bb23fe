"""A closed row of buildings along one side of the street: facades, windows, shops, doors and roofs in perspective."""

from __future__ import annotations

import numpy as np

from gkd_lightning.data.minicity.parts import PART
from gkd_lightning.data.minicity.scene import MAX_SCALE, SIZE, Scene

_TEXEL = 9
"""Centimetres of wall that one texel covers."""


def wall(scene: Scene, x: int, side: int, end: int) -> None:
    """Draw the row that stands `x` cm to the right, from the camera to scale `end`. side: -1 left, +1 right.

    Every image column sees the wall at one distance, so the whole row is computed column by column at once.
    """
    view, draws = scene.view, scene.draws
    starts, tops = [0], list[int]()
    while starts[-1] < view.distance(end):
        gap = draws.chance(14) and len(starts) > 1 and tops[-1] > 0
        tops.append(0 if gap else draws.between(420, 1500))
        starts.append(starts[-1] + (draws.between(250, 500) if gap else draws.between(600, 1300)))
    codes = [scene.instance(None) for _ in tops]
    _end_faces(scene, x, side, starts, tops, codes)

    scales = np.arange(end, MAX_SCALE)
    edge = view.vanishing + view.bend[end:] + x * scales // (16 * view.camera)
    column_scale = np.zeros(SIZE, np.int64)
    shown = edge >= 0 if side < 0 else edge < SIZE
    np.maximum.at(column_scale, np.clip(edge[shown], 0, SIZE - 1), scales[shown])
    toward = slice(None, None, side)  # from the vanishing point outwards the nearest wall hides the farther
    column_scale = np.maximum.accumulate(column_scale[toward])[toward]
    columns = np.flatnonzero(column_scale)
    if not len(columns):
        return
    scale = column_scale[columns]
    distance = 16 * 80 * view.camera // scale
    which = np.clip(np.searchsorted(np.array(starts), distance, side="right") - 1, 0, len(tops) - 1)
    top = np.array(tops)[which]

    def per_building(low: int, high: int) -> np.ndarray:
        return np.array([draws.between(low, high) for _ in tops])[which]

    rows = np.arange(SIZE)[:, None]
    height = view.camera - (rows - view.horizon) * (16 * view.camera) // scale
    along = distance - np.array(starts)[which]
    roof = np.where(per_building(0, 2) == 0, 0, 90)
    on_wall = (height >= 0) & (height < top + np.where(top > 0, roof, 0))
    storey, period = per_building(290, 360), per_building(200, 330)
    pane, sill = per_building(45, 62) * period // 200, per_building(80, 110)
    shop = per_building(0, 2) == 0
    floor, across = height // storey, along // period
    inside_v, inside_u = height - floor * storey, along - across * period
    part = np.full(height.shape, PART["facade_left"] if side < 0 else PART["facade_right"], np.int64)
    centred = np.abs(inside_u - period // 2)
    window = (centred < pane) & (inside_v > sill) & (inside_v < storey - 50) & (height < top - 70)
    frame = window & ((centred > pane - 9) | (inside_v < sill + 12))
    hashed = (floor * 7 + across * 13 + which * 5) * 2654435761 >> 7
    part[window] = np.where(hashed & 1, PART["window_lit"], PART["window"])[window]
    part[frame] = PART["trim"]
    ground = height < storey
    display = shop & ground & (height > 40) & (height < storey - 80) & (inside_u > 18)
    part[display] = PART["window_lit"]
    part[shop & ground & (height >= storey - 80) & (height < storey - 20)] = PART["trim"]
    door = ~shop & ground & (centred < 55) & (across % 3 == 1) & (height < 220)
    part[door] = PART["door"]
    part[(height >= top - 35) & (height < top)] = PART["trim"]
    part[height >= top] = PART["roof"]

    code = np.array(codes)[which] + part
    target = scene.canvas.code[:, columns]
    target[on_wall] = code[on_wall]
    scene.canvas.code[:, columns] = target
    for array, values in (
        (scene.texture_x, along // _TEXEL),
        (scene.texture_y, -height // _TEXEL),
        (scene.ground_depth, np.minimum(distance // 25 + 1, 254)),
    ):
        covered = array[:, columns]
        covered[on_wall] = np.broadcast_to(values & 255, on_wall.shape)[on_wall].astype(np.uint8)
        array[:, columns] = covered


def _end_faces(scene: Scene, x: int, side: int, starts: list[int], tops: list[int], codes: list[int]) -> None:
    """The narrow ends that show above a lower neighbour or across a gap."""
    view = scene.view
    for index in range(len(tops) - 1, 0, -1):
        if tops[index] <= tops[index - 1]:
            continue
        scale = view.scale(starts[index])
        near, far = view.x(x, scale), view.x(x + side * 900, scale)
        top, foot = view.y(tops[index], scale), view.y(0, scale)
        scene.canvas.rect(min(near, far), top, max(near, far), foot, codes[index] + PART["facade_dark"])
        depth = scene.ground_depth[max(top, 0) : max(foot, 0), max(min(near, far), 0) : max(near, far, 0)]
        depth[:] = min(view.distance(scale) // 25 + 1, 254)
