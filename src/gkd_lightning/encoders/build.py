"""From a specification to an encoder, and from an encoder to the artefact that the next stage reads."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from gkd_lightning import __version__
from gkd_lightning.class_paths import imported
from gkd_lightning.encoders.attention import unfuse_attention_on_cpu
from gkd_lightning.encoders.choice import chosen
from gkd_lightning.encoders.encoder import Encoder, FeatureMapEncoder, TransformerEncoder
from gkd_lightning.encoders.files import STUDENT_WEIGHTS, one_line, read_weights, weights_path
from gkd_lightning.encoders.radio import require_conditioner
from gkd_lightning.encoders.sam import SamEncoder
from gkd_lightning.encoders.spelling import LoadReport
from gkd_lightning.encoders.state import load_exactly, load_transformer
from gkd_lightning.encoders.types import EncoderSpec
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json
from gkd_lightning.tensor_files import require_recorded, write_tensors

STUDENT_RECORD = "student.json"
_TRANSFORMERS = ["vision_transformer", "eva", "deit"]
_NEEDED = ("embed_dim", "patch_size", "depth", "image_size")


def build_encoder(spec: EncoderSpec, key: str = "encoder") -> Encoder:
    """Build the timm model or the class that `spec` names, in its geometry, with its weights.

    Args:
        spec: what to build.
        key: where a configuration says so, for messages.

    Raises:
        UserError: unknown model name, options it does not take, missing or unfit weights; a class of one's own without
            an attribute that it needs, of another geometry, or with weights outside its `model`.
    """
    try:
        encoder = _without_weights(spec)
        if spec.weights is not None and encoder.loaded is None:
            _load(encoder, spec)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    return encoder


def _without_weights(spec: EncoderSpec) -> Encoder:
    if timm.is_model(spec.name.split(".")[0]):
        return _of_timm(spec)
    if "." in spec.name:
        return _of_class(spec)
    near = timm.list_models(f"*{spec.name[:8]}*")[:3]
    hint = f"; near are {', '.join(near)}" if near else ""
    raise UserError(f"{spec.name}: timm has no such model{hint} (`gkd list students` shows tried ones)")


def _of_timm(spec: EncoderSpec) -> Encoder:
    transformer = timm.models.is_model_in_modules(spec.name, _TRANSFORMERS)
    arguments: dict[str, Any] = {"num_classes": 0, **spec.options}
    if transformer:
        arguments["global_pool"] = ""  # average pooling would move the final norm behind itself and leave an Identity
        if spec.patch_size is not None:
            arguments["patch_size"] = spec.patch_size
        # Windows smaller than `image_size` then work too; EVA02 keeps its rotary table for one exact size.
        if not timm.models.is_model_in_modules(spec.name, ["eva"]):
            arguments["dynamic_img_size"] = True
    fixed = getattr(timm.get_pretrained_cfg(spec.name, allow_unregistered=True), "fixed_input_size", False)
    if spec.hw is not None and (transformer or fixed):
        arguments["img_size"] = spec.hw
    try:
        model = timm.create_model(spec.name, pretrained=False, **arguments)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise UserError(f"{spec.name}: timm refuses options {arguments}: {one_line(error)}") from error
    config = model.pretrained_cfg
    if spec.normalization == "imagenet":
        mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    else:
        mean, std = config["mean"], config["std"]
    if timm.models.is_model_in_modules(spec.name, ["vision_transformer_sam"]):
        return SamEncoder(spec, model, mean, std)
    if not transformer and not hasattr(model, "forward_intermediates"):
        raise UserError(f"{spec.name}: this timm model gives no intermediate maps, choose another")
    if transformer and len(model.blocks) == 0:
        raise UserError(f"{spec.name}: options {spec.options} leave the model without a block")
    if transformer and spec.token_stride is not None:
        raise UserError(
            f"{spec.name}: token_stride: {spec.token_stride} joins the stages of a hierarchical backbone, "
            "and this plain transformer has none; its patch_size says how many pixels a token has"
        )
    moved = isinstance(
        getattr(model, "fc_norm", None), torch.nn.Identity
    )  # behind the pooling, else there is none at all
    if transformer and isinstance(model.norm, torch.nn.Identity) and not moved:
        # behind the pooling; a model without any, such as RADIO, is published so
        raise UserError(f"{spec.name}: these options leave the model without a final norm, its tokens would be raw")
    if not transformer:
        unfuse_attention_on_cpu(model)  # a transformer chooses at every pass
    return (TransformerEncoder if transformer else FeatureMapEncoder)(spec, model, mean, std)


def _of_class(spec: EncoderSpec) -> Encoder:
    """Call the user's class that `spec.name` is the path of with `spec` and its options."""
    kind = imported(spec.name, Encoder, "encoder (timm has no such model, so it is a class path)")  # type: ignore[type-abstract]
    if inspect.isabstract(kind):
        raise UserError(f"{spec.name}: does not define {', '.join(sorted(kind.__abstractmethods__))}")
    try:
        inspect.signature(kind).bind(spec, **spec.options)
    except TypeError as error:
        raise UserError(f"{spec.name}: options {spec.options} do not fit its constructor ({error})") from error
    encoder = kind(spec, **spec.options)
    missing = [name for name in _NEEDED if not hasattr(encoder, name)]
    if missing:
        raise UserError(f"{spec.name}: its constructor does not set {', '.join(missing)}")
    for name, given, own in (
        ("image_size", spec.hw, tuple(encoder.image_size)),
        ("patch_size", spec.patch_size, encoder.patch_size),
        ("token_stride", spec.token_stride, encoder.patch_size),
    ):
        if given is not None and given != own:
            raise UserError(f"{spec.name}: {name} is {given} in the configuration, and the class has {own}")
    outside = [key for key in encoder.state_dict() if not key.startswith("model.") and key != "mask_token"]
    if outside:
        raise UserError(f"{spec.name}: {outside[0]} lies outside its model, so no file would hold it; put it inside")
    if spec.normalization == "imagenet":
        for buffer, values in ((encoder.mean, IMAGENET_DEFAULT_MEAN), (encoder.std, IMAGENET_DEFAULT_STD)):
            buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))
    return encoder


