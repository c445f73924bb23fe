"""CVAT's "for images 1.1": one XML of polygons, boxes and masks, in the order of `z_order`, then of the file."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree

from gkd_lightning.data.annotations.reading import record_of, text_of, whole
from gkd_lightning.data.annotations.shapes import ROWS, Annotations, Builder, Damaged, Part, box, polygon, runs
from gkd_lightning.errors import UserError


def read_cvat(path: str, _: None = None) -> Annotations:
    """All of a file.

    Raises:
        UserError: names the shape that is damaged, or of a kind without an area.
    """
    data = text_of(path).encode()
    listed: list[str] = []
    builder: Builder | None = None
    try:
        for event, element in ElementTree.iterparse(BytesIO(data), events=("start", "end")):
            if event == "start" and element.tag == "track":
                raise UserError(f"{path}: has tracks, as CVAT's export for videos; export it as for images 1.1")
            if event == "end" and element.tag == "label" and element.find("name") is not None and builder is None:
                listed.append((element.findtext("name") or "").strip())
            if event == "end" and element.tag == "image":
                builder = Builder(listed) if builder is None else builder
                _image(builder, path, element)
                element.clear()
    except (ElementTree.ParseError, LookupError) as error:
        raise UserError(f"{path}: is no whole XML ({error}); export it again") from error
    return (Builder(listed) if builder is None else builder).done("cvat", [path])


def _image(builder: Builder, path: str, image: ElementTree.Element) -> None:
    record = image.get("name", "an image without name")
    with record_of(path, record):
        builder.image(image.attrib["name"], *(whole(image.attrib[key], key) for key in ("height", "width")))
    for place, shape in enumerate(image):
        if shape.tag == "tag":  # of the whole image
            continue
        with record_of(path, f"{record}: {shape.tag} {place}"):
            level = whole(shape.get("z_order", "0"), "z_order")
            builder.shape(shape.attrib["label"].strip(), [_part(shape)], level)


def _part(shape: ElementTree.Element) -> Part:
    said = shape.attrib
    if shape.tag == "polygon":
        return polygon([[float(value) for value in pair.split(",")] for pair in said["points"].split(";")])
    if shape.tag == "box":
        if float(said.get("rotation", 0)):
            raise Damaged("a box that is turned; draw it as a polygon")
        return box(*(float(said[key]) for key in ("xtl", "ytl", "xbr", "ybr")))
    if shape.tag == "mask":
        left, top, width, height = (whole(said[key], key) for key in ("left", "top", "width", "height"))
        return runs([whole(word, "run") for word in said["rle"].split(",")], left, top, width, height, ROWS)
    raise Damaged(f"a {shape.tag} is not read; polygons, boxes and masks are")
