"""An encoder as timm's own folder, `config.json` and `model.safetensors`, which its hub and transformers read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from timm.models import VisionTransformer

from gkd_lightning.data import MiniCity
from gkd_lightning.deploy.encoder_alone import is_of_timm, load_encoder_alone
from gkd_lightning.deploy.new_folder import new_folder, require_new
from gkd_lightning.encoders import Encoder, FeatureMapEncoder, Tokens, TransformerEncoder, one_line
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json
from gkd_lightning.tensor_files import write_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
CLOSE = 1e-6
"""How far a token may be from ours."""
_IMAGES = 4


def export_timm(checkpoint: str | Path, out: str | Path) -> list[str]:
    """Write a student's encoder, and open it again with timm before it is kept.

    Args:
        checkpoint: `student.safetensors`, `segmenter.safetensors`, or a folder that holds one of them.
        out: a folder that does not exist yet, or is empty.

    Returns:
        What was compared, and what timm's model has that the encoder has not, a line each.

    Raises:
        UserError: the folder is in use, the encoder is no model of timm, or what timm makes of the folder is another.
    """
    require_new(out)
    encoder = load_encoder_alone(checkpoint)
    if not is_of_timm(encoder):
        raise UserError(f"--to timm: the encoder is {encoder.spec.name}, a class of its own and no model of timm")
    with new_folder(out) as folder:
        return write_timm(encoder, folder)


def write_timm(encoder: Encoder, folder: Path) -> list[str]:
    """Write the two files into an existing folder and check them; arguments and errors as in `export_timm`.

    The mask token stays behind: timm has no place for it, and would take the file for one of DINOv2's.
    """
    state, added = _whole_state(encoder)
    write_tensors(state, folder / WEIGHTS, {})
    write_json(folder / CONFIG, timm_config(encoder))
    lines = [_compared(encoder, folder)]
    if added:
        lines.append(
            f"behind the last stage the student has nothing, and {len(added)} tensors of timm's model hold initial "
            f"values ({', '.join(added[:3])}{' …' if len(added) > 3 else ''}): use the maps, not the pooled vector"
        )
    return lines


def timm_config(encoder: Encoder) -> dict[str, Any]:
    """`config.json` in the format of timm's hub.

    `model_args` are what makes the architecture the student's, its image size among them: position embeddings are
    stored for the size that it was trained at. `pretrained_cfg` says how images are to be prepared.
    """
    spec, model, plain = encoder.spec, encoder.model, isinstance(encoder, TransformerEncoder)
    height, width = encoder.image_size
    arguments: dict[str, Any] = dict(spec.options)
    if plain:
        arguments |= {"patch_size": encoder.patch_size, **_pooling(encoder)}
        if not encoder.fixed_size:
            arguments["dynamic_img_size"] = True
    if plain or encoder.fixed_size:
        arguments["img_size"] = [height, width]
    known = model.pretrained_cfg
    return {
        "architecture": spec.name.split(".")[0],
        "num_classes": 0,
        "num_features": int(model.num_features),
        **({"global_pool": arguments["global_pool"]} if plain else {}),
        "model_args": arguments,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, height, width],
            "fixed_input_size": encoder.fixed_size,
            "interpolation": known.get("interpolation", "bicubic"),
            "crop_pct": 1.0,  # nothing of an image is left out
            "crop_mode": "center",
            "mean": _numbers(encoder.mean),
            "std": _numbers(encoder.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": known.get("first_conv"),
            "classifier": known.get("classifier"),
        },
    }


def _pooling(encoder: Encoder) -> dict[str, Any]:
    """What makes timm's pooled vector our class token, with the final norm before it."""
    if getattr(encoder.model, "cls_token", None) is not None:
        return {"global_pool": "token"}
    if isinstance(encoder.model, VisionTransformer):
        return {"global_pool": "avg", "fc_norm": False}
    return {"global_pool": ""}


def _whole_state(encoder: Encoder) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights under timm's names, and the names of those that the encoder does not have."""
    state: dict[str, torch.Tensor] = dict(encoder.model.state_dict())
    if not isinstance(encoder, FeatureMapEncoder):
        return state, []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # equal students make equal files
        sized = {"img_size": encoder.image_size} if encoder.fixed_size else {}
        whole = timm.create_model(encoder.spec.name.split(".")[0], num_classes=0, **encoder.spec.options, **sized)
    added = {key: value for key, value in whole.state_dict().items() if key not in state}
    return state | added, list(added)


def _compared(encoder: Encoder, folder: Path) -> str:
    """Open the folder as its users do, and compare in double precision, so that no kernel's rounding counts."""
    height, width = encoder.image_size
    scenes = MiniCity("day", _IMAGES)
    pictures = torch.from_numpy(np.stack([scenes.image(index) for index in range(_IMAGES)])).permute(0, 3, 1, 2)
    images = F.interpolate(pictures.double().div(255), size=(height, width), mode="bilinear")
    encoder.double()
    with torch.inference_mode():
        wanted, maps = encoder(images)
    encoder.float()  # the bits of before, and no copy of a large network
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval().double()
        far = _distance(model, images, wanted if isinstance(encoder, TransformerEncoder) else maps[-1])
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError) as error:
        raise UserError(f"--to timm: timm cannot use what was written, nothing is kept: {one_line(error)}") from error
    if not far <= CLOSE:
        raise UserError(f"--to timm: tokens differ by {far:.1e} (allowed: {CLOSE:.0e}), nothing is kept")
    compared = f"tokens of {_IMAGES} images of {height}x{width} differ by {far:.0e}"
    return f"opened again with timm {timm.__version__}: {compared}"


def _distance(model: Any, images: torch.Tensor, wanted: Tokens | torch.Tensor) -> float:
    """The largest difference of a token, or of the last stage's map, from images in [0, 1].

    The model's own configuration normalizes them.
    """
    mean, std = (torch.tensor(model.pretrained_cfg[key]).double().view(1, 3, 1, 1) for key in ("mean", "std"))
    normalized = (images - mean) / std
    with torch.inference_mode():
        if isinstance(wanted, Tokens):
            found = model.forward_features(normalized)
            pairs = [(found[:, model.num_prefix_tokens :], wanted.patches)]
            pairs += [(model.forward_head(found), wanted.cls)] if model.global_pool else []
        else:
            maps = model.forward_intermediates(normalized, norm=False, intermediates_only=True)
            pairs = [(maps[-1], wanted)]
    if any(here.shape != there.shape for here, there in pairs):
        raise ValueError(f"tokens of {list(pairs[0][0].shape)} in the place of {list(pairs[0][1].shape)}")
    return max(float((here - there).abs().max()) for here, there in pairs)


def _numbers(values: torch.Tensor) -> list[float]:
    return [round(float(value), 6) for value in values.flatten()]
