"""`gkd data check|fake|prepare|list`: look at data before a training does."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options, action_of
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.data import ImageDataset

ACTIONS = {
    "check": "read every image and label, say what is wrong, draw a contact sheet",
    "fake": "write a small imitation of a published data set, in its exact layout",
    "prepare": "write a copy of a published data set that is read faster, or as the official repository prepares it",
    "list": "list the published data sets, and the data fragments that ship with the package",
}


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd data --help`."""
    action = action_of(verb, "ACTION [options]", ACTIONS, arguments)
    if action is None:
        return 0
    rest = arguments[1:]
    actions = {"check": _check, "fake": _fake, "prepare": _prepare, "list": _list}
    return actions[action](rest)


def _list(arguments: list[str]) -> int:
    from gkd_lightning.cli.shipped import run as list_fragments
    from gkd_lightning.data.benchmarks import CATALOGUE

    Options("data list", "List the published data sets, and the data fragments.").read(arguments)
    for name, (card, _) in CATALOGUE.items():
        counts = ", ".join(f"{split} {count:,}" for split, count in card.counts.items())
        print(f"{name:<12} {card.title}: {counts}; {card.homepage} ({card.licence})")
    print()
    return list_fragments("list", ["datasets"])


def _fake(arguments: list[str]) -> int:
    from gkd_lightning.data.fakes import FAKES, how_to_look, write_fake

    options = Options("data fake", "Write a small imitation of a published data set: its folders, names, encodings.")
    options.add_argument("name", help=f"one of {', '.join(FAKES)}")
    options.add_argument("folder", type=Path, help="the data set's own folder; new or empty")
    options.add_argument("--images", type=int, default=4, help="of each split or condition (default: 4)")
    options.add_argument("--width", type=int, default=256, help="of the images, in pixels (default: 256)")
    options.add_argument("--height", type=int, default=128, help="of the images, in pixels (default: 128)")
    found = options.read(arguments)
    write_fake(found.name, found.folder, found.images, (found.width, found.height))
    files = sum(1 for path in found.folder.rglob("*") if path.is_file())
    print(f"{found.folder}: {files} files in the layout of {found.name}; {how_to_look(found.name, str(found.folder))}")
    return 0


def _prepare(arguments: list[str]) -> int:
    from gkd_lightning.data.prepare import KINDS, MANIFEST, prepare

    kinds = "; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    options = Options("data prepare", f"Write a prepared copy of a published data set. {kinds}.")
    options.add_argument("kind", choices=list(KINDS), help="what to prepare, see above")
    options.add_argument("name", help="a published data set, see `gkd data list`")
    options.add_argument("source", help="its folder, which stays as it is")
    options.add_argument("destination", type=Path, help="a new folder, or that of an interrupted preparation")
    options.add_argument("--workers", type=int, help="processes (default: one per core; 0: just this one)")
    options.add_argument("--format", default="bmp", help="of re-encoded images: bmp (the same pixels) or jpg (smaller)")
    found = options.read(arguments)
    workers = (os.cpu_count() or 1) if found.workers is None else found.workers
    made = prepare(found.kind, found.name, found.source, found.destination, workers, found.format)
    print(f"{found.destination}: {made} files made now; {MANIFEST} has their sizes and SHA-256")
    return 0


def _check_options() -> Options:
    options = Options("data check", "Read every image and label; count, pair, measure, and draw a contact sheet.")
    options.add_argument("name", nargs="?", help="a published data set, see `gkd data list`")
    options.add_argument("folder", nargs="?", help="where it lies (default: below $GKD_DATA)")
    options.add_argument("--images", help="instead: folder of images")
    options.add_argument("--labels", help="of labels, or a labelling tool's file; without it only images are checked")
    options.add_argument("--classes", help="comma-separated names in order of their ids, or a preset")
    options.add_argument("--image-suffix", help="how image names end, such as _leftImg8bit.png")
    options.add_argument("--label-suffix", help="what stands in its place (default: .png)")
    options.add_argument("--ignore", type=int, default=255, help="stored id without truth (default: 255)")
    options.add_argument("--instances", help="folder of maps of instances, named as the labels are")
    options.add_argument("--things", metavar="NAME,NAME", help="classes that have instances (default: a preset's own)")
    options.add_argument("--unlabelled", default="255", help="annotations: class of pixels in no shape (255: none)")
    options.add_argument("--config", help="instead: a data fragment, such as data/camvid_source.yaml")
    options.add_argument("--split", action="append", help="only this part of a published data set; may be repeated")
    options.add_argument("--out", type=Path, default=Path("runs/data-check"), help="folder of sheets and check.json")
    return options


