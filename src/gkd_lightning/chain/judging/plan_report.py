"""The end of a chain: every method's segmenter judged once, tables, pictures, report."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gkd_lightning.chain.data_changes import evaluated_data
from gkd_lightning.chain.judging.judged_rows import CONFIGURATION
from gkd_lightning.chain.judging.sample_pictures import add_features, sample_gallery
from gkd_lightning.chain.lock import locked
from gkd_lightning.chain.logger import METRICS_JSONL, read_metrics
from gkd_lightning.chain.plan import Plan, PlannedRun
from gkd_lightning.chain.provenance import git_commit, versions
from gkd_lightning.chain.stage import Stage, alone
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import (
    PER_IMAGE,
    RESULTS,
    Cost,
    DomainScore,
    Measure,
    PerImage,
    Results,
    RunResult,
    ece_of,
    load_beside,
    merge,
    merge_per_image,
    miou_of,
    pq_of,
)
from gkd_lightning.files import canonical_hash, write_text
from gkd_lightning.recipes import Config, dump_yaml
from gkd_lightning.report import Gallery, merge_galleries, write_report
from gkd_lightning.segment import record_protocols

SAMPLES_PER_DOMAIN = 2
POINTS_PER_CURVE = 200


def evaluation_config(plan: Plan, segmenter: str) -> Config:
    """Configuration of `gkd test` for one segmenter.

    The chain judges in its own process, on one device, whatever the stages were trained on: several would have to be
    started by calling the chain's command again.
    """
    config = alone(plan.evaluation)
    config["model"] = {"class_path": "gkd_lightning.chain.judging.Evaluation", "init_args": {"segmenter": segmenter}}
    return config


def report_plan(plan: Plan, again: bool = False) -> Path:
    """Judge every run of a finished plan, `again` where it was judged before, write the report and return its path."""
    parts, galleries, counts = [], [], []
    data = {panoptic: evaluated_data(plan.evaluation, panoptic) for panoptic in {_is_panoptic(r) for r in plan.runs}}
    for run in plan.runs:
        directory = _judge(plan, run, data[_is_panoptic(run)], again)
        parts.append(_as_named_now(Results.load(directory / RESULTS), run))
        counts.append(load_beside(directory / RESULTS) or PerImage())  # older evaluations have none
        if run.seed == plan.runs[0].seed:
            galleries.append(Gallery.load(directory / "gallery.npz"))
    recipe = plan.recipe
    judged = [run.method.id for run in plan.runs]
    results = replace(
        merge(parts, recipe.title),
        recipe=_recipe_name(recipe.path),
        teacher=dict(recipe.teacher),
        highlight=recipe.highlight if recipe.highlight in judged else judged[0],
    )
    gallery = add_features(merge_galleries(galleries), plan)
    report = write_report(results, plan.out, gallery, merge_per_image(counts))
    print(f"report: {report}", flush=True)
    return report


def _is_panoptic(run: PlannedRun) -> bool:
    return run.stages[-1].what.panoptic


def _as_named_now(found: Results, run: PlannedRun) -> Results:
    """What was judged before may have got another title or role since."""
    runs = [replace(each, title=run.method.title, role=run.method.role) for each in found.runs]
    return replace(found, runs=runs)


def _judge(plan: Plan, run: PlannedRun, data: Mapping[str, str], again: bool) -> Path:
    """Score one method and seed into a folder named by what is judged and how."""
    last = run.stages[-1]
    artefact = last.artefact()
    manifest = last.manifest() or {}
    if artefact.name != "segmenter.safetensors":
        raise UserError(f"methods.{run.method.id}: its last stage '{last.name}' makes no segmenter")
    what = {"evaluation": plan.evaluation, "data": data, "segmenter": manifest["sha256"], "seed": run.seed}
    digest = canonical_hash(what)
    directory = plan.out / "evaluations" / f"{run.method.id}-seed{run.seed}-{digest[:12]}"
    with locked(directory):
        if again or not (directory / "gallery.npz").is_file():  # written last
            _score(plan, run, artefact, directory)
    return directory


def judge(config: Config, directory: Path, title: str) -> tuple[Any, Any]:
    """Do what a configuration of `gkd test` says, which is kept as `test.yaml`.

    Args:
        config: see `evaluation_config`.
        directory: where `test.yaml` goes.
        title: of the progress lines.

    Returns:
        The `Evaluation` with its scores, and the data module.
    """
    from gkd_lightning.chain.stage_cli import StageCLI

    path = directory / CONFIGURATION
    write_text(path, dump_yaml(Stage.read(config).config_with(folder=str(directory), title=title)))
    stage = StageCLI(["--config", str(path)], verb="test")
    stage.run()
    return stage.model, stage.datamodule


def save_judged(result: RunResult, recipe: str, title: str, module: Any, data: Any, directory: Path) -> None:
    """Write what an evaluation found: results, counts of every image, sample pictures (last)."""
    Results(recipe, title, [result]).save(directory / RESULTS)
    PerImage({(result.method, result.seed): module.image_counts}).save(directory / PER_IMAGE)
    gallery = sample_gallery(module.segmenter, data, result.method, SAMPLES_PER_DOMAIN, module.image_counts)
    gallery.save(directory / "gallery.npz")


def _score(plan: Plan, run: PlannedRun, artefact: Path, directory: Path) -> None:
    title = f"{run.method.id} seed {run.seed}: evaluation"
    module, data = judge(evaluation_config(plan, str(artefact)), directory, title)
    with contextlib.suppress(OSError):  # of a store that cannot be written; predictions then ask for the domain
        record_protocols(artefact, {name: data.protocol_of(name).asdict() for name in data.domain_names})
    result = RunResult(
        method=run.method.id,
        title=run.method.title,
        seed=run.seed,
        domains=list(module.domain_scores.values()),
        protocol=module.protocol(),
        selection=run.stages[-1].what.selection,
        role=run.method.role,
        cost=_cost(run, sum(parameter.numel() for parameter in module.segmenter.parameters())),
        curves=_curves(run),
        provenance=_provenance(run, data.manifest()),
    )
    save_judged(result, _recipe_name(plan.recipe.path), plan.recipe.title, module, data, directory)
    print(f"{run.method.id} seed {run.seed}: {_told(result.domains, miou_of)}", flush=True)
    if any(score.panoptic for score in result.domains):
        print(f"{run.method.id} seed {run.seed}, PQ: {_told(result.domains, pq_of)}", flush=True)
    if any(score.trust for score in result.domains):
        print(f"{run.method.id} seed {run.seed}, ECE: {_told(result.domains, ece_of)}", flush=True)


def _told(domains: Sequence[DomainScore], measure: Measure) -> str:
    """One score of every domain that has it, for the terminal."""
    scores = [(score.domain, measure(score)) for score in domains]
    return "  ".join(f"{name} {value:.1f}" for name, value in scores if not math.isnan(value))


def _cost(run: PlannedRun, parameters: int) -> Cost:
    costs = [(stage.manifest() or {})["costs"] for stage in run.chain]
    seconds, images = sum(cost["seconds"] for cost in costs), sum(cost["images"] for cost in costs)
    flops = [cost["tflops"] for cost in costs]
    return Cost(
        params_m=parameters / 1e6,
        steps=sum(cost["steps"] for cost in costs),
        images=images,
        tflops=None if None in flops else sum(flops),
        seconds=seconds,
        images_per_second=images / seconds if seconds else None,
        peak_memory_mb=max(cost["peak_memory_bytes"] for cost in costs) / 2**20,
    )


def _curves(run: PlannedRun) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for stage in run.chain:
        rows = read_metrics(stage.directory / METRICS_JSONL)
        for key in dict.fromkeys(key for row in rows for key in row):
            if key in ("step", "seconds", "epoch"):
                continue
            points = [(int(row["step"]), float(row[key])) for row in rows if row.get(key) is not None]
            curves[f"{stage.name}/{key.removeprefix('train/')}"] = _thinned(points)
    return curves


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most so many points, each the mean of its neighbourhood."""
    width = -(-len(points) // POINTS_PER_CURVE)
    if width <= 1:
        return list(points)
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _provenance(run: PlannedRun, evaluated: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "git_commit": git_commit(),
        "versions": versions(),
        "data.evaluated": {key: evaluated[key] for key in ("images", "sha256")},
        "artefacts": {stage.name: (stage.manifest() or {})["sha256"] for stage in run.chain},
        "config": {stage.name: stage.config for stage in run.chain},
    }
    for stage in run.chain:
        sidecar = stage.artefact().with_suffix(".json")
        made = json.loads(sidecar.read_text(encoding="utf-8")).get("provenance", {}) if sidecar.is_file() else {}
        if made.get("data"):
            record[f"data.{stage.name}"] = {key: made["data"][key] for key in ("images", "sha256")}
    return record


def _recipe_name(path: Path) -> str:
    """As a user types it: no folder of one machine in a result."""
    parts = path.parts
    return "/".join(parts[parts.index("experiments") :]) if "experiments" in parts else path.name
