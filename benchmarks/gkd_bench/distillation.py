"""Stage 1: its levers one by one and together, in fp32 and bf16, beside the authors' own step and other frameworks.

Compiled blocks are a row on a GPU only: on a CPU, where matrix products are nearly all of the time, they win 1 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gkd_bench.contender import Comparison, Contender
from gkd_bench.stage1 import LEVERS

_STEP = "gkd_bench.stage1:step"
_PEER = "stage1"
"""Function of a peer file that makes the authors' step; see `benchmarks/peers/official_gkd.py`."""
_REGRESSION = "regression"
"""Function of a peer file that makes another framework's; see `benchmarks/peers/lightly_train_regression.py`."""

_ONE_A = {"size": 224, "patch": 14}
_ONE_B = {"size": 512, "patch": 16}
_LARGE = {"teacher": "vit_large_patch14_dinov2", "student": "vit_base_patch16_224", **_ONE_A}
_SAME_LOSS = 1e-4


def comparisons(device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """Comparisons of stage 1.

    Args:
        device: ``cpu`` or ``cuda``: batches follow it.
        peers: files of which those with a function ``stage1`` give the authors' step, those with a function
            ``regression`` another framework's feature regression.
    """
    cuda = device == "cuda"
    made: list[Comparison] = []
    for name, title, geometry, batch in (
        ("stage1a", "Stage 1a, ViT-B to ViT-S, 224 px, patch 14 (256 tokens)", _ONE_A, 128 if cuda else 8),
        ("stage1b", "Stage 1b, ViT-B to ViT-S, 512 px, patch 16 (1,024 tokens)", _ONE_B, 32 if cuda else 2),
    ):
        work = {**geometry, "batch": batch}
        made += _with_peers(name, title, work, peers, cuda)
        made += [_levers(name, title, work, cuda), _levers_in_bf16(name, title, work, cuda)]
        if geometry is _ONE_A:
            made += _regression(name, title, work, peers, cuda)
    if cuda:
        title = "Stage 1a, ViT-L to ViT-B, 224 px, patch 14 (256 tokens)"
        made.append(_levers_in_bf16("stage1a-large", title, {**_LARGE, "batch": 128}, cuda))
    return made


def _levers(name: str, title: str, work: dict[str, Any], cuda: bool) -> Comparison:
    rows = [
        _row("everything off", work, levers=()),
        _row("masked half only", work, levers=("masked half",)),
        _row("fused attention", work, levers=("attention",)),
        _row("fused AdamW", work, levers=("optimiser",)),
        _row("moving average in few calls", work, levers=("average",)),
        *([_row("uint8 across the bus", work, levers=("uint8",))] if cuda else []),
        _row("all of these", work),
        *([_row("all, blocks compiled", work, levers=(*LEVERS, "compile"))] if cuda else []),
        _row("all, activations recomputed", work, levers=(*LEVERS, "checkpointing")),
    ]
    return Comparison(name, f"{title}, fp32", tuple(rows), _SAME_LOSS)


def _levers_in_bf16(name: str, title: str, work: dict[str, Any], cuda: bool) -> Comparison:
    bf16 = {**work, "precision": "bf16"}
    compiled = [
        _row("all, blocks compiled", bf16, levers=(*LEVERS, "compile")),
        _row("all, compiled, TF32 for QSD's logits", bf16, levers=(*LEVERS, "compile", "tf32")),
    ]
    rows = [
        _row("everything off, fp32", work, levers=()),
        _row("autocast to bf16 alone", bf16, levers=()),
        _row("and the teacher's weights in bf16", bf16, levers=("bf16 teacher",)),
        _row("all levers, bf16", bf16),
        *(compiled if cuda else []),
        _row("all, activations recomputed", bf16, levers=(*LEVERS, "checkpointing")),
        _row("all, driven by Lightning's trainer", bf16, through="trainer"),
    ]
    return Comparison(f"{name}-bf16", f"{title}, bf16", tuple(rows))


def _with_peers(name: str, title: str, work: dict[str, Any], peers: Iterable[str], cuda: bool) -> list[Comparison]:
    official = [path for path in peers if _offers(Path(path), _PEER)]
    if not official:
        return []

    def theirs(precision: str) -> list[Contender]:
        named = "fp32" if precision == "fp32" else "at its own precision"
        options = {**work, "precision": precision}
        return [Contender(f"{Path(path).stem}, {named}", f"{path}:{_PEER}", options) for path in official]

    files = {**work, "through": "files"}
    bf16 = {**files, "precision": "bf16"}
    same = (
        *theirs("fp32"),
        _row("ours, fp32", files),
        _row("ours, fp32, activations recomputed", files, levers=(*LEVERS, "checkpointing")),
    )
    own = (
        *theirs("own"),
        _row("ours, bf16", bf16),
        *([_row("ours, bf16, blocks compiled", bf16, levers=(*LEVERS, "compile"))] if cuda else []),
        _row("ours, bf16, activations recomputed", bf16, levers=(*LEVERS, "checkpointing")),
    )
    return [
        Comparison(f"{name}-peer", f"{title}, beside the authors' step, fp32", same, _SAME_LOSS),
        Comparison(f"{name}-peer-bf16", f"{title}, beside the authors' step, bf16", own),
    ]


def _regression(name: str, title: str, work: dict[str, Any], peers: Iterable[str], cuda: bool) -> list[Comparison]:
    others = [path for path in peers if _offers(Path(path), _REGRESSION)]
    if not others:
        return []
    rows: list[Contender] = []
    for precision in ("fp32", "bf16"):
        options = {**work, "precision": precision}
        ours = {**options, "method": {"alignment": "projection", "beta": 0.0, "gamma": 0.0}}
        rows += [Contender(f"{Path(path).stem}, {precision}", f"{path}:{_REGRESSION}", options) for path in others]
        rows.append(_row(f"ours, {precision}", ours))
        if cuda:
            rows.append(_row(f"ours, {precision}, blocks compiled", ours, levers=(*LEVERS, "compile")))
    title = f"{title}, feature regression alone, beside other frameworks"
    return [Comparison(f"{name}-regression", title, tuple(rows))]


def _offers(path: Path, function: str) -> bool:
    # Read and not run: a peer may need what only its own process has.
    if not path.is_file():
        return True  # the contender says so in one line
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body)


def _row(name: str, work: dict[str, Any], **options: Any) -> Contender:
    return Contender(name, _STEP, {**work, **options})
