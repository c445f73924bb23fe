"""`gkd test RUN EXPORT…`: an export judged as its segmenter was, a row for the same table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gkd_lightning.chain.judging.judged_rows import CONFIGURATION, JudgedRow, judged_rows
from gkd_lightning.chain.judging.plan_report import judge, save_judged
from gkd_lightning.deploy import read_record
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import RESULTS, Cost, Results, RunResult
from gkd_lightning.files import canonical_hash
from gkd_lightning.recipes import read_yaml

FORMATS = {"onnx": "ONNX", "openvino": "OpenVINO", "torch": ".pt2"}


def judge_exports(folder: Path, exports: Sequence[Path]) -> list[RunResult]:
    """Judge exports by the protocol and on the images of the run that their segmenters come from.

    Each one's `results.json`, `per_image.npz` and `gallery.npz` go into its own folder, so that `gkd table` and
    `gkd report` take that beside the run's.

    Args:
        folder: of the run.
        exports: folders that `gkd export` wrote.

    Raises:
        UserError: no results, no export, or one of a segmenter that is in no row of the run; before anything is judged.
    """
    head, rows = Results.load(folder / RESULTS), judged_rows(folder)
    known = {row.run.artefact: row for row in rows}
    pairs = []
    for export in exports:
        record = read_record(export)
        row = known.get(record["source"]["sha256"])
        if row is None:
            raise UserError(
                f"{export}: of a segmenter that is in no row of {folder} ({', '.join(row.run.title for row in rows)})"
            )
        if row.evaluation is None:
            raise UserError(f"{folder}: has no evaluations/*/{CONFIGURATION} of {row.run.title}, give the run's folder")
        pairs.append((export, record, row))
    return [_judge(head, export, record, row) for export, record, row in pairs]


def _judge(head: Results, export: Path, record: dict[str, Any], row: JudgedRow) -> RunResult:
    assert row.evaluation is not None
    model = {"class_path": "gkd_lightning.chain.judging.Evaluation", "init_args": {"segmenter": str(export)}}
    config = {**read_yaml(row.evaluation / CONFIGURATION), "model": model}
    name, title = _named(row.run, record)
    module, data = judge(config, export, f"{name}: evaluation")
    evaluated = data.manifest()
    provenance = {
        **row.run.provenance,
        "artefacts": {**row.run.provenance["artefacts"], "export": canonical_hash(record["files"])},
        "data.evaluated": {key: evaluated[key] for key in ("images", "sha256")},
        "export": {key: record[key] for key in ("format", "precision", "versions")},
    }
    result = replace(
        row.run,
        method=name,
        title=title,
        role="export",
        domains=list(module.domain_scores.values()),
        protocol=module.protocol(),
        cost=Cost(params_m=row.run.cost.params_m),
        latencies=[],
        curves={},
        provenance=provenance,
    )
    save_judged(result, head.recipe, head.title, module, data, export)
    return result


def _named(run: RunResult, record: dict[str, Any]) -> tuple[str, str]:
    """Method id and title: of the segmenter, with format, precision, and the window where it is not the judge's."""
    form, precision = record["format"], record["precision"]
    size = "" if record["judged_with"] else "x".join(map(str, record["window"]))
    name = "-".join(part for part in (run.method, form, precision, size) if part)
    return name, f"{run.title}, {FORMATS.get(form, form)} {precision}" + (f", {size} windows" if size else "")
