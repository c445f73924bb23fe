"""What TensorRT says that it takes of ONNX, held against a file: its compiler cannot run in the tests.

Source: the operator support matrix of ONNX-TensorRT 10.1 (``docs/operators.md``, opsets 9 to 20), with the restrictions
that meet operators of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

SUPPORTED = frozenset(Path(__file__).with_name("tensorrt_operators.txt").read_text().split())
RESIZE = {
    "mode": {b"nearest", b"linear"},
    "coordinate_transformation_mode": {b"half_pixel", b"pytorch_half_pixel", b"asymmetric", b"align_corners"},
    "keep_aspect_ratio_policy": {b"stretch"},
    "antialias": {0},
}


def refused(path: Path) -> list[str]:
    """Nodes of an ONNX file that TensorRT does not take, each with the reason."""
    graph = onnx.load(str(path)).graph
    constants = {each.name: each for each in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant" and node.attribute
    }
    images = {each.name for each in graph.input}
    found = []
    for node in graph.node:
        options = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        reason = _reason(node, options, constants, images)
        if reason is not None:
            found.append(f"{node.op_type} {node.name}: {reason}")
    return found


def _reason(node: Any, options: dict[str, Any], constants: dict[str, Any], images: set[str]) -> str | None:
    if node.domain or node.op_type not in SUPPORTED:
        return "unknown"
    if images & set(node.input) and node.op_type not in ("Cast", "Shape"):
        return "bytes are taken as inputs alone, to be cast"
    if node.op_type == "Resize" and any(options.get(key, next(iter(RESIZE[key]))) not in RESIZE[key] for key in RESIZE):
        return f"resizing of another kind: {options}"
    if node.op_type.startswith("Reduce") and len(node.input) > 1 and node.input[1] not in constants:
        return "its axes are not constant"
    if node.op_type == "LayerNormalization" and len(node.output) > 1:
        return "more than one output"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
        zero = constants.get(node.input[2])
        if zero is None or onnx.numpy_helper.to_array(zero).any():
            return "a zero point that is not 0"
    return None
