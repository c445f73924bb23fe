"""What is damaged, or not as a tool writes it, ends in one line that names file and record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gkd_lightning.data import AnnotatedImages
from gkd_lightning.errors import UserError
from tests.data.annotations.tools import (
    CAR,
    TOOLS,
    WIDTH,
    coco_plain,
    cvat_text,
    inside,
    label_studio_plain,
    labelme_plain,
    pictures,
    png,
    supervisely_plain,
    written,
)


def coco(change: Callable[[dict[str, Any]], object]) -> Callable[[], Any]:
    def made() -> Any:
        plain = coco_plain()
        change(plain)
        return plain

    return made


def first(**values: Any) -> Callable[[], Any]:
    """COCO's first annotation with other values."""
    return coco(lambda plain: plain["annotations"][0].update(values))


def task(change: Callable[[dict[str, Any]], object]) -> Callable[[], Any]:
    def made() -> Any:
        plain = label_studio_plain()
        change(plain[0])
        return plain

    return made


def result(**values: Any) -> Callable[[], Any]:
    return task(lambda plain: plain["annotations"][0]["result"][0].update(values))


def shape(**values: Any) -> Callable[[], Any]:
    return lambda: labelme_plain("a.png") | {"shapes": [labelme_plain("a.png")["shapes"][0] | values]}


def thing(**values: Any) -> Callable[[], Any]:
    return lambda: supervisely_plain() | {"objects": [supervisely_plain()["objects"][2] | values]}


def xml(old: str, new: str) -> Callable[[], str]:
    return lambda: cvat_text().replace(old, new, 1)


