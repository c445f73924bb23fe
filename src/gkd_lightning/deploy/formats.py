"""A graph as a file: ONNX in three precisions, OpenVINO, PyTorch's own."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from gkd_lightning.deploy.arrays import Picture
from gkd_lightning.deploy.runtimes import needed, openvino
from gkd_lightning.deploy.window_graph import INPUT, WindowGraph
from gkd_lightning.errors import UserError

Format = Literal["onnx", "openvino", "torch"]
Precision = Literal["fp32", "fp16", "int8"]
OPSET = 18
FORBIDDEN = ("GridSample",)
"""Operators that device compilers lack or translate wrongly without a word."""
_EXACT = ("Softmax", "LayerNormalization", "InstanceNormalization", "Resize", "Floor", "ReduceSum", "GatherElements")
"""Operators that stay in fp32: sums over many values, and places in a map."""


def require_packages(form: Format, precision: Precision) -> None:
    """Before the work: is everything there?

    Raises:
        UserError: a package is missing, or the format has no such precision.
    """
    if form == "torch" and precision != "fp32":
        raise UserError(f"--precision {precision}: --to torch writes fp32; take onnx or openvino")
    for package in () if form == "torch" else ("onnx", "onnxscript", "onnxruntime"):
        needed(package, form)
    if form == "openvino":
        openvino()


def write_graph(
    graph: WindowGraph, folder: Path, form: Format, precision: Precision, calibration: list[Picture]
) -> str:
    """Write the model into a folder.

    Args:
        graph: what to write.
        folder: an existing one.
        form: whose format.
        precision: of weights and products.
        calibration: (n, H, W, 3) uint8 windows of source images, in batches, which set the ranges of int8.

    Returns:
        The model file's name.

    Raises:
        UserError: the graph holds operators that other runtimes lack.
    """
    if form == "torch":
        torch.export.save(graph.exported(), folder / "model.pt2")
        return "model.pt2"
    path = folder / "model.onnx"
    _write_onnx(graph, path)
    if precision == "fp16":
        _halve(path)
    if precision == "int8":
        _quantize(path, calibration)
    if form == "onnx":
        return path.name
    made = openvino()
    made.save_model(made.convert_model(str(path)), str(folder / "model.xml"), compress_to_fp16=False)
    path.unlink()
    return "model.xml"


def operators(path: Path) -> set[str]:
    """Kinds of operators in an ONNX file, those of other makers as ``domain::Name``."""
    model = needed("onnx", "onnx").load(str(path), load_external_data=False)
    return {f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in model.graph.node}


def _write_onnx(graph: WindowGraph, path: Path) -> None:
    with _quiet():
        program: Any = torch.onnx.export(
            graph.exported(),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(graph.outputs),
            dynamic_shapes={"images": {0: "batch"}},
        )
        program.save(str(path), external_data=False)
    found = operators(path)
    wrong = sorted(name for name in found if name in FORBIDDEN or "::" in name)
    if wrong:
        raise UserError(f"--to onnx: the graph holds {', '.join(wrong)}, which other runtimes lack; a head of your own "
                        "has to do without (gkd_lightning.segment.is_exporting() tells it)")  # fmt: skip


def _halve(path: Path) -> None:
    onnx, float16 = needed("onnx", "onnx"), needed("onnxruntime.transformers.float16", "onnx")
    with _quiet():
        halved = float16.convert_float_to_float16(
            onnx.load(str(path)), keep_io_types=True, op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *_EXACT]
        )
    onnx.save(halved, str(path))


def _quantize(path: Path, calibration: list[Picture]) -> None:
    quantization: Any = needed("onnxruntime.quantization", "onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(calibration)

        def get_next(self) -> dict[str, Picture] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    whole = path.with_name("whole.onnx")
    path.rename(whole)
    with _quiet():
        quantization.quantize_static(
            str(whole),
            str(path),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            per_channel=True,
            reduce_range=True,  # or sums of two products overflow on processors without VNNI
            extra_options={"MatMulConstBOnly": True},  # products with weights
        )
    whole.unlink()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress and the warnings of exporters, which say nothing that a user can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
