"""The alignment heads of a finished stage 1, beside its student, for looking into it: no later stage reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from gkd_lightning.class_paths import imported
from gkd_lightning.distill.alignment import AlignmentHead, Projection, QuerySoftDistillation
from gkd_lightning.distill.standardisation import TokenStandardisation
from gkd_lightning.encoders import one_line
from gkd_lightning.errors import UserError
from gkd_lightning.files import file_sha256
from gkd_lightning.tensor_files import write_tensors

HEADS = "heads.safetensors"
KIND = "gkd-heads"
RULES = "standardise"
"""Where the file and its metadata hold how tokens were standardised; no term is called so."""


def save_heads(
    heads: Mapping[str, AlignmentHead], student: Path, rules: Mapping[str, TokenStandardisation] | None = None
) -> Path:
    """Write an objective's heads, by the name of their term, beside a student's weights file; returns their path.

    `heads.safetensors` is tied to the student by the SHA-256 of that file.

    Args:
        heads: of the objective.
        student: weights file.
        rules: by which tokens of several teachers were standardised, by teacher; their statistics go with the heads.
    """
    rules = rules or {}
    state = {key: value.float() for key, value in nn.ModuleDict(heads).state_dict().items()}
    state |= {f"{RULES}.{key}": value for key, value in nn.ModuleDict(rules).state_dict().items()}
    metadata = {
        "kind": KIND,
        "student_sha256": file_sha256(student),
        "heads": json.dumps({name: {**head.record, "widths": head.widths} for name, head in heads.items()}),
        RULES: json.dumps({name: [rule.rule, rule.dim, rule.patches.steps] for name, rule in rules.items()}),
    }
    path = student.with_name(HEADS)
    write_tensors(state, path, metadata)
    return path


def load_heads(student: Path) -> dict[str, AlignmentHead]:
    """The heads that a student, known by its weights file, learned with, frozen, by the name of their term.

    Raises:
        UserError: there are none, they are another student's, or the file is not one of ours.
    """
    heads, _ = load_aligned(student)
    return heads


def load_aligned(student: Path) -> tuple[dict[str, AlignmentHead], dict[str, TokenStandardisation]]:
    """`load_heads`, and by which rules tokens of several teachers were standardised for them, by teacher.

    Raises:
        UserError: as `load_heads`.
    """
    path = student.with_name(HEADS)
    if not path.is_file():
        raise UserError(
            f"{path}: missing; stage 1 of GKD writes it beside its student, so run that stage again "
            "(students of earlier versions and of methods without heads have none)"
        )
    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        if metadata["kind"] != KIND:
            raise ValueError(f"kind is {metadata['kind']!r}")
        heads = {name: _built(record, path) for name, record in json.loads(metadata["heads"]).items()}
        kinds = json.loads(metadata.get(RULES, "{}"))
        rules = {name: TokenStandardisation(*arguments) for name, arguments in kinds.items()}
        nn.ModuleDict({**heads, RULES: nn.ModuleDict(rules)}).load_state_dict(state)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: not the heads of a stage 1 ({one_line(error)})") from error
    if metadata["student_sha256"] != file_sha256(student):
        raise UserError(f"{path}: these heads were learned with another student than {student}")
    for part in (*heads.values(), *rules.values()):
        part.eval().requires_grad_(False)
    return heads, rules


def _built(record: dict[str, Any], path: Path) -> AlignmentHead:
    if "head" in record:  # files of earlier versions
        kinds: dict[str, type[AlignmentHead]] = {"qsd": QuerySoftDistillation, "projection": Projection}
        settings = {key: value for key, value in record.items() if key in ("num_heads", "attention_scale")}
        return kinds[record["head"]](**settings).attached(record["student_dim"], record["teacher_dim"])
    kind = imported(record["class_path"], AlignmentHead, str(path))  # type: ignore[type-abstract]
    return kind(**record["init_args"]).attached(*record["widths"])
