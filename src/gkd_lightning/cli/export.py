"""`gkd export`: a trained segmenter for other runtimes; a student for other libraries and people (`cli/share.py`)."""

from __future__ import annotations

from gkd_lightning.cli.options import Options, read_size
from gkd_lightning.cli.share import FORMS, add_options, share, shares
from gkd_lightning.errors import UserError


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd export --help`."""
    options = Options(
        verb, "Write a student for other runtimes, libraries and people; it is compared before it is kept."
    )
    options.add_argument("--ckpt", required=True, help="segmenter.safetensors, or student.safetensors for an encoder")
    options.add_argument("--to", required=True, choices=["onnx", "openvino", "torch", *FORMS], help="format")
    options.add_argument("--out", required=True, help="new folder")
    options.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="fp32", help="(default: fp32)")
    options.add_argument("--size", help="HEIGHTxWIDTH of the graph's images (default: the judge's window)")
    options.add_argument("--layout", choices=["nhwc", "nchw"], default="nhwc", help="of its images (default: nhwc)")
    options.add_argument(
        "--outputs", default="ids,scores", help="of ids,scores,confidence (default: ids,scores); ids are always given"
    )
    options.add_argument(
        "--temperature",
        metavar="T",
        help="of the confidence: a number, or auto: the one that the run above --ckpt has fitted on the source "
        "(default: 1)",
    )
    options.add_argument("--images", help="folder of images to compare on")
    options.add_argument(
        "--data", help="or a data configuration with labels (default: MiniCity, data/minicity_targets.yaml)"
    )
    options.add_argument("--domains", help="only these of its domains, such as game,night")
    options.add_argument("--count", type=int, default=32, help="images of every domain (default: 32)")
    options.add_argument("--calibrate", help="source images for int8: a folder, or a data configuration")
    options.add_argument("--tolerate", type=float, help="points of mIoU that a domain may lose")
    add_options(options)
    found = options.read(arguments)
    if shares(found.to, arguments):
        return share(found)
    if found.count < 1:
        raise UserError(f"--count {found.count}: compare at least one image")
    if found.tolerate is not None and not 0 <= found.tolerate <= 100:
        raise UserError(f"--tolerate {found.tolerate}: give points of mIoU, 0 to 100")
    from gkd_lightning.deploy import export_segmenter
    from gkd_lightning.inspection import find_domains

    domains = find_domains(found.images, found.data or (None if found.images else MINICITY), found.domains)
    calibration = None
    if found.calibrate is not None:
        is_fragment = found.calibrate.endswith((".yaml", ".yml"))
        folder, fragment = (None, found.calibrate) if is_fragment else (found.calibrate, None)
        sources = find_domains(folder, fragment, None)
        calibration = next(iter(sources.values()))
    checks = export_segmenter(
        found.ckpt,
        found.out,
        found.to,
        domains,
        precision=found.precision,
        size=read_size(found.size),
        layout=found.layout,
        outputs=found.outputs.split(","),
        temperature=found.temperature,
        calibration=calibration,
        tolerate=found.tolerate,
        count=found.count,
    )
    for check in checks:
        print(check)
    print(found.out)
    return 0


MINICITY = "data/minicity_targets.yaml"
