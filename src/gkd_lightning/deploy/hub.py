"""A folder that is ready to be uploaded: the segmenter, its encoder in timm's form, the card. Nothing here uploads."""

from __future__ import annotations

import shutil
from pathlib import Path

from gkd_lightning.deploy.card import chosen_run, portable, write_card
from gkd_lightning.deploy.encoder_alone import finished_weights, is_of_timm, kind_of
from gkd_lightning.deploy.new_folder import new_folder, require_new
from gkd_lightning.deploy.timm_folder import write_timm
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import RESULTS, Results, RunResult, runs_above
from gkd_lightning.files import write_json
from gkd_lightning.report import Gallery
from gkd_lightning.segment import SEGMENTER_RECORD, SEGMENTER_WEIGHTS, load_segmenter, unfrozen

GALLERY = "gallery.npz"


def export_hub(
    checkpoint: str | Path,
    out: str | Path,
    run: str | Path | None = None,
    repository: str | None = None,
    licence: str | None = None,
) -> list[str]:
    """Write what `gkd_lightning.load`, timm and transformers open, and the card that tells it to people.

    Args:
        checkpoint: `segmenter.safetensors`, or its folder.
        out: a folder that does not exist yet, or is empty.
        run: folder of the run whose results name this segmenter; None looks in the folders above it.
        repository: see `write_card`.
        licence: see `write_card`.

    Returns:
        What was checked, a line each.

    Raises:
        UserError: the folder is in use, no segmenter, no results of it, or a check that failed; nothing is left then.
    """
    require_new(out)
    weights = finished_weights(checkpoint)
    if kind_of(weights) != SEGMENTER_WEIGHTS:
        raise UserError(
            "--to hub: needs a segmenter, which was judged; --to timm makes a folder of a student's encoder"
        )
    loaded = load_segmenter(weights)
    folder_of_run, results, judged = _judged(weights, str(loaded.record["sha256"]), run)
    encoder = unfrozen(loaded.segmenter.encoder)
    with new_folder(out) as folder:
        shutil.copyfile(weights, folder / SEGMENTER_WEIGHTS)
        write_json(folder / SEGMENTER_RECORD, portable(loaded.record))
        load_segmenter(folder)
        lines = write_timm(encoder, folder) if is_of_timm(encoder) else []
        write_card(results, judged, folder, _samples(folder_of_run, results, judged), repository, licence)
    return lines


def card_of_run(
    path: Path,
    out: Path,
    method: str | None = None,
    seed: int | None = None,
    repository: str | None = None,
    licence: str | None = None,
) -> None:
    """Write a run's card and picture into a folder; arguments as in `chosen_run` and `write_card`."""
    results = Results.load(path)
    run = chosen_run(results, method, seed)
    gallery = _samples(path if path.is_dir() else path.parent, results, run)
    write_card(results, run, out, gallery, repository, licence)


def _samples(folder: Path, results: Results, run: RunResult) -> Gallery | None:
    """Predictions of this very run: those of its own evaluation, as the gallery of the whole has one seed alone."""
    wanted = (run.provenance.get("artefacts"), run.protocol)
    for beside in sorted(folder.glob(f"evaluations/{run.method}-seed{run.seed}-*/{RESULTS}")):
        same = any((each.provenance.get("artefacts"), each.protocol) == wanted for each in Results.load(beside).runs)
        if same and beside.with_name(GALLERY).is_file():
            return Gallery.load(beside.with_name(GALLERY))
    whole = folder / GALLERY
    return Gallery.load(whole) if whole.is_file() and run.seed == results.runs[0].seed else None


def _judged(weights: Path, digest: str, run: str | Path | None) -> tuple[Path, Results, RunResult]:
    """Folder and results of the run that judged a segmenter, which is known by its SHA-256."""
    places = runs_above(weights) if run is None else [Path(run).parent if Path(run).is_file() else Path(run)]
    for place in places:
        results = Results.load(place)
        for found in results.runs:
            if found.artefact == digest:
                return place, results, found
    looked = ", ".join(f"{place / RESULTS}" for place in places) or f"no {RESULTS} in the folders above {weights}"
    raise UserError(
        f"--run: no results of this segmenter ({looked}); give the folder of the run that judged it: a card "
        "without results would say nothing"
    )