BRUSH = {"format": "rle", "rle": [0, 0, 0, 1], "brushlabels": ["car"]}
COCO, CVAT, STUDIO = "instances.json", "annotations.xml", "project.json"
DAMAGED: list[tuple[str, str, Callable[[], Any], str]] = [
    ("coco", COCO, lambda: '{"images": [', "instances.json: is no whole JSON .*; export it again"),
    ("coco", COCO, lambda: {"a": 1}, "instances.json: is of no tool that is known"),
    ("coco", COCO, lambda: coco_plain() | {"annotations": 3}, "instances.json: annotations: is not as the tool writes"),
    ("coco", COCO, lambda: coco_plain() | {"images": [3]}, "instances.json: image 0 of the list: is not as the tool"),
    ("coco", COCO, lambda: coco_plain() | {"categories": [{}]}, "instances.json: categories: lacks 'id'"),
    ("coco", COCO, coco(lambda p: p["categories"].append(p["categories"][0])), "categories: two have one id"),
    ("coco", COCO, coco(lambda p: p["images"].pop()), "annotation 102 is of image 9, which the file lacks or lists"),
    ("coco", COCO, coco(lambda p: p["images"].append(p["images"][0])), "a.png and a.png are both of a.png; keep one"),
    ("coco", COCO, coco(lambda p: p["images"][0].update(height="x")), "image 0 of the list: height 'x' is no whole"),
    ("coco", COCO, coco(lambda p: p["images"][0].update(height=-2)), "image 0 of the list: a size of 16x-2 pixels"),
    ("coco", COCO, coco(lambda p: p["annotations"][0].pop("image_id")), "annotation 0 of the list: lacks 'image_id'"),
    ("coco", COCO, first(category_id=99), "annotation 100 of a.png: is of category 99, which the file lacks"),
    ("coco", COCO, first(segmentation=[]), "annotation 100 of a.png: has no segmentation, such as a box alone"),
    ("coco", COCO, first(segmentation=[[1, 2, 3, 4]]), "annotation 100 of a.png: a polygon of 2 corners"),
    ("coco", COCO, first(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "a polygon of 7 numbers, which are no pairs"),
    ("coco", COCO, first(segmentation=[[1, 2, 3, 4, 5, "x"]]), "corners that are no numbers"),
    ("coco", COCO, first(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "corners that are no finite numbers"),
    ("coco", COCO, first(segmentation=[[50, 1, 60, 1, 60, 9]]), "lies outside the image of 16x12 pixels"),
    ("coco", COCO, first(segmentation={"size": [12, 16]}), "annotation 100 of a.png: lacks 'counts'"),
    ("coco", COCO, first(segmentation={"size": [16, 12], "counts": [192]}), "runs are for 12x16 pixels, the image has"),
    ("coco", COCO, first(segmentation={"size": [12, 16], "counts": [9, 3]}), "runs of 12 pixels in 16x12 = 192"),
    ("coco", COCO, first(segmentation={"size": [12, 16], "counts": [200, -8]}), "runs of 192 pixels in 16x12 = 192"),
    ("coco", COCO, first(segmentation={"size": [12, 16], "counts": ["x"]}), "runs that are no whole numbers"),
    ("coco", COCO, first(segmentation={"size": [12, 16], "counts": "!"}), "runs with the letter '!'"),
    ("coco", COCO, first(segmentation={"size": [12, 16], "counts": "o"}), "runs that end inside a number"),
    ("coco", COCO, first(segments_info=[]), "holds panoptic segments, .* take data.CocoPanoptic"),
    ("yolo", "labels/a.txt", lambda: "7 0 0 1 0 1 1\n", "a.txt: line 1: class 7, which has no name; 2 are named"),
    ("yolo", "labels/a.txt", lambda: "0 .1 .1 .2 .1 .2 .2\n0 .5 .5 .2 .2\n", "a.txt: line 2: a box .* no polygon"),
    ("yolo", "labels/a.txt", lambda: "0 0 0 9 0 9 9\n", "a.txt: line 1: corners beyond 0 to 1"),
    ("yolo", "labels/a.txt", lambda: "0 0 0 1 0 1\n", "a.txt: line 1: a polygon of 5 numbers"),
    ("yolo", "labels/b.txt", lambda: "car 0 0 1 0 1 1\n", "b.txt: line 1: class 'car' is no whole number"),
    ("yolo", "labels/b.txt", lambda: "0 0 0 1 0 1 one\n", "b.txt: line 1: is not as the tool writes it"),
    ("yolo", "data.yaml", lambda: "nc: 2\n", "labels: numbers of classes have no names; put data.yaml or classes.txt"),
    ("yolo", "data.yaml", lambda: "names: [a\n", "data.yaml: is no YAML"),
    ("yolo", "data.yaml", lambda: "names: {a: b}\n", "data.yaml: names: class 'a' is no whole number"),
    ("yolo", "classes.txt", lambda: "car\nroad\n", "data.yaml and .*classes.txt name the classes differently"),
    ("labelme", "images/b.json", lambda: '{"shapes"', "b.json: is no whole JSON"),
    ("labelme", "images/b.json", lambda: {"x": 1}, "b.json: the file: lacks 'shapes'"),
    ("labelme", "images/a.json", shape(shape_type="line"), "a.json: shape 0 of the list: a line, which has no area"),
    ("labelme", "images/a.json", shape(shape_type="circle"), "a circle of 4 points; two are needed"),
    ("labelme", "images/a.json", shape(points=None), "corners that are no finite numbers"),
    ("labelme", "images/a.json", shape(shape_type="mask", points=[[0, 0], [3, 3]], mask="eHg="), "is no PNG"),
    ("cvat", CVAT, xml("</annotations>", ""), "annotations.xml: is no whole XML"),
    ("cvat", CVAT, lambda: "<annotation></annotation>", "annotations.xml: is of no tool that is known"),
    ("cvat", CVAT, xml("<image id", "<track/><image id"), "has tracks, as CVAT's export for videos; export it as"),
    ("cvat", CVAT, xml('width="16" ', ""), "annotations.xml: a.png: lacks 'width'"),
    ("cvat", CVAT, xml("10.00,4.00", "10.00"), "annotations.xml: a.png: polygon 0: "),
    ("cvat", CVAT, xml('z_order="1"', 'z_order="up"'), "a.png: polygon 0: z_order 'up' is no whole number"),
    ("cvat", CVAT, xml("<polygon ", '<polyline label="car" points="1,1;2,2"/><polygon '), "0: a polyline is not"),
    ("cvat", CVAT, xml('xtl="0.00"', 'rotation="30" xtl="0.00"'), "a box that is turned; draw it as a polygon"),
    (
        "cvat", CVAT,
        xml("<polygon ", '<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2"/><polygon '),
        "mask 0: runs of 3 pixels in 2x2 = 4",
    ),
    ("label-studio", STUDIO, task(lambda t: t["annotations"].append(t["annotations"][0])), "task 1: has 2 annotations"),
    ("label-studio", STUDIO, task(lambda t: t["data"].update(image="x")), "task 1: names 0 images in data"),
    ("label-studio", STUDIO, result(original_width=17), "task 1: is of two sizes"),
    ("label-studio", STUDIO, result(type="keypointlabels", value={"keypointlabels": ["car"]}), "pointlabels are not"),
    ("label-studio", STUDIO, result(value={"polygonlabels": ["car", "road"]}), "r0: a polygonlabels of 2 classes"),
    ("label-studio", STUDIO, result(type="brushlabels", value=BRUSH), "a brush whose runs end early"),
    ("label-studio", STUDIO, result(type="brushlabels", value=BRUSH | {"format": "x"}), "a brush of the format 'x'"),
    ("supervisely", "ann/a.png.json", thing(geometryType="point"), "object 3: a point, which has no area"),
    ("supervisely", "ann/a.png.json", thing(bitmap={"data": "eHg=", "origin": [0, 0]}), "that is no base64 of"),
    ("supervisely", "ann/a.png.json", thing(bitmap={"origin": [0, 0]}), "object 3: lacks 'data'"),
    ("cityscapes", "polygons/a.json", lambda: {"objects": [], "height": 3}, "a.json: the file: lacks 'width'"),
    (
        "mapillary", "polygons/b.json", lambda: {"objects": [{"label": "car"}], "height": 12, "width": 16},
        "b.json: object 0 of the list: lacks 'polygon'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "file", "made", "message"), DAMAGED, ids=[f"{row[0]}-{row[3]}" for row in DAMAGED])
def test_damage(tool: str, file: str, made: Callable[[], Any], message: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS[tool](tmp_path)
    written(tmp_path / file, made())
    with pytest.raises(UserError, match=message) as told:
        len(AnnotatedImages(str(tmp_path / "images"), str(labels), ["road", "car"], 255))
    assert "\n" not in str(told.value)


def test_text_that_is_none(tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS["yolo"](tmp_path)
    (labels / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"b.txt: is no text in UTF-8"):
        len(AnnotatedImages(str(tmp_path / "images"), str(labels), ["road", "car"], 255))


def test_a_mask_that_lies_beyond_the_image(tmp_path: Path) -> None:
    """What is inside is kept."""
    import base64

    pictures(tmp_path)
    labels = TOOLS["labelme"](tmp_path)
    data = base64.b64encode(png(inside(CAR)[4:8, 4:10])).decode()
    points = [[WIDTH - 2, 4], [WIDTH + 3, 7]]
    written(labels / "a.json", shape(shape_type="mask", label="car", points=points, mask=data)())
    label = AnnotatedImages(str(tmp_path / "images"), str(labels), ["road", "car"], 255).label(0)
    assert np.argwhere(label == 1).tolist() == [[row, column] for row in range(4, 8) for column in (14, 15)]
