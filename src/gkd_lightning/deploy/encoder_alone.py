"""The encoder of a finished student or segmenter, for those who want it without the rest."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from gkd_lightning.encoders import (
    STUDENT_WEIGHTS,
    Encoder,
    FeatureMapEncoder,
    TransformerEncoder,
    load_student,
    one_line,
    refinement_of,
)
from gkd_lightning.errors import UserError
from gkd_lightning.segment import SEGMENTER_WEIGHTS, load_segmenter, unfrozen

_KINDS = {"gkd-encoder": STUDENT_WEIGHTS, "gkd-segmenter": SEGMENTER_WEIGHTS}
"""What the two kinds of files say of themselves in their metadata."""


def load_encoder_alone(path: str | Path) -> Encoder:
    """What stage 1 left, or the encoder inside what stage 2 left, in eval mode.

    Args:
        path: `student.safetensors`, `segmenter.safetensors`, or a folder that holds one of them.

    Raises:
        UserError: neither of them, damaged, or an encoder that no other library has a place for, a refined one.
    """
    weights = finished_weights(path)
    if kind_of(weights) == STUDENT_WEIGHTS:
        return load_student(weights).eval().requires_grad_(False)
    encoder = unfrozen(load_segmenter(weights).segmenter.encoder)
    if refinement_of(encoder) is not None:
        raise UserError(
            f"--ckpt {weights}: learned tokens refine its encoder between the blocks, for which no other library has a "
            "place; the whole segmenter goes out (--to onnx, openvino, hub)"
        )
    return encoder.eval().requires_grad_(False)


def is_of_timm(encoder: Encoder) -> bool:
    """Whether timm can build it: it is no class of the user's own, and unrefined."""
    return type(encoder) in (TransformerEncoder, FeatureMapEncoder) and refinement_of(encoder) is None


def finished_weights(path: str | Path) -> Path:
    """The weights file that is meant: of a student or of a segmenter.

    Raises:
        UserError: no such file, or a folder with none or both of them.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"--ckpt {path}: no such file; give {STUDENT_WEIGHTS} or {SEGMENTER_WEIGHTS}")
        return path
    found = [path / name for name in (STUDENT_WEIGHTS, SEGMENTER_WEIGHTS) if (path / name).is_file()]
    if len(found) != 1:
        what = "both" if found else "neither"
        raise UserError(f"--ckpt {path}: holds {what} of {STUDENT_WEIGHTS} and {SEGMENTER_WEIGHTS}; name the file")
    return found[0]


def kind_of(weights: Path) -> str:
    """`STUDENT_WEIGHTS` or `SEGMENTER_WEIGHTS`, by what the file says of itself, whatever its name.

    Raises:
        UserError: neither.
    """
    try:
        with safe_open(weights, "pt") as handle:
            return _KINDS[(handle.metadata() or {})["kind"]]
    except (SafetensorError, OSError, KeyError) as error:
        raise UserError(
            f"--ckpt {weights}: neither a {STUDENT_WEIGHTS} nor a {SEGMENTER_WEIGHTS} of ours ({one_line(error)})"
        ) from error
