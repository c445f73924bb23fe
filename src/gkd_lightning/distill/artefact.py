"""The heads of a finished stage 1, beside its student: for looking into it, not for the stages that follow."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from gkd_lightning.distill.heads import Projection, QuerySoftDistillation
from gkd_lightning.encoders import one_line
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write, file_sha256

HEADS = "heads.safetensors"
KIND = "gkd-heads"

Head = QuerySoftDistillation | Projection
Plan = dict[str, int | float | str]
"""Kind and arguments of a head."""


def save_heads(heads: nn.ModuleDict, student: Path) -> Path:
    """Write `heads.safetensors` beside a student, tied to it by the SHA-256 of its weights file.

    Args:
        heads: of a `DistillationObjective`, by the name of their term.
        student: the written weights file.

    Returns:
        Path of the heads.
    """
    state = {key: value.detach().float().cpu().contiguous() for key, value in heads.state_dict().items()}
    metadata = {
        "format": "pt",
        "kind": KIND,
        "student_sha256": file_sha256(student),
        "heads": json.dumps({name: _plan(head) for name, head in heads.items()}),
    }
    path = student.with_name(HEADS)
    with atomic_write(path) as temporary:
        save_file(state, temporary, metadata=metadata)
    return path


def load_heads(student: Path) -> dict[str, Head]:
    """The heads that a student learned with, frozen, by the name of their term.

    Args:
        student: its weights file.

    Raises:
        UserError: there are none, they are another student's, or the file is not one of ours.
    """
    path = student.with_name(HEADS)
    if not path.is_file():
        raise UserError(
            f"{path}: missing; stage 1 of GKD writes it beside its student, so run that stage again "
            "(students of earlier versions and of other methods have no heads)"
        )
    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        if metadata["kind"] != KIND:
            raise ValueError(f"kind is {metadata['kind']!r}")
        heads = nn.ModuleDict({name: _built(plan) for name, plan in json.loads(metadata["heads"]).items()})
        heads.load_state_dict(state)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: not the heads of a stage 1 ({one_line(error)})") from error
    if metadata["student_sha256"] != file_sha256(student):
        raise UserError(f"{path}: these heads were learned with another student than {student}")
    heads.eval().requires_grad_(False)
    return {name: head for name, head in heads.items() if isinstance(head, QuerySoftDistillation | Projection)}


def _plan(head: nn.Module) -> Plan:
    if isinstance(head, QuerySoftDistillation):
        extra: Plan = {"num_heads": head.num_heads, "attention_scale": head.scale}
        return {"head": "qsd", **_widths(head.proj_q), **extra}
    assert isinstance(head, Projection)
    return {"head": "projection", **_widths(head.proj)}


def _widths(projection: nn.Sequential) -> Plan:
    linear = projection[1]
    assert isinstance(linear, nn.Linear)
    return {"student_dim": linear.in_features, "teacher_dim": linear.out_features}


def _built(plan: Plan) -> nn.Module:
    kinds: dict[str, type[nn.Module]] = {"qsd": QuerySoftDistillation, "projection": Projection}
    return kinds[str(plan["head"])](**{key: value for key, value in plan.items() if key != "head"})
