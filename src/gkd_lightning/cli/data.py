"""`gkd data check|list`: look at data before a training does."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.data import ImageDataset

ACTIONS = ("check", "list")


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd data --help`."""
    from gkd_lightning.pipeline.compose import nearest

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: gkd data check [options]   read every image and label, say what is wrong, draw a contact sheet")
        print("       gkd data list              list the data fragments that ship with the package")
        return 0
    action, *rest = arguments
    if action == "list":
        from gkd_lightning.cli.shipped import run as list_run

        return list_run("list", ["datasets", *rest])
    if action != "check":
        raise UserError(f"data {action}: no such action{nearest(action, ACTIONS)} (one of {', '.join(ACTIONS)})")
    options = Options("data check", "Read every image and label; count, pair, measure, and draw a contact sheet.")
    options.add_argument("--images", help="folder of images")
    options.add_argument("--labels", help="folder of labels with the same names; without it only images are checked")
    options.add_argument("--classes", help="comma-separated class names in order of their ids, or a preset")
    options.add_argument("--image-suffix", help="how image names end, such as _leftImg8bit.png")
    options.add_argument("--label-suffix", default=".png", help="what stands in its place (default: .png)")
    options.add_argument("--ignore", type=int, default=255, help="stored id without truth (default: 255)")
    options.add_argument("--config", help="a data fragment instead, such as data/camvid_source.yaml")
    options.add_argument("--out", type=Path, default=Path("runs/data-check"), help="folder of sheets and check.json")
    return _check(options.read(rest))


def _check(found: Namespace) -> int:
    from gkd_lightning.data import SegmentationDataset, check_dataset, contact_sheet
    from gkd_lightning.evaluate import self_test
    from gkd_lightning.files import write_json

    problems: list[str] = []
    record = {}
    for name, dataset in _datasets(found).items():
        result, usable = check_dataset(dataset)
        for what, value in result.summary_rows():
            print(f"{name}: {what}: {value}")
        for number, label, share, images in result.class_rows():
            print(f"{name}: {number:>3} {label:<20} {share:7.2%} of the pixels, in {images} images")
        for note in result.notes:
            print(f"{name}: note: {note}")
        mistakes = list(result.problems)
        if isinstance(usable, SegmentationDataset) and not mistakes:
            test = self_test(usable, limit=100)
            print(f"{name}: the truth as prediction scores {test.truth:.1f}, shuffled {test.shuffled:.1f}")
            mistakes += [test.problem] if test.problem else []
        for mistake in mistakes:
            print(f"{name}: PROBLEM: {mistake}")
        problems += [f"{name}: {mistake}" for mistake in mistakes]
        record[name] = result.as_dict()
        if result.images:
            sheet = found.out / f"{name}.png"
            contact_sheet(usable, sheet, name, shares=[row[2] for row in result.class_rows()] or None)
            print(f"{name}: contact sheet {sheet}")
    write_json(found.out / "check.json", record)
    if problems:
        raise UserError(f"{len(problems)} problems, first: {problems[0]}")
    return 0


def _datasets(found: Namespace) -> dict[str, ImageDataset]:
    if (found.config is None) == (found.images is None):
        raise UserError("gkd data check needs either --images DIR or --config FRAGMENT")
    if found.config is not None:
        from gkd_lightning.pipeline.datasets import datasets_of

        return datasets_of(found.config)
    from gkd_lightning.data import FolderSegmentation, ProxyImages

    if found.labels is None:
        return {"images": ProxyImages(found.images)}
    if found.classes is None:
        raise UserError("--classes: needed with --labels: class names in the order of their ids, or a preset")
    classes = (
        [name.strip() for name in found.classes.split(",") if name.strip()] if "," in found.classes else found.classes
    )
    return {
        "data": FolderSegmentation(
            found.images,
            found.labels,
            classes,
            image_suffix=found.image_suffix,
            label_suffix=found.label_suffix,
            ignore=found.ignore,
        )
    }
