"""A bank of tileable integer textures, made once a process: what surfaces are made of."""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.minicity.draws import Draws

TEXELS = 256
"""Side of a texture."""


Texture = IntEnum(
    "Texture", "FLAT GRAIN SPECKLE MOTTLE CLOUD LEAVES PLANKS BRICK TILES STRIPES CHECKER DIAGONAL", start=0
)
"""Kinds of texture, ordered from structureless to patterned, so that an interval of kinds means something."""


def _smooth(draws: Draws, cell: int) -> NDArray[np.int32]:
    """Value noise in [-128, 127]: random values every `cell` texels, linear in between, in integers."""
    count = TEXELS // cell
    grid = draws.noise(count, count).astype(np.int32) - 128
    grid = np.pad(grid, ((0, 1), (0, 1)), mode="wrap")
    step = np.arange(cell, dtype=np.int32)
    across = (grid[:, :-1, None] * (cell - step) + grid[:, 1:, None] * step).reshape(count + 1, TEXELS)
    down = across[:-1, None] * (cell - step)[None, :, None] + across[1:, None] * step[None, :, None]
    return (down.reshape(TEXELS, TEXELS) // (cell * cell)).astype(np.int32)


@cache
def bank() -> NDArray[np.int16]:
    """(kinds * 256 * 256,) texture values in [-128, 127], kind by kind, row by row; read only."""
    draws = Draws(0x7E87)
    grain = draws.noise(TEXELS, TEXELS).astype(np.int32) - 128
    fine, middle, coarse = _smooth(draws, 4), _smooth(draws, 8), _smooth(draws, 32)
    y, x = np.indices((TEXELS, TEXELS), dtype=np.int32)
    dots = draws.noise(TEXELS, TEXELS).astype(np.int32)
    row = y // 4
    brick_tone = draws.noise(TEXELS // 4, TEXELS // 8).astype(np.int32)[row, ((x + row % 2 * 4) // 8) % (TEXELS // 8)]
    mortar = (y % 4 == 0) | ((x + row % 2 * 4) % 8 == 0)
    tile_tone = draws.noise(TEXELS // 8, TEXELS // 8).astype(np.int32)[y // 8, x // 8]
    kinds = {
        Texture.FLAT: np.zeros_like(x),
        Texture.GRAIN: grain,
        Texture.SPECKLE: np.where(dots < 24, -120, np.where(dots > 236, 110, grain // 8)),
        Texture.MOTTLE: middle + fine // 2,
        Texture.CLOUD: coarse + _smooth(draws, 16) // 2 + middle // 3,
        Texture.LEAVES: np.where(fine + middle // 2 > 0, 70, -70) + grain // 3,
        Texture.PLANKS: np.where(y % 6 == 0, -110, 20 + coarse // 2),
        Texture.BRICK: np.where(mortar, 90, brick_tone // 2 - 80),
        Texture.TILES: np.where((x % 8 == 0) | (y % 8 == 0), -100, tile_tone // 3 - 20),
        Texture.STRIPES: np.where(x // 4 % 2 == 0, 80, -80),
        Texture.CHECKER: np.where((x // 6 + y // 6) % 2 == 0, 80, -80),
        Texture.DIAGONAL: np.where((x + y) // 5 % 2 == 0, 70, -70),
    }
    stacked = np.stack([np.clip(kinds[kind], -128, 127) for kind in Texture]).astype(np.int16).reshape(-1)
    stacked.setflags(write=False)
    return stacked
