"""`gkd weights check|convert`: what a weights file holds for a model, and the file as a student of ours."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options, action_of
from gkd_lightning.errors import UserError

ACTIONS = {
    "check": "load a file into a model and say what was renamed, resized, ignored or missing",
    "convert": "the same, and write student.safetensors and student.json",
}


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd weights --help`."""
    action = action_of(verb, "ACTION FILE --model NAME [options]", ACTIONS, arguments)
    if action is None:
        return 0
    rest = arguments[1:]
    options = Options(f"weights {action}", f"{ACTIONS[action].capitalize()}.")
    options.add_argument("file", help="a published .pth file, a GKD checkpoint of the authors, or a .safetensors file")
    options.add_argument("--model", required=True, help="timm's name, such as deit_small_patch16_224")
    options.add_argument("--image-size", type=int, help="side in pixels that the weights are laid out for afterwards")
    options.add_argument("--patch-size", type=int, help="side of a patch in pixels; kernels are resized")
    options.add_argument("--resize", default="bicubic", choices=["bicubic", "bicubic-offset", "pseudo-inverse"])
    options.add_argument("--init-values", type=float, help="LayerScale of the model, where the name does not say it")
    options.add_argument(
        "--tolerate", action="append", default=[], metavar="REGEX", help="keys that may be missing or unknown"
    )
    options.add_argument("--weights-key", help="which model of a file that holds several, such as teacher")
    if action == "convert":
        options.add_argument("--out", type=Path, required=True, help="folder of the two files")
    found = options.read(rest)
    from gkd_lightning.encoders import EncoderSpec, build_encoder, export_encoder
    from gkd_lightning.files import file_sha256

    if found.file == "pretrained" or not Path(found.file).is_file():
        raise UserError(f"{found.file}: no such weights file")
    encoder = build_encoder(
        EncoderSpec(
            found.model,
            found.file,
            found.image_size,
            found.patch_size,
            found.resize,
            options={} if found.init_values is None else {"init_values": found.init_values},
            tolerate=found.tolerate,
            weights_key=found.weights_key,
        )
    )
    print(encoder.loaded)
    size = "x".join(str(side) for side in encoder.image_size)
    print(f"{found.model}: {sum(p.numel() for p in encoder.parameters()) / 1e6:.1f} M parameters for {size} images")
    if action == "convert":
        provenance = {"converted_from": Path(found.file).name, "sha256": file_sha256(found.file)}
        provenance |= {} if found.weights_key is None else {"weights_key": found.weights_key}
        print(export_encoder(encoder, found.out, stage="converted", provenance=provenance))
    return 0
