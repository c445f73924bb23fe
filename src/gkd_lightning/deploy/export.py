"""`gkd export`: a finished segmenter for other runtimes, judged before it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gkd_lightning import __version__
from gkd_lightning.data import ImageDataset, Protocol, evenly, protocol_for
from gkd_lightning.deploy.arrays import Picture
from gkd_lightning.deploy.checks import DomainCheck, compare, covering, refuse
from gkd_lightning.deploy.exported import EXPORT_RECORD, KIND
from gkd_lightning.deploy.formats import Format, Precision, operators, require_packages, write_graph
from gkd_lightning.deploy.new_folder import new_folder, require_new
from gkd_lightning.deploy.runtimes import open_export
from gkd_lightning.deploy.temperature import checked_temperature, chosen_temperature
from gkd_lightning.deploy.window_graph import INPUT, OUTPUTS, Layout, Output, WindowGraph
from gkd_lightning.encoders import versions
from gkd_lightning.errors import UserError
from gkd_lightning.files import file_sha256, write_json
from gkd_lightning.segment import LoadedSegmenter, load_segmenter

TOLERATED = {"fp32": 0.05, "fp16": 0.1, "int8": 1.0}
"""Points of mIoU that a domain may lose by default."""
CALIBRATION_IMAGES = 64


def export_segmenter(
    checkpoint: str | Path,
    out: str | Path,
    form: Format,
    domains: Mapping[str, ImageDataset],
    *,
    precision: Precision = "fp32",
    size: tuple[int, int] | None = None,
    layout: Layout = "nhwc",
    outputs: Sequence[Output] = ("ids", "scores"),
    temperature: float | str | None = None,
    calibration: ImageDataset | None = None,
    tolerate: float | None = None,
    count: int = 32,
) -> list[DomainCheck]:
    """Write the model and `export.json`, once the export has been compared with the segmenter.

    Args:
        checkpoint: `segmenter.safetensors`, or its folder.
        out: a folder that does not exist yet, or is empty.
        form: ``onnx``, ``openvino`` or ``torch``.
        domains: images to compare on, with labels where mIoU is to be compared.
        precision: ``fp32``, ``fp16`` or ``int8``.
        size: (height, width) of the graph's images; None takes what the judge's window is.
        layout: of the graph's images.
        outputs: ``ids`` and, if wanted, ``scores`` and ``confidence``. Only graphs with scores can
            segment images of several windows, whose scores are averaged.
        temperature: of the confidence, a number or ``auto``, see `chosen_temperature`; it stands in the record, for
            `gkd_lightning.load` and `gkd predict`, and in the graph if that gives confidence.
        calibration: source images, which set the ranges of int8.
        tolerate: points of mIoU that a domain may lose; None takes `TOLERATED`.
        count: images of every domain.

    Returns:
        What the comparison found.

    Raises:
        UserError: the folder is in use, a package is missing, the size does not fit, there is no such temperature, or
            the export is not the model.
    """
    if checked_temperature(temperature) is not None and set(outputs) == {"ids"}:
        raise UserError("--temperature: is of the confidence, which ids alone do not have; take --outputs ids,scores")
    wrong = [name for name in outputs if name not in OUTPUTS]
    if wrong or "ids" not in outputs:
        raise UserError(f"--outputs {','.join(outputs)}: give ids and, if wanted, more of {','.join(OUTPUTS)}")
    require_packages(form, precision)
    require_new(out)
    if precision == "int8" and calibration is None:
        raise UserError("--precision int8: needs --calibrate, images of the source that set its ranges")
    loaded = load_segmenter(checkpoint)
    protocols = {name: _protocol(loaded.record, name) for name in domains}
    judged = judged_window(loaded, protocols)
    window = size or judged
    if min(window) < 1:
        raise UserError(f"--size {window[0]}x{window[1]}: has no area; give HEIGHTxWIDTH in pixels")
    heat = chosen_temperature(temperature, checkpoint, loaded.record)
    wanted = tuple(name for name in OUTPUTS if name in outputs)
    graph = WindowGraph(loaded.segmenter, window, layout, wanted, heat)
    if "scores" not in outputs:
        _require_one_window(domains, protocols, window)
    with new_folder(out) as folder:
        name = write_graph(graph, folder, form, precision, _windows(calibration, graph))
        record = _record(loaded, folder, name, form, precision, graph)
        if temperature is not None:
            record["temperature"] = heat
        record["judged_with"] = [loaded.segmenter.window, loaded.segmenter.stride] if window == judged else None
        write_json(folder / EXPORT_RECORD, record)
        checks = compare(loaded.segmenter, graph, open_export(folder), domains, protocols, count)
        refuse(checks, precision == "fp32", TOLERATED[precision] if tolerate is None else tolerate)
        write_json(folder / EXPORT_RECORD, {**record, "checks": [check.asdict() for check in checks]})
    return checks


def judged_window(loaded: LoadedSegmenter, protocols: Mapping[str, Protocol]) -> tuple[int, int]:
    """(height, width) of the judge's window: the segmenter's, less where its images are smaller.

    Raises:
        UserError: it is not the same for all domains.
    """
    side = loaded.segmenter.window
    rules = list(protocols.values()) or [protocol_for(loaded.record)]
    found = {
        (side, side) if rule.size is None else (min(rule.size[1], side), min(rule.size[0], side)) for rule in rules
    }
    if len(found) > 1:
        named = ", ".join(f"{height}x{width}" for height, width in sorted(found))
        raise UserError(f"--size: the domains were judged with windows of {named} pixels; say which this export takes")
    return found.pop()


def _require_one_window(
    domains: Mapping[str, ImageDataset], protocols: Mapping[str, Protocol], window: tuple[int, int]
) -> None:
    for name, dataset in domains.items():
        image = dataset.image(0)
        width, height = protocols[name].image_size(image.shape[1], image.shape[0])
        if (height, width) != window:
            raise UserError(
                f"--outputs: without scores an image has to be one window, and those of {name} are {height}x{width}, "
                f"the window {window[0]}x{window[1]}; take --size {height}x{width}, or add scores"
            )


def _protocol(record: Mapping[str, Any], domain: str) -> Protocol:
    return protocol_for(record, domain if domain in (record.get("judged") or {}) else None)


def _windows(dataset: ImageDataset | None, graph: WindowGraph) -> list[Picture]:
    """A window of each of some source images, in batches of one, as the graph takes them."""
    chosen = [] if dataset is None else [dataset.image(index) for index in evenly(dataset, CALIBRATION_IMAGES)]
    height, width = graph.size
    windows = [covering(image, graph.size)[:height, :width] for image in chosen]
    axes = (0, 1, 2) if graph.layout == "nhwc" else (2, 0, 1)
    return [np.ascontiguousarray(window.transpose(axes))[None] for window in windows]


def _record(
    loaded: LoadedSegmenter, folder: Path, model: str, form: str, precision: str, graph: WindowGraph
) -> dict[str, Any]:
    window = graph.size
    segmenter = loaded.segmenter
    source = {key: loaded.record[key] for key in ("sha256", "encoder", "head", "blocks")}
    share = segmenter.stride / segmenter.window
    found: dict[str, Any] = {
        "kind": KIND,
        "format": form,
        "precision": precision,
        "model": model,
        "files": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        "input": {"name": INPUT, "shape": graph.input_shape, "layout": graph.layout, "type": "uint8", "colour": "RGB"},
        "outputs": {
            name: ["batch", *([len(loaded.label_space)] if name == "scores" else []), *window] for name in graph.outputs
        },
        "window": list(window),
        "stride": [max(1, round(share * side)) if side != segmenter.window else segmenter.stride for side in window],
        "classes": list(loaded.label_space.names),
        "palette": [list(colour) for colour in loaded.label_space.palette],
        "ignore": loaded.label_space.ignore,
        "protocol": loaded.record.get("protocol") or {},
        "judged": loaded.record.get("judged") or {},
        "source": source,
        "versions": {**versions(), "gkd_lightning": __version__},
    }
    if form == "onnx":
        found["operators"] = sorted(operators(folder / model))
    return found