def _load(encoder: Encoder, spec: EncoderSpec) -> None:
    assert spec.weights is not None
    grid, report = None, LoadReport()
    pruned = encoder.pruned if isinstance(encoder, FeatureMapEncoder) else set()
    if spec.weights == "pretrained" or spec.weights.startswith("timm:"):
        if spec.weights_key is not None:
            raise UserError(f"weights_key: {spec.weights_key} chooses in a file, and weights: {spec.weights} is timm's")
        if spec.weights == "pretrained" and type(encoder) not in (TransformerEncoder, FeatureMapEncoder, SamEncoder):
            raise UserError(f"{spec.name}: weights: pretrained means timm's file; give the path of a file")
        name = spec.name if spec.weights == "pretrained" else spec.weights.removeprefix("timm:")
        where = f"timm:{name}"
        try:
            state = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        except Exception as error:  # any network or hub failure: the user can only fix it outside
            raise UserError(
                f"{name}: timm could not get the pretrained weights ({one_line(error)}); download them "
                "elsewhere and give the .safetensors file as `weights`"
            ) from error
        if "norm.weight" not in state and "fc_norm.weight" in state:
            # timm's EVA02 files after masked image modelling: their final norm is loaded behind the pooling
            state = {key.replace("fc_norm.", "norm."): value for key, value in state.items()}
    else:
        path = weights_path(spec.weights)
        where = str(path)
        models, grid = read_weights(path)
        if spec.normalization == "model":
            require_conditioner(models, encoder.mean, encoder.std, where)
        state = chosen(models, encoder.model.state_dict().keys() | pruned, spec.weights_key, where, report)
        if report.beside or spec.weights_key is not None:
            _tell(f"{where}: {report.choice}")
    if isinstance(encoder, TransformerEncoder):
        load_transformer(encoder, state, spec.resize, where, report, grid, spec.tolerate)
    else:
        report.ignored += sorted(key for key in state if key in pruned)
        kept = {key: value for key, value in state.items() if key not in pruned}
        load_exactly(encoder.model, kept, where, report, spec.tolerate)
    encoder.loaded = str(report)


