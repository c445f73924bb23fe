"""`gkd predict`: a trained segmenter on images, videos and cameras."""

from __future__ import annotations

import sys

from gkd_lightning.cli.options import Options


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd predict --help`."""
    options = Options(
        verb,
        "Segment images, videos or a camera. Of every image: id map, colours and overlay as PNG, at its own size; of "
        "every video: an overlay video. Called again, it goes on where it was.",
    )
    options.add_argument("--ckpt", required=True, help="segmenter.safetensors, its folder, or the folder of an export")
    options.add_argument(
        "--images",
        required=True,
        nargs="+",
        metavar="WHAT",
        help="- : standard input, a path a line; with :// in it, such as rtsp://…, or a device such as /dev/video0: a "
        "stream, until Ctrl-C; a folder: images and videos below it; a file: by its ending an image, a video, or a "
        "list (.txt) of paths, a line each, relative to the list; with *, ? or [ in it: a glob, ** for any depth",
    )
    options.add_argument("--out", required=True, help="folder for ids/, colour/, overlay/ …")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    options.add_argument("--domain", help="resize as this one of the domains that the segmenter was judged on")
    options.add_argument(
        "--classes", metavar="NAME,NAME", help="keep these alone; pixels of other classes get the id of ignored ones"
    )
    options.add_argument("--ids", action="store_true", help="of videos too: an id map of every frame")
    options.add_argument(
        "--scores", action="store_true", help="scores/NAME.npy: float16 (classes, height, width), of --classes alone"
    )
    options.add_argument(
        "--confidence", action="store_true", help="confidence/NAME.png: 16 bit, 65535 is a confidence of 1"
    )
    options.add_argument(
        "--temperature",
        metavar="T",
        help="of the confidence: a number, or auto: the one that the run above --ckpt has fitted on the source "
        "(default: what an export was made with, else 1)",
    )
    options.add_argument("--json", action="store_true", help="coco.json: a run-length encoded mask per image and class")
    options.add_argument(
        "--panoptic",
        action="store_true",
        help="of a segmenter that was trained on segments: panoptic/NAME.png and panoptic.json as COCO has them, and "
        "overlays that show things one by one; of images",
    )
    options.add_argument(
        "--batch", type=int, default=1, metavar="N", help="images of one size at once, for GPUs (default: 1)"
    )
    options.add_argument(
        "--archive",
        metavar="BENCHMARK",
        help="acdc or cityscapes, of all its test images: BENCHMARK.zip as its server takes it; names, number, sizes "
        "and ids are checked",
    )
    found = options.read(arguments)
    from gkd_lightning.deploy import FilePrediction

    prediction = FilePrediction(
        found.ckpt,
        found.images,
        found.out,
        device=found.device,
        domain=found.domain,
        classes=None if found.classes is None else [name.strip() for name in found.classes.split(",")],
        ids=found.ids,
        scores=found.scores,
        confidence=found.confidence,
        json=found.json,
        panoptic=found.panoptic,
        batch=found.batch,
        archive=found.archive,
        temperature=found.temperature,
    )
    try:
        for path in prediction:
            print(path, flush=True)
    finally:
        print(f"gkd: {prediction.totals}", file=sys.stderr)
    return 0