def _check(arguments: list[str]) -> int:
    from gkd_lightning.data import SegmentationDataset, check_dataset, contact_sheet
    from gkd_lightning.evaluate import self_test
    from gkd_lightning.files import write_json

    found = _check_options().read(arguments)
    problems: list[str] = []
    record = {}
    datasets = _datasets(found)
    for name, dataset in datasets.items():
        try:
            result, usable = check_dataset(dataset)
        except UserError as error:
            if len(datasets) == 1:
                raise
            print(f"{name}: PROBLEM: {error}")
            problems.append(f"{name}: {error}")
            continue
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
        raise UserError(f"{len(problems)} problem{'s' * (len(problems) > 1)}, first: {problems[0]}")
    return 0


def _datasets(found: Namespace) -> dict[str, ImageDataset]:
    if sum(value is not None for value in (found.name, found.config, found.images)) != 1:
        raise UserError("gkd data check needs a data set's name, or --images DIR, or --config FRAGMENT")
    things = None if found.things is None else [name.strip() for name in found.things.split(",") if name.strip()]
    if (found.instances or things) and (found.images is None or found.labels is None):
        raise UserError("--instances, --things: are for --images with --labels")
    if found.name is not None:
        return _published(found)
    if found.config is not None:
        from gkd_lightning.recipes import datasets_of

        return datasets_of(found.config)
    from gkd_lightning.data import FolderSegmentation, ProxyImages

    if found.labels is None:
        return {"images": ProxyImages(found.images)}
    classes = found.classes
    if classes is not None and "," in classes:
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    annotated = _annotated(found, classes, things)
    if annotated is not None:
        return {"data": annotated}
    if classes is None:
        raise UserError("--classes: needed with --labels: class names in the order of their ids, or a preset")
    dataset = FolderSegmentation(
        found.images,
        found.labels,
        classes,
        image_suffix=found.image_suffix,
        label_suffix=found.label_suffix or ".png",
        ignore=found.ignore,
        instances=found.instances,
        things=things,
    )
    if found.instances is not None and not dataset.label_space.things:
        raise UserError("--things: needed with --instances: the classes that have them")
    return {"data": dataset}


def _annotated(found: Namespace, classes: list[str] | str | None, things: list[str] | None) -> ImageDataset | None:
    """The data set of labels that a labelling tool wrote; None if they are pictures."""
    from gkd_lightning.data import AnnotatedImages
    from gkd_lightning.data.annotations import annotations_of, class_names
    from gkd_lightning.recipes.start import annotations_at

    source = annotations_at(found.images, found.labels, found.label_suffix)
    if source is None:
        return None
    if found.instances is not None:
        raise UserError("--instances: the labels are annotations, whose shapes are the instances")
    unlabelled: int | str = 255 if found.unlabelled == "255" else found.unlabelled
    return AnnotatedImages(
        found.images,
        found.labels,
        class_names(annotations_of(source), unlabelled) if classes is None else classes,
        unlabelled,
        image_suffix=found.image_suffix,
        label_suffix=found.label_suffix,
        things=things,
    )


def _published(found: Namespace) -> dict[str, ImageDataset]:
    from gkd_lightning.data.benchmarks import published_parts

    parts = published_parts(found.name, found.folder)
    wanted = found.split or list(parts)
    unknown = [part for part in wanted if part not in parts]
    if unknown:
        raise UserError(f"--split {unknown[0]}: {found.name} has {', '.join(parts)}")
    return {f"{found.name}-{part}": parts[part] for part in wanted}