def _tell(line: str) -> None:
    from lightning.pytorch.utilities import rank_zero_only  # slow, and most files hold one model

    if not rank_zero_only.rank:
        print(line, flush=True)


def encoder_state(encoder: Encoder) -> dict[str, torch.Tensor]:
    """The weights of the encoder's model under its own key names (timm's), with the mask token beside them."""
    state: dict[str, torch.Tensor] = {key: value.detach() for key, value in encoder.model.state_dict().items()}
    if isinstance(encoder, TransformerEncoder):
        state["mask_token"] = encoder.mask_token.detach()
    return state


def spec_of(encoder: Encoder) -> dict[str, Any]:
    """Fields of the specification that rebuilds this encoder's architecture and geometry, without weights."""
    size = encoder.image_size
    patch = None if isinstance(encoder, FeatureMapEncoder) else encoder.patch_size
    found = asdict(replace(encoder.spec, weights=None, tolerate=[], image_size=list(size), patch_size=patch))
    del found["weights_key"]  # records count in the hashes of stages, and those of old have none
    if found["token_stride"] is None:
        del found["token_stride"]  # for the same reason
    return found


def export_encoder(
    encoder: Encoder,
    directory: str | Path,
    *,
    stage: str,
    provenance: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write `student.safetensors` and `student.json`, the hand-over to the next stage.

    Args:
        encoder: the student.
        directory: where the two files go; existing ones are replaced atomically.
        stage: name of the stage that trained it, such as ``task_agnostic``.
        provenance: plain values: configuration hash, parent's sha256, steps, seed ...
        dtype: stored precision of the floating-point tensors.

    Returns:
        Path of the weights file.
    """
    directory = Path(directory)
    state = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in encoder_state(encoder).items()
    }
    rows, columns = encoder.grid(encoder.image_size)
    metadata = {"kind": "gkd-encoder", "grid": f"{rows}x{columns}"}
    digest = write_tensors(state, directory / STUDENT_WEIGHTS, metadata)
    write_json(
        directory / STUDENT_RECORD,
        {
            "kind": "gkd-encoder",
            "stage": stage,
            "encoder": spec_of(encoder),
            "embed_dim": encoder.embed_dim,
            "patch_size": encoder.patch_size,
            "image_size": list(encoder.image_size),
            "sha256": digest,
            "loaded": encoder.loaded,
            "provenance": provenance,
            "versions": versions(),
        },
    )
    return directory / STUDENT_WEIGHTS


def load_student(path: str | Path) -> Encoder:
    """Rebuild an exported student from its weights file and the `student.json` beside it.

    Raises:
        UserError: if either file is missing or they do not belong together.
    """
    weights = weights_path(str(path))
    record_path = weights.with_name(STUDENT_RECORD)
    if not record_path.is_file():
        raise UserError(f"{record_path}: missing; a student is two files, {STUDENT_WEIGHTS} and {STUDENT_RECORD}")
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        spec = replace(EncoderSpec(**record["encoder"]), weights=str(weights))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{record_path}: not the record of a student ({one_line(error)}), export it again") from error
    require_recorded(weights, record, record_path)
    return build_encoder(spec)


def versions() -> dict[str, str]:
    """Versions of the libraries whose changes could change an artefact."""
    return {
        "gkd_lightning": __version__,
        "torch": str(torch.__version__),
        "timm": timm.__version__,
        "safetensors": safetensors.__version__,
    }
