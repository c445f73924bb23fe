"""A benchmark's test images as one zip that its server takes: names, number, sizes and ids are checked."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from gkd_lightning.data import CITYSCAPES_19, CLASS_MAPS, read_stored_label
from gkd_lightning.deploy.predict.inputs import Input
from gkd_lightning.deploy.predict.products import IDS
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.files import atomic_write

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Time of every member, so that the same predictions are the same file."""


@dataclass(frozen=True)
class Server:
    """What a benchmark's server asks for.

    Attributes:
        title: the benchmark.
        images: a glob of its test images below the data set's folder.
        counts: how many there are, by the name of the folder that holds `test/SEQUENCE/`.
        size: (width, height) of all of them.
        folder: of the predictions inside the zip, with a slash at its end; empty for none.
        stored: ids in the files by train id; None if these are train ids.
    """

    title: str
    images: str
    counts: Mapping[str, int]
    size: tuple[int, int]
    folder: str = ""
    stored: Mapping[int, int] | None = None

    def member(self, source: str) -> str:
        """Name of an image's prediction inside the zip: the image's own, without its folders."""
        return self.folder + Path(source).name

    def part(self, source: str) -> str | None:
        """Of which of `counts` an image is; None if it is no test image."""
        path = Path(source)
        ending = self.images.rpartition("*")[2]
        if len(path.parents) < 3 or path.parents[1].name != "test" or not path.name.endswith(ending):
            return None
        found = path.parents[2].name
        return found if found in self.counts else None


_LABEL_IDS = {train_id: label_id for label_id, train_id in CLASS_MAPS["cityscapes-ids"][1].items() if train_id != 255}

SERVERS = {
    "acdc": Server(
        "ACDC",
        "rgb_anon/*/test/*/*_rgb_anon.png",
        {"fog": 500, "night": 500, "rain": 500, "snow": 500},
        (1920, 1080),
        "labelTrainIds/",
    ),
    "cityscapes": Server(
        "Cityscapes",
        "leftImg8bit/test/*/*_leftImg8bit.png",
        {"leftImg8bit": 1525},
        (2048, 1024),
        stored=_LABEL_IDS,
    ),
}
"""By the name that `--archive` takes.

ACDC (https://acdc.vision.ee.ethz.ch/submit): its users write that ids are train ids, sizes those of the images, and
that files lie below `labelTrainIds/` and are found by the beginnings of their names; Refign and DAFormer hand in the
images' own names. The counts follow from the paper's 4006 images in four equal parts, less those with public labels.

Cityscapes (https://www.cityscapes-dataset.com/submit): label ids, one file for each image, whose name begins as the
image's does, say its authors in issue 65 of cityscapesScripts.
"""


def server_of(name: str, classes: Sequence[str], kept: int, inputs: Sequence[Input]) -> Server:
    """The server that a name means, after a look at what is to be segmented.

    Args:
        name: one of `SERVERS`.
        classes: the segmenter's.
        kept: how many of them are kept.
        inputs: what was found.

    Raises:
        UserError: an unknown name; other classes than Cityscapes' 19 in their order, or not all of them; anything but
            the test images, or not all of them.
    """
    if name not in SERVERS:
        raise UserError(f"--archive {name}: no such benchmark{nearest(name, SERVERS)} ({', '.join(SERVERS)})")
    server = SERVERS[name]
    if tuple(classes) != CITYSCAPES_19.names:
        raise UserError(f"--archive {name}: wants Cityscapes' 19 classes, and the segmenter has others")
    if kept < len(classes):
        raise UserError(f"--archive {name}: wants all classes; leave --classes out")
    counts: Counter[str] = Counter()
    members: dict[str, str] = {}
    for each in inputs:
        part = server.part(each.source) if each.kind == "image" else None
        if part is None:
            where = f"give the test images alone, --images 'FOLDER/{server.images}'"
            raise UserError(f"--archive {name}: {each.shown} is no test image of {server.title}; {where}")
        counts[part] += 1
        other = members.setdefault(server.member(each.source), each.source)
        if other != each.source:
            raise UserError(f"--archive {name}: {other} and {each.source} share their name; one would be lost")
    short = [f"{counts[part]} of {count} in {part}" for part, count in server.counts.items() if counts[part] != count]
    if short:
        raise UserError(f"--archive {name}: not the test images of {server.title}: {', '.join(short)}")
    return server


def write_archive(server: Server, path: Path, inputs: Sequence[Input]) -> None:
    """Write the zip of all id maps, which lie in `ids/` beside it; none is there before all of them are found good.

    Raises:
        UserError: an id map that is missing, damaged or of another size, or an id beyond the classes.
    """
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as made:
        for each in sorted(inputs, key=lambda one: server.member(one.source)):
            member = zipfile.ZipInfo(server.member(each.source), _LONG_AGO)
            member.external_attr = 0o644 << 16  # to be read by whoever unpacks it
            made.writestr(member, _picture(server, path.parent / IDS / f"{each.name}.png"))


def _picture(server: Server, path: Path) -> bytes:
    """An id map, checked, as the server wants it."""
    ids = read_stored_label(path)
    width, height = server.size
    if ids.shape != (height, width):
        found = "x".join(str(side) for side in ids.shape[1::-1])
        raise UserError(f"{path}: is {found}, and {server.title}'s images are {width}x{height}; give these")
    if int(ids.max()) >= len(CITYSCAPES_19):
        raise UserError(f"{path}: has id {int(ids.max())}, and the last class is {len(CITYSCAPES_19) - 1}")
    if server.stored is None:
        return path.read_bytes()
    table = np.array([server.stored[train_id] for train_id in range(len(CITYSCAPES_19))], np.uint8)
    buffer = BytesIO()
    Pillow.fromarray(table[ids]).save(buffer, "PNG")
    return buffer.getvalue()
