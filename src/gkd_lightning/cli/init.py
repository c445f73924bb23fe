"""`gkd init DIR`: look at folders of images and labels, and write a recipe that trains on them as it is."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.recipes.start import Found, Labels, Pairing, Scale

_SIZES = 50
"""Images that are opened for their size."""
_TRIAL = 8
"""Images that judge in a trial."""
_HELD_OUT = ("val", "valid", "validation", "test", "testing")


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd init --help`."""
    options = Options(verb, "Look at your folders, say what is in them, and write a recipe that runs as it is.")
    options.add_argument("folder", type=Path, metavar="DIR", help="folder of the recipe, made if it is not there")
    options.add_argument("--images", required=True, help="folder or archive of the labelled images")
    options.add_argument(
        "--labels",
        help="of their labels, or a labelling tool's file (default: found)",
    )
    options.add_argument("--classes", help="comma-separated names in the order of their ids, or a preset")
    options.add_argument("--ignore", type=int, help="stored id without truth (default: 255)")
    options.add_argument("--ids-from-1", action="store_true", help="0 is no class and ignored; 1 is the first")
    options.add_argument(
        "--class-map", metavar="MAP", help="cityscapes-ids: labels hold raw ids; NAME=CLASS,…: names in annotations"
    )
    options.add_argument("--unlabelled", metavar="CLASS", help="annotations: class of pixels in no shape (255: none)")
    options.add_argument("--background-only", action="store_true", help="images without a shape are --unlabelled's")
    options.add_argument("--palette", metavar="NAME=#rrggbb,…", help="colours of the classes, for labels in colours")
    options.add_argument("--image-suffix", help="how image names end, such as _leftImg8bit.png (default: found)")
    options.add_argument("--label-suffix", help="what stands in its place in the label's name (default: found)")
    options.add_argument("--held-out", metavar="IMAGES:LABELS", help="what judges (default: val or test, or 15 %%)")
    options.add_argument(
        "--target", action="append", default=[], metavar="NAME=IMAGES:LABELS", help="another domain; may be repeated"
    )
    options.add_argument("--proxy", action="append", metavar="DIR", help="images without labels, for stage 1a")
    options.add_argument("--teacher", help="a fragment, see `gkd list teachers`")
    options.add_argument("--student", help="a fragment, see `gkd list students`")
    options.add_argument("--edge", action="store_true", help="a smaller student")
    scale = options.add_mutually_exclusive_group()
    scale.add_argument("--cpu", action="store_true", help="sizes and steps for a CPU (default: by what is here)")
    scale.add_argument("--gpu", action="store_true", help="for a GPU")
    scale.add_argument("--trial", action="store_true", help="minutes on a CPU, without any download: does it all run?")
    found = options.read(arguments)
    if found.edge and (found.student is not None or _scale(found) != "gpu"):
        raise UserError("--edge: is for a GPU's sizes, and chooses the student; leave it out, or give --student alone")
    path = found.folder / "recipe.yaml"
    if path.exists() or (found.folder.exists() and not found.folder.is_dir()):
        raise UserError(f"{path if found.folder.is_dir() else found.folder}: exists; give another folder")
    return _write(found)


