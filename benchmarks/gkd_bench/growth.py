"""How cost grows: with the batch, with the tokens of an image, with the processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gkd_bench.contender import Comparison, Contender

_STEP = "gkd_bench.stage1:step"
_RANKS = "gkd_bench.ranks:ranks"
_SMALL = {"teacher": "vit_small_patch14_dinov2", "student": "vit_tiny_patch16_224"}
_LARGE = {"teacher": "vit_base_patch14_dinov2", "student": "vit_small_patch16_224"}
_BATCHES = {"cpu": (2, 4, 8, 16, 32), "cuda": (8, 32, 128, 256)}
_SIDES = (112, 224, 336, 448)


def comparisons(device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """See `suites.comparisons`; a CPU measures ViT-S to ViT-Ti on one thread, a GPU ViT-B to ViT-S in bf16."""
    cuda = device == "cuda"
    work: dict[str, Any] = _LARGE if cuda else _SMALL
    pair = "ViT-B to ViT-S" if cuda else "ViT-S to ViT-Ti"
    precision = "bf16" if cuda else "fp32"
    threads = None if cuda else 1
    batch = 32 if cuda else 4

    def row(name: str, **options: Any) -> Contender:
        return Contender(name, _STEP, {**work, "precision": precision, **options}, threads)

    batches = [row(f"batch {size}", batch=size) for size in _BATCHES[device]]
    sides = [row(f"{(side // 14) ** 2:,} tokens ({side} px)", size=side, batch=batch) for side in _SIDES]
    made = [
        Comparison("growth-batch", f"Stage 1, {pair}, 256 tokens, by images of a step", tuple(batches)),
        Comparison("growth-tokens", f"Stage 1, {pair}, {batch} images a step, by tokens of an image", tuple(sides)),
    ]
    if not cuda:
        processes = (
            row("1 process, 1 thread", batch=8),
            Contender("1 process, 2 threads", _STEP, {**work, "batch": 8}, threads=2),
            Contender("2 processes, 1 thread each", _RANKS, {**work, "batch": 8, "processes": 2}, threads=1),
        )
        made.append(Comparison("growth-processes", f"Stage 1, {pair}, 8 images per process and step", processes))
    return made
