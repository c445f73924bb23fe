"""Weights files: safetensors, and the original `.pth` files of published models, which are never executed."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from gkd_lightning.errors import UserError
from gkd_lightning.files import asset
from gkd_lightning.tensor_files import require_finite

STUDENT_WEIGHTS = "student.safetensors"

State = dict[str, torch.Tensor]
Grid = tuple[int, int] | None
"""Rows and columns of the patch grid that a file states, None if it does not."""


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


def read_weights(path: Path) -> tuple[dict[str, State], Grid]:
    """The state dicts of a file by their dotted path in it (the empty one is the file itself), and its patch grid.

    What the file is decides how it is read, whatever its suffix; but a `.safetensors` file is never anything else.

    Args:
        path: a safetensors file, or one that PyTorch wrote (`.pth`, `.pt`, `.bin`, `.ckpt`, `.pth.tar`).

    Raises:
        UserError: not such a file, or one that holds more than plain tensors and settings.
    """
    with path.open("rb") as file:
        json_behind_its_length = file.read(9)[8:] == b"{"
    if json_behind_its_length or path.suffix == ".safetensors":
        state, grid = _read_safetensors(path)
        return {"": state}, grid
    return _read_torch(path), None


def read_safetensors(path: Path) -> State:
    """All tensors of a safetensors file as float32.

    Raises:
        UserError: if the file is not a safetensors file (a pickle is never opened), or values are not finite.
    """
    return floats(_read_safetensors(path)[0], str(path))


def _read_safetensors(path: Path) -> tuple[State, Grid]:
    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({one_line(error)})") from error
    grid = metadata.get("grid")
    if grid is None:
        return state, None
    rows, columns = grid.split("x")
    return state, (int(rows), int(columns))


def one_line(error: BaseException) -> str:
    """An error's text, shortened to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def floats(state: State, where: str) -> State:
    """Floating-point tensors as float32.

    Raises:
        UserError: values are not finite.
    """
    require_finite(state, f"{where}:", "they would turn every output into NaN; take another checkpoint")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _read_torch(path: Path) -> dict[str, State]:
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
    found = dict(_state_dicts(loaded))
    if not found:
        raise UserError(f"{path}: holds no tensors by name, so it is no model's weights")
    return found


def _state_dicts(value: Any, path: str = "") -> Iterator[tuple[str, State]]:
    if not isinstance(value, Mapping):
        return
    if tensors := {str(key): item for key, item in value.items() if isinstance(item, torch.Tensor)}:
        yield path, tensors
    for key, item in value.items():
        yield from _state_dicts(item, f"{path}.{key}" if path else str(key))