def _write(found: Namespace) -> int:
    from gkd_lightning.recipes.start import FirstRecipe, split, spread, write_first_recipe

    images, labels = _roots(found.images, found.labels)
    source = _labelled(images, labels, found.image_suffix, found.label_suffix, found.background_only)
    pairing = source.pairing
    print(
        f"{images}: {pairing.images} images with a label in {labels}"
        + (f", {pairing.without} without" if pairing.without else "")
        + ("" if source.annotated is not None else f"; NAME{pairing.image_suffix} has NAME{pairing.label_suffix}")
    )
    source, held_out = _parts(source, found) or split(source)
    print(f"{len(source.names)} of them train, {len(held_out.names)} judge ({_told(held_out)})")
    targets = {}
    for text in found.target:
        name, other, theirs = _target(text)
        targets[name] = _labelled(other, theirs, None, None, found.background_only)
        print(f"target {name}: {len(targets[name].names)} images")
    kinds = _kinds(found, {"--images": source, "--held-out": held_out} | targets)
    print(f"labels: {kinds.told}")
    if found.trial:
        few = [held_out.names[place] for place in spread(len(held_out.names), _TRIAL)]
        held_out = held_out._replace(names=few, list_file="held_out.txt")
        print(f"for a trial {len(few)} of them judge")
    size = _median_size(source)
    print(f"images of {size[1]}x{size[0]} pixels")
    for root in found.proxy or []:
        _proxy(root)
    recipe = FirstRecipe(
        name=_name(found.folder), source=source, held_out=held_out, size=size, labels=kinds, proxy=found.proxy,
        targets=targets, scale=_scale(found), edge=found.edge, teacher=found.teacher, student=found.student,
    )  # fmt: skip
    path = write_first_recipe(recipe, found.folder)
    if not targets:
        print("no --target: corruptions of the held-out images are the domains that were never seen")
    if recipe.proxy is None:
        print("no --proxy: stage 1a is left out, the teacher teaches on the source's images alone")
    print(
        f"{path}: for a {'CPU, to try' if recipe.scale == 'trial' else recipe.scale.upper()}; teacher "
        f"{recipe.teacher_fragment}, student {recipe.student_fragment}, crops of {recipe.crop} pixels"
    )
    print(f"next: gkd run {path} --dry-run, then gkd run {path}")
    return 0


def _scale(found: Namespace) -> Scale:
    given: dict[Scale, bool] = {"trial": found.trial, "cpu": found.cpu, "gpu": found.gpu}
    for name, wanted in given.items():
        if wanted:
            return name
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def _roots(images: str, labels: str | None) -> tuple[str, str]:
    """Images and labels; without labels a folder beside the images that is called so, or the images' own."""
    if labels is not None:
        return images, labels
    path = Path(images)
    for parent in (path, path.parent):
        for name in ("labels", "masks", "annotations", "gtFine"):
            if (parent / name).is_dir() and parent / name != path:
                return (str(path / "images") if parent == path and (path / "images").is_dir() else images), str(
                    parent / name
                )
    return images, images


def _labelled(
    images: str, labels: str, image_suffix: str | None, label_suffix: str | None, background_only: bool
) -> Found:
    from gkd_lightning.data import list_images
    from gkd_lightning.recipes.start import Found, Pairing, annotations_at, found_annotated, found_pairing

    if annotations_at(images, labels, label_suffix) is not None:
        return found_annotated(images, labels, image_suffix, label_suffix, background_only)
    if image_suffix is not None and label_suffix is not None:
        masks = set(list_images(labels, label_suffix))
        names = [name.removesuffix(image_suffix) for name in list_images(images, image_suffix)]
        paired = [name for name in names if name + label_suffix in masks]
        if not paired:
            raise UserError(f"{labels}: no label NAME{label_suffix} for any image NAME{image_suffix} in {images}")
        return Found(images, labels, Pairing(image_suffix, label_suffix, len(paired), len(names) - len(paired)), paired)
    if image_suffix is not None or label_suffix is not None:
        raise UserError("--image-suffix, --label-suffix: give both or none")
    pairing: Pairing = found_pairing(images, labels)
    masks = set(list_images(labels, pairing.label_suffix))
    stems = [name.removesuffix(pairing.image_suffix) for name in list_images(images, pairing.image_suffix)]
    return Found(images, labels, pairing, [stem for stem in stems if stem + pairing.label_suffix in masks])


