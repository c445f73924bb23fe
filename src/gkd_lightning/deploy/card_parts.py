"""What stands in a model card: the Hub's metadata, and tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from gkd_lightning.deploy.licences import Source
from gkd_lightning.deploy.temperature import fitted_temperature
from gkd_lightning.evaluate import Results, Row, RunResult, unseen_mean
from gkd_lightning.recipes import arguments
from gkd_lightning.report import COST_COLUMNS, cost_lines, grid

_TAGS = ["gkd-lightning", "semantic-segmentation", "domain-generalization"]


def metadata(
    run: RunResult, origins: Iterable[Source], repository: str | None, licence: str | None, of_timm: bool
) -> str:
    """The YAML at the top of a card; its scores are those of this run alone.

    Args:
        run: the one that the card is about.
        origins: what it was made from.
        repository: see `write_card`.
        licence: see `write_card`.
        of_timm: whether the encoder lies beside the segmenter in timm's form.
    """
    known = [source for source in origins if source.identifier]
    first = [source.identifier for source in known if source.part == "first weights"]
    data = ModelCardData(
        license=licence or "unknown",
        library_name="gkd-lightning",
        pipeline_tag="image-segmentation",
        tags=[*_TAGS, *["knowledge-distillation"] * (run.role == "method"), *["timm"] * of_timm],
        datasets=[source.identifier for source in known if source.part == "data"] or None,
        base_model=first or None,
        metrics=["mean_iou"],
        model_name=repository.rpartition("/")[2] if repository else run.title,
        eval_results=[
            EvalResult(
                task_type="image-segmentation",
                dataset_type=score.domain,
                dataset_name=f"{score.domain} ({'seen' if score.seen else 'unseen'})",
                metric_type="mean_iou",
                metric_name="mIoU, percent",
                metric_value=round(score.miou, 2),
            )
            for score in run.domains
            if not math.isnan(score.miou)
        ],
    )
    return str(data.to_yaml())


def encoder_name(stages: Mapping[str, Any]) -> str | None:
    """timm's name of the student's architecture, or its class path; None where no stage has recorded it."""
    models = [arguments(config, "model") for config in stages.values()]
    specs = [model.get(key) for model in reversed(models) for key in ("encoder", "student")]
    return next((str(spec["name"]) for spec in specs if isinstance(spec, Mapping) and spec.get("name")), None)


def score_table(run: RunResult, row: Row) -> str:
    """By domain: this run and, where there are several seeds, their mean with its deviation."""
    several = len(row.seeds) > 1
    lines = [
        [score.domain, "seen" if score.seen else "unseen", f"{score.images:,}", _percent(score.miou)]
        + [str(row.domains[score.domain])] * several
        for score in run.domains
    ]
    if any(not score.seen for score in run.domains):
        mean = f"**{_percent(unseen_mean(run.domains))}**"
        lines.append(["**unseen mean**", "", "", mean, *[f"**{row.unseen}**"] * several])
    return grid(["domain", "", "images", "this model", *["all seeds"] * several], lines)


def temperature_line(run: RunResult) -> str | None:
    """What the temperature that was fitted on the source does to confidence elsewhere; None if there is none."""
    found = {score.domain: score.tempered for score in run.domains if score.tempered is not None and not score.seen}
    fitted = fitted_temperature([run])
    if fitted is None:
        return None
    home = ", ".join(score.domain for score in run.domains if score.seen)
    there = "; ".join(f"{name} {each.ece_before:.1f} → {each.ece_after:.1f}" for name, each in found.items())
    return (
        f"Confidence is given as it is. At the temperature {fitted:g}, fitted on {home} "
        f"(`gkd_lightning.load(…, temperature={fitted:g})`), classes stay"
        + (f", and its calibration error (ECE) in percent goes: {there}." if there else ".")
    )


def class_table(run: RunResult) -> str:
    """IoU of this run by class and domain; a dash for a class that does not occur."""
    lines = [
        [name, *("–" if score.iou[index] is None else f"{score.iou[index]:.1f}" for score in run.domains)]
        for index, name in enumerate(run.domains[0].classes)
    ]
    return grid(["IoU", *(score.domain for score in run.domains)], lines)


def stage_table(stages: Mapping[str, Any]) -> str:
    """One line a stage, from its configuration."""
    lines = []
    for name, config in stages.items():
        model, data, trainer = arguments(config, "model"), arguments(config, "data"), config.get("trainer") or {}
        kind = str((config.get("model") or {}).get("class_path", "–")).rpartition(".")[2]
        shown = [
            trainer.get("max_steps"),
            data.get("batch_size"),
            data.get("image_size"),
            model.get("lr"),
            trainer.get("precision"),
        ]
        lines.append([name, kind, *("–" if value is None else cell(str(value)) for value in shown)])
    return grid(["stage", "what", "steps", "batch", "pixels", "learning rate", "precision"], lines)


def cost_table(results: Results, run: RunResult) -> str:
    """What this run cost over all its stages."""
    (line,) = cost_lines(replace(results, runs=[run]))
    return grid(COST_COLUMNS, [[each.text for each in line.cells]])


def cell(text: str) -> str:
    """Text that ends no cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
