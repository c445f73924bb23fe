"""The authors' stage 1 step beside ours: their code from a folder on disk, driven as their `main.py` drives it.

Nothing of theirs is in this file or in this package. Give the folder `general_distillation` of their repository
(Younger-hua/GKD) in the environment variable GKD_OFFICIAL:

    GKD_OFFICIAL=.../general_distillation python -m gkd_bench distillation --peer peers/official_gkd.py
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from gkd_bench.stage1 import EMA_DECAY, LEARNING_RATE, WEIGHT_DECAY
from gkd_bench.stage1_module import forget_building, images_and_keys, seeded, specifications, write_checkpoints
from gkd_lightning.errors import UserError

_NAMES = ("vit_large", "vit_base", "vit_small", "vit_tiny")


class OfficialStep:
    """Forward, backward, AdamW and timm's moving average of one batch, with the reads of their training loop."""

    def __init__(self, device: str, batch: int, precision: str, **geometry: Any) -> None:
        from timm.optim import create_optimizer
        from timm.utils import ModelEma, NativeScaler

        code = _official_code()
        ours = seeded(*specifications(**geometry))
        student = ours.student
        size, patch = student.image_size[0], student.patch_size
        with tempfile.TemporaryDirectory() as folder:
            teacher_file, student_file = write_checkpoints(ours, Path(folder))
            config = SimpleNamespace(
                teacher_model=_name(ours.teacher.module.spec.name), teacher_path=str(teacher_file),
                target_model=_name(student.spec.name), student_path=str(student_file), input_size=size,
                patch_size=patch, domain_distillation=True, batch_size=batch, mask_probability=0.5,
                lambda_token=1.0, lambda_fea=1.0, lambda_patch=1.0,
            )  # fmt: skip
            self.model = code.MetaArch(config)
        for head in ("fea", "patch", "token"):
            getattr(self.model, f"{head}_head").load_state_dict(ours.objective.heads[head].state_dict())
        self.inputs = _inputs(ours, batch)
        del ours
        self.device = device
        self.half = device == "cuda" and precision != "fp32"
        if self.half:  # their collate function casts
            self.inputs["collated_global_crops"] = self.inputs["collated_global_crops"].half()
        self.model.to(device).train()
        self.average = ModelEma(self.model.student.backbone, decay=EMA_DECAY)
        settings = SimpleNamespace(
            opt="adamw", lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, momentum=0.9, opt_eps=1e-8, opt_betas=None
        )
        self.optimizer = create_optimizer(settings, self.model)
        self.scaler = NativeScaler() if self.half else None
        self.batch = batch
        forget_building()  # as in our own step

    def forward(self) -> dict[str, torch.Tensor]:
        moved = {
            name: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in self.inputs.items()
        }
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            terms: dict[str, torch.Tensor] = self.model(moved)
        return terms

    def step(self) -> int:
        terms = self.forward()
        for name in ("patch_loss", "token_loss", "fea_loss", "loss"):
            terms[name].item()
        self.optimizer.zero_grad()
        if self.scaler is not None:
            self.scaler(terms["loss"], self.optimizer, parameters=self.model.parameters())
        else:
            terms["loss"].backward()
            self.optimizer.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.average.update(self.model.student.backbone)
        return self.batch

    def loss(self) -> float:
        with torch.no_grad():
            return self.forward()["loss"].item()


def stage1(device: str, batch: int = 8, precision: str = "own", **geometry: Any) -> OfficialStep:
    """Their step; `precision` ``own`` is fp32 on a CPU and fp16 autocast with a gradient scaler on a GPU."""
    return OfficialStep(device, batch, precision, **geometry)


def _inputs(ours: Any, batch: int) -> dict[str, Any]:
    images, keys = images_and_keys(ours, batch)
    half = ours.passes(images, keys).hidden
    masks = torch.cat([half, half.new_zeros(batch - len(half), half.shape[1])])
    return {
        "collated_global_crops": ours.student.normalize(images),
        "collated_masks": masks,
        "mask_indices_list": masks.flatten().nonzero().flatten(),
        "upperbound": int(masks.sum()),
    }


def _name(timm_name: str) -> str:
    return next(name for name in _NAMES if timm_name.startswith(name))


def _official_code() -> Any:
    folder = os.environ.get("GKD_OFFICIAL")
    if not folder or not (Path(folder) / "distillation_models_deit.py").is_file():
        raise UserError(
            f"GKD_OFFICIAL: is {folder!r}; set it to the folder general_distillation of the authors' repository, "
            "which holds distillation_models_deit.py"
        )
    if "distillation_models_deit" in sys.modules:
        return sys.modules["distillation_models_deit"]
    stand_in = _stand_in() if importlib.util.find_spec("xformers") is None else {}
    sys.modules.update(stand_in)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("distillation_models_deit")
    finally:  # who asks later whether xformers is there must hear the truth
        sys.path.remove(folder)
        for name in stand_in:
            del sys.modules[name]


class _Blocks:
    """What their nested forward asks of xformers' block-diagonal mask: lengths in, pieces out."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self._batch_sizes: list[int] = []

    @classmethod
    def from_seqlens(cls, lengths: Sequence[int]) -> _Blocks:
        return cls(lengths)

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        pieces, first = [], 0
        for count in self._batch_sizes:
            length = self.lengths[first]
            pieces.append((count, length))
            first += count
        sizes = [count * length for count, length in pieces]
        parts = packed.split(sizes, dim=1)
        return [part.reshape(count, length, -1) for part, (count, length) in zip(parts, pieces, strict=True)]


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_bias: _Blocks | None = None
) -> torch.Tensor:
    shape = query.shape
    if attn_bias is not None:  # all sequences have one length here, so that blocks are a batch
        (length,) = set(attn_bias.lengths)
        query, key, value = (each.reshape(-1, length, *shape[2:]) for each in (query, key, value))
    parts = (each.transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(shape)


def _stand_in() -> dict[str, types.ModuleType]:
    """`xformers.ops` as far as a plain ViT uses it."""
    package, ops = types.ModuleType("xformers"), types.ModuleType("xformers.ops")
    absent = type("Absent", (torch.nn.Module,), {})
    package.ops = ops  # type: ignore[attr-defined]
    ops.__dict__.update(
        memory_efficient_attention=_attention, unbind=torch.unbind, SwiGLU=absent, scaled_index_add=None,
        index_select_cat=None, fmha=SimpleNamespace(BlockDiagonalMask=_Blocks),
    )  # fmt: skip
    return {"xformers": package, "xformers.ops": ops}