def _parts(source: Found, given: Namespace) -> tuple[Found, Found] | None:
    """What trains and what judges, if somebody has parted them already."""
    if given.held_out is not None:
        _, images, labels = _target(f"held_out={given.held_out}")
        return source, _labelled(images, labels, None, None, given.background_only)
    first = {name.split("/")[0] for name in source.names if "/" in name}
    judges = [name for name in _HELD_OUT if name in first]
    if "train" not in first or not judges:
        return None
    kept = {part: [name for name in source.names if name.startswith(f"{part}/")] for part in ("train", judges[0])}
    parts = [source._replace(names=names, list_file=f"{part}.txt") for part, names in kept.items()]
    return parts[0], parts[1]


def _told(held_out: Found) -> str:
    if held_out.list_file == "held_out.txt":
        return "the last of the names in order, since neighbours are often alike"
    return held_out.images if held_out.list_file is None else f"the part {held_out.list_file.removesuffix('.txt')}"


def _kinds(found: Namespace, parts: dict[str, Found]) -> Labels:
    from gkd_lightning.recipes.start import told_labels, told_shapes

    classes: list[str] | str | None = found.classes
    if found.classes is not None and "," in found.classes:
        classes = [name.strip() for name in found.classes.split(",") if name.strip()]
    if parts["--images"].annotated is not None:
        return told_shapes(parts, classes, *_annotated_options(found))
    if found.unlabelled is not None or found.background_only:
        raise UserError("--unlabelled, --background-only: are for annotations of a labelling tool; labels are pictures")
    annotated = [name for name, part in parts.items() if part.annotated is not None]
    if annotated:
        raise UserError(f"{annotated[0]}: its labels are annotations, those of --images pictures; give one kind")
    files = [
        Path(part.labels) / f"{name}{part.pairing.label_suffix}"
        for part in (parts["--images"], parts["--held-out"])
        for name in part.names
    ]
    palette = None
    if found.palette is not None:
        pairs = [part.split("=") for part in found.palette.split(",")]
        if not all(len(pair) == 2 and re.fullmatch(r"#[0-9a-fA-F]{6}", pair[1].strip()) for pair in pairs):
            raise UserError(f"--palette {found.palette}: give NAME=#rrggbb for every class, commas between")
        palette = {name.strip(): colour.strip() for name, colour in pairs}
    return told_labels(files, classes, found.ignore, found.class_map, palette, found.ids_from_1)


def _annotated_options(found: Namespace) -> tuple[int | str | None, dict[str, int | str]]:
    """What pixels in no shape are, and the classes of names in the files."""
    given = {"--ignore": found.ignore is not None, "--ids-from-1": found.ids_from_1, "--palette": found.palette}
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise UserError(f"{wrong[0]}: is for labels that are pictures; annotations name their classes")
    pairs = [part.split("=") for part in (found.class_map or "").split(",") if part]
    if not all(len(pair) == 2 and all(word.strip() for word in pair) for pair in pairs):
        raise UserError(f"--class-map {found.class_map}: give NAME=CLASS, commas between, and NAME=255 to ignore")
    mapping = {name.strip(): _class(to) for name, to in pairs}
    return None if found.unlabelled is None else _class(found.unlabelled), mapping


def _class(text: str) -> int | str:
    return 255 if text.strip() == "255" else text.strip()


def _target(text: str) -> tuple[str, str, str]:
    name, _, rest = text.partition("=")
    images, _, labels = rest.partition(":")
    if not (name.isidentifier() and images and labels):
        raise UserError(f"--target {text}: give NAME=IMAGES:LABELS, such as winter=winter/images:winter/labels")
    return name, images, labels


def _median_size(source: Found) -> tuple[int, int]:
    from statistics import median_low

    from gkd_lightning.data import read_image
    from gkd_lightning.recipes.start import spread

    paths = [Path(source.images) / f"{name}{source.pairing.image_suffix}" for name in source.names]
    shapes = [read_image(paths[place]).shape for place in spread(len(paths), _SIZES)]
    return median_low(shape[0] for shape in shapes), median_low(shape[1] for shape in shapes)


def _proxy(root: str) -> None:
    from gkd_lightning.data import ProxyImages

    print(f"proxy {root}: {len(ProxyImages(root)):,} images")


def _name(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "mine"
