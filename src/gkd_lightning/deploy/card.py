"""The model card of a finished segmenter, from the results of its run: what is recorded there, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import jinja2
import timm

from gkd_lightning.deploy.card_parts import (
    class_table,
    cost_table,
    encoder_name,
    metadata,
    score_table,
    stage_table,
    temperature_line,
)
from gkd_lightning.deploy.card_picture import card_picture
from gkd_lightning.deploy.licences import UNKNOWN, sources
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.evaluate import Results, RunResult, table
from gkd_lightning.files import atomic_write, write_text
from gkd_lightning.recipes import arguments, dump_yaml
from gkd_lightning.report import Gallery, facts, markdown_table

CARD, PICTURE = "README.md", "picture.png"
_SELECTION = {
    "last": "those of the last step",
    "source-val": "those with the best score on validation images of the source",
    "oracle": "those with the best score on the targets themselves, which needs their labels",
}


def chosen_run(results: Results, method: str | None = None, seed: int | None = None) -> RunResult:
    """The run that a card is about: by default the highlighted method's first seed.

    Raises:
        UserError: there is none of this method or seed.
    """
    methods = list(dict.fromkeys(run.method for run in results.runs))
    wanted = method if method is not None else results.highlight if results.highlight in methods else methods[0]
    if wanted not in methods:
        raise UserError(f"--method {wanted}: no run of this method{nearest(wanted, methods)} ({', '.join(methods)})")
    runs = [run for run in results.runs if run.method == wanted]
    found = [run for run in runs if seed is None or run.seed == seed]
    if not found:
        raise UserError(f"--seed {seed}: {wanted} was run with {', '.join(str(run.seed) for run in runs)}")
    return found[0]


def write_card(
    results: Results,
    run: RunResult,
    folder: Path,
    gallery: Gallery | None = None,
    repository: str | None = None,
    licence: str | None = None,
) -> None:
    """Write `README.md` and, if there are samples with the run's predictions, `picture.png` into `folder`.

    Args:
        results: of the whole run.
        run: the one that the card is about.
        folder: where the files go.
        gallery: samples of the run.
        repository: the model's name on the Hub, such as ``you/name``; it stands in the snippets.
        licence: of the weights, as the Hub names it; None says that it is unknown.
    """
    picture = None if gallery is None else card_picture(gallery, run)
    if picture is not None:
        with atomic_write(folder / PICTURE) as temporary:
            temporary.write_bytes(picture)
    write_text(folder / CARD, card_text(results, run, repository, licence, picture is not None))


def card_text(
    results: Results,
    run: RunResult,
    repository: str | None = None,
    licence: str | None = None,
    picture: bool = False,
) -> str:
    """The card as Markdown with the Hub's metadata on top; arguments as in `write_card`.

    Raises:
        UserError: the runs were not judged by one protocol.
    """
    recorded = run.provenance.get("config", {})
    stages: dict[str, Any] = portable(recorded)
    origins = sources(recorded)
    encoder = encoder_name(stages)
    refined = any(arguments(config, "model").get("refinement") for config in stages.values())
    of_timm = encoder is not None and not refined and bool(timm.is_model(encoder.split(".")[0]))
    row = next(row for row in table(results) if row.method == run.method)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gkd_lightning.deploy", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("card.md.j2").render(
        metadata=metadata(run, origins, repository, licence, of_timm),
        name=repository.rpartition("/")[2] if repository else f"{run.title}, {results.title}",
        results=results,
        run=run,
        classes=run.domains[0].classes,
        parameters=None if run.cost.params_m is None else f"{run.cost.params_m:.2f}",
        picture=PICTURE if picture else None,
        repository=repository or "YOU/NAME",
        of_timm=of_timm,
        encoder=encoder,
        seeds=row.seeds,
        scores=score_table(run, row),
        selection=_SELECTION[run.selection],
        temperature=temperature_line(run),
        by_class=class_table(run),
        others=markdown_table(results) if len({each.method for each in results.runs}) > 1 else None,
        commit=run.provenance.get("git_commit"),
        stages=stage_table(stages),
        cost=cost_table(results, run),
        configuration=dump_yaml(stages),
        protocol=[(key, text) for key, text in facts(run.protocol) if text not in ("null", "")],
        origins=origins,
        licence=licence or UNKNOWN,
    )


def portable(value: Any) -> Any:
    """A configuration without the folders of one machine: of absolute paths the last part is left."""
    if isinstance(value, Mapping):
        return {key: portable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [portable(inner) for inner in value]
    return PurePath(value).name if isinstance(value, str) and os.path.isabs(os.path.expanduser(value)) else value
