"""`gkd predict`: a trained segmenter on a folder of images."""

from __future__ import annotations

from gkd_lightning.cli.options import Options


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd predict --help`."""
    options = Options(verb, "Segment every image of a folder: id map, colours and overlay as PNG, at its own size.")
    options.add_argument("--ckpt", required=True, help="segmenter.safetensors (with segmenter.json beside it)")
    options.add_argument("--images", required=True, help="folder of images, sub-folders included")
    options.add_argument("--out", required=True, help="folder for ids/, colour/ and overlay/")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    options.add_argument("--domain", help="resize as this one of the domains that the segmenter was judged on")
    found = options.read(arguments)
    from gkd_lightning.deploy import predict_folder

    for path in predict_folder(found.ckpt, found.images, found.out, found.device, found.domain):
        print(path)
    return 0
