"""What runs an export: ONNX Runtime, OpenVINO, or PyTorch without a line of this library."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.deploy.arrays import Picture
from gkd_lightning.deploy.exported import ExportedSegmenter, read_record
from gkd_lightning.errors import UserError


class OnnxSegmenter(ExportedSegmenter):
    """Run by ONNX Runtime; needs that and NumPy, no PyTorch.

    Args:
        path: folder of the export.
        threads: of the processor; None takes all.
        providers: ONNX Runtime's, such as ``["CUDAExecutionProvider"]``.
    """

    def __init__(
        self, path: str | Path, threads: int | None = None, providers: tuple[str, ...] = ("CPUExecutionProvider",)
    ) -> None:
        self.threads, self.providers = threads, providers
        super().__init__(read_record(Path(path)), Path(path))

    def _open(self, model: Path) -> None:
        runtime = needed("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        self.session = runtime.InferenceSession(str(model), options, providers=list(self.providers))
        self.runtime = f"ONNX Runtime {runtime.__version__}"

    def _run(self, images: Picture) -> list[NDArray[Any]]:
        return list(self.session.run(list(self.names), {"images": images}))


class OpenVinoSegmenter(ExportedSegmenter):
    """Run by OpenVINO.

    Args:
        path: folder of the export.
        threads: of the processor; None takes all.
        device: OpenVINO's name of it.
    """

    def __init__(self, path: str | Path, threads: int | None = None, device: str = "CPU") -> None:
        self.threads, self.device = threads, device
        super().__init__(read_record(Path(path)), Path(path))

    def _open(self, model: Path) -> None:
        library = openvino()
        core = library.Core()
        # without the hint it computes in bf16 where the processor can
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if self.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        self.compiled = core.compile_model(str(model), self.device, settings)
        self.runtime = f"OpenVINO {library.__version__.partition('-')[0]}"

    def _run(self, images: Picture) -> list[NDArray[Any]]:
        found = self.compiled({"images": images})
        return [np.asarray(found[name]) for name in self.names]


class TorchSegmenter(ExportedSegmenter):
    """A ``.pt2`` file, run by PyTorch on the CPU.

    Args:
        path: folder of the export.
        threads: of the processor, for all that this process computes with PyTorch; None leaves them as they are.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.threads = threads
        super().__init__(read_record(Path(path)), Path(path))

    def _open(self, model: Path) -> None:
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        self.torch = torch
        self.runtime = f"PyTorch {torch.__version__.partition('+')[0]} (.pt2)"
        self.module = torch.export.load(str(model)).module()

    def _run(self, images: Picture) -> list[NDArray[Any]]:
        with self.torch.inference_mode(), self.torch.autocast("cpu", enabled=False):  # a judge's, which graphs refuse
            return [found.numpy() for found in self.module(self.torch.from_numpy(images))]


RUNTIMES: dict[str, type[Any]] = {"onnx": OnnxSegmenter, "openvino": OpenVinoSegmenter, "torch": TorchSegmenter}
"""By format."""


def open_export(path: str | Path, threads: int | None = None) -> ExportedSegmenter:
    """The export in a folder, whatever its format.

    Args:
        path: the folder.
        threads: of the processor; None takes all.

    Raises:
        UserError: no export, a damaged one, or a runtime that is not installed.
    """
    record = read_record(Path(path))
    if record["format"] not in RUNTIMES:
        raise UserError(f"{path}: of a format that this version does not know, {record['format']!r}")
    found: ExportedSegmenter = RUNTIMES[record["format"]](path, threads)
    return found


def openvino() -> Any:
    """OpenVINO, without the part of it that tells its makers over the network that it was imported.

    Raises:
        UserError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it has a stand-in for this case
    with contextlib.redirect_stderr(sys.__stderr__):  # absl, which it imports, later closes any other
        return needed("openvino", "openvino")


def needed(module: str, extra: str) -> Any:
    """An optional dependency.

    Raises:
        UserError: it is not installed; says how to.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module} is not installed: pip install 'gkd-lightning[{extra}]'") from error
