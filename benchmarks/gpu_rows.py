"""What `gpu.py` measures on one card, the most important first, and the same at toy sizes for any machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gkd_bench import inference, stage1, task
from gkd_bench.undone import UNDONE

PEER = Path(__file__).with_name("peers") / "official_gkd.py"
_LARGE = {"teacher": "vit_large_patch14_dinov2", "student": "vit_base_patch16_224"}
_SMALL = {"teacher": "vit_base_patch14_dinov2", "student": "vit_small_patch16_224"}
_TOYS = {"teacher": "vit_tiny_patch16_224", "student": "vit_tiny_patch16_224"}
_TOY_HEAD = {
    "hidden_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "encoder_ffn": 32, "decoder_ffn": 32,
    "queries": 10, "points": 30,
}  # fmt: skip
_TOY_TASK = {"batch": 1, "size": 64, "head": _TOY_HEAD}
_TASK = {"batch": 4, "size": 512}
_STOCK_PARTS = ("transformers' pixel decoder", "transformers' masked decoder")
_CHANGES_ITS_PROCESS = "a copy per layer and image before matching"


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        group: rows of a group do the same work; the first that ran is what the others are measured against.
        name: for people.
        target: see `Contender`.
        options: likewise.
        countable: whether its operations can be counted: nothing is compiled, no other thread does the work.
        profile: whether to list its longest operations.
    """

    group: str
    name: str
    target: str
    options: dict[str, Any]
    countable: bool = True
    profile: bool = False


TITLES = {
    "stage2": "Stage 2, 4 x 512 px, ViT-S, official head",
    "stage1a-large": "Stage 1a, ViT-L to ViT-B, 224 px, patch 14",
    "stage1b": "Stage 1b, ViT-B to ViT-S, 512 px, patch 16",
    "stage1a": "Stage 1a, ViT-B to ViT-S, 224 px, patch 14",
    "stage1a-fp32": "The same in fp32",
    "evaluation": "Evaluation of 1024x2048 images, windows of 512, ViT-S",
    "stage2-levers": "Stage 2 without compilation, one lever undone at a time, bf16",
}


def rows(tiny: bool) -> list[Row]:
    """All of them, in the order in which they are measured.

    Args:
        tiny: toy sizes.
    """
    return [
        *_stage2(tiny),
        *_stage1("stage1a-large", {**_LARGE, "size": 224, "patch": 14}, 128, tiny, twice=True),
        *_stage1("stage1b", {**_SMALL, "size": 512, "patch": 16}, 32, tiny),
        *_evaluation(tiny),
        *_stage1("stage1a", {**_SMALL, "size": 224, "patch": 14}, 128, tiny, twice=True),
        *_full_precision(tiny),
        *_levers(tiny),
    ]


def _stage2(tiny: bool) -> Iterator[Row]:
    work = _TOY_TASK if tiny else _TASK
    target = f"{task.__name__}:{{}}".format
    for precision in ("bf16", "fp32"):
        options = {**work, "precision": precision}
        main = precision == "bf16"
        yield Row("stage2", f"transformers' Mask2Former, {precision}", target("stock"), options, profile=main)
        yield Row("stage2", f"ours, the bare module, {precision}", target("ours"), options, profile=main)
        run = {**options, "through": "trainer"}
        yield Row("stage2", f"ours, in a run, {precision}", target("ours"), run, countable=False, profile=main)


def _levers(tiny: bool) -> Iterator[Row]:
    options = _TOY_TASK if tiny else _TASK
    for lever in ("", *UNDONE):
        if lever != _CHANGES_ITS_PROCESS:
            given = {**options, "precision": "bf16", "undone": lever}
            yield Row("stage2-levers", f"ours with {lever}" if lever else "ours", f"{task.__name__}:ours", given)


def _stage1(group: str, work: dict[str, Any], batch: int, tiny: bool, twice: bool = False) -> Iterator[Row]:
    if tiny:
        work, batch = {**_TOYS, "size": 64, "patch": 16}, 2
    options = {**work, "batch": batch, "precision": "bf16"}
    target = f"{stage1.__name__}:step"
    levers = stage1.LEVERS

    def ours(name: str, *more: str, countable: bool = False, profile: bool = False, **changed: Any) -> Row:
        given = {**options, "levers": [*levers, *more], **changed}
        return Row(group, f"ours, bf16, {name}", target, given, countable, profile)

    yield Row(group, "the authors' step, fp16", f"{PEER}:stage1", {**options, "precision": "own"}, countable=False)
    yield ours("nothing compiled", countable=True, profile=group != "stage1a")
    yield ours("compiled, TF32 for QSD's logits", "compile", "tf32", profile=group != "stage1a")
    yield ours("compiled, TF32, in a run", "compile", "tf32", through="trainer")
    if twice:
        yield ours(f"compiled, TF32, batch {2 * batch}", "compile", "tf32", batch=2 * batch)
    yield ours("TF32 alone", "tf32", countable=True)
    yield ours("compiled alone", "compile")


def _full_precision(tiny: bool) -> Iterator[Row]:
    work = (
        {**_TOYS, "size": 64, "patch": 16, "batch": 2} if tiny else {**_SMALL, "size": 224, "patch": 14, "batch": 128}
    )
    options = {**work, "precision": "fp32"}
    target = f"{stage1.__name__}:step"
    yield Row("stage1a-fp32", "the authors' step", f"{PEER}:stage1", options, countable=False)
    yield Row("stage1a-fp32", "ours", target, options)
    given = {**options, "levers": [*stage1.LEVERS, "compile"]}
    yield Row("stage1a-fp32", "ours, compiled", target, given, countable=False)


def _evaluation(tiny: bool) -> Iterator[Row]:
    size: dict[str, Any] = {"height": 1024, "width": 2048, "window": 512, "stride": 341}
    if tiny:
        size = {"height": 64, "width": 128, "window": 64, "stride": 43, "head": _TOY_HEAD}
    target = f"{inference.__name__}:sliding"

    def row(name: str, images: int = 1, one_by_one: bool = False, precision: str = "bf16", **more: Any) -> Row:
        given = {**size, "images": images, "one_by_one": one_by_one, "precision": precision, **more}
        return Row("evaluation", f"{name}, {precision}", target, given)

    yield row("transformers' head, window by window", one_by_one=True, undone=list(_STOCK_PARTS))
    yield row("ours, window by window", one_by_one=True)
    yield row("ours, the windows of one image")
    yield row("ours, the windows of four images", images=4)
    yield row("ours, the windows of one image", precision="fp32")
