"""Weights files: safetensors, and the original `.pth` files of published models, which are never executed."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from gkd_lightning.errors import UserError
from gkd_lightning.files import asset
from gkd_lightning.tensor_files import require_finite

STUDENT_WEIGHTS = "student.safetensors"

Weights = tuple[dict[str, torch.Tensor], tuple[int, int] | None]
"""Tensors by key, and the patch grid (rows, columns) that the file states, None if it does not."""

_WRAPPERS = ("model", "state_dict", "module", "teacher", "student", "model_ema")
"""Keys under which training scripts keep a model's tensors, the preferred one first (DINO judges its teacher)."""


def weights_path(weights: str) -> Path:
    """Path of a weights file named in a configuration (``asset:NAME`` lies in the package).

    Raises:
        UserError: no such file.
    """
    if weights.startswith("asset:"):
        return asset(weights.removeprefix("asset:") + ".safetensors")
    path = Path(weights).expanduser()
    if path.is_dir():
        path = path / STUDENT_WEIGHTS
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    return path


def read_weights(path: Path) -> Weights:
    """All tensors of a file, floating-point ones as float32.

    Args:
        path: a `.safetensors` file, or a PyTorch file (`.pth`, `.pt`, `.bin`).

    Raises:
        UserError: not such a file, or one that holds more than plain tensors and settings.
    """
    if path.suffix in (".pth", ".pt", ".bin"):
        return _floats(_read_torch(path), path), None
    return read_safetensors(path)


def read_safetensors(path: Path) -> Weights:
    """All tensors of a safetensors file as float32, and the patch grid that its metadata states.

    Raises:
        UserError: if the file is not a safetensors file (a pickle is never opened).
    """
    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({one_line(error)})") from error
    grid = metadata.get("grid")
    if grid is None:
        return _floats(state, path), None
    rows, columns = grid.split("x")
    return _floats(state, path), (int(rows), int(columns))


def one_line(error: BaseException) -> str:
    """An error's text, shortened to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _floats(state: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    require_finite(state, f"{path}:", "they would turn every output into NaN; take another checkpoint")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    # The restricted unpickler makes tensors and plain containers only. Training scripts also save their command
    # line: a Namespace is a plain object whose attributes are set from such values, nothing is called.
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on pickles it did not write: ours is one line
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: a pickle with more than plain tensors, which is never executed; save its tensors alone "
            "(torch.save(model.state_dict()) or safetensors) where you trust it"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a readable PyTorch file ({one_line(error)})") from error
    state = _unwrapped(loaded)
    if not state:
        raise UserError(f"{path}: holds no tensors by name, so it is no model's weights")
    return state


def _unwrapped(value: Any) -> dict[str, torch.Tensor]:
    while isinstance(value, Mapping):
        tensors = {str(key): item for key, item in value.items() if isinstance(item, torch.Tensor)}
        inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), Mapping)), None)
        if inner is None:
            return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
        value = inner
    return {}
