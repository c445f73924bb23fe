"""`gkd_lightning.run` and `gkd_lightning.distil`: what `gkd run` and `gkd fit` do, from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gkd_lightning.cli.study import Study, execute
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.evaluate import Results

Settings = Mapping[str, Any]
"""Values by dotted key, as after ``--set``: ``{"task:trainer.max_steps": 100}``."""


@dataclass(frozen=True)
class FinishedRun:
    """What `run` leaves.

    Attributes:
        out: folder of stages, results and report.
        artefacts: of each (method, seed) what its last stage made, such as `segmenter.safetensors`, for `load`.
        results: `results.json`; None for a recipe without an evaluation.
    """

    out: Path
    artefacts: Mapping[tuple[str, int], Path]
    results: Results | None


def run(
    recipe: str,
    *,
    settings: Settings | None = None,
    seeds: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    start: str | None = None,
    jobs: int = 1,
) -> FinishedRun:
    """Run a recipe as `gkd run` does: finished stages are skipped, an interrupted one is resumed.

    Args:
        recipe: a YAML file, or the name of one that ships, such as ``minicity/demo``.
        settings: on top of the recipe.
        seeds: instead of the recipe's.
        methods: rows of its table; None for all.
        out: folder of stages and results; None for ``runs/<recipe>``.
        store: folder of the stages, to share it among recipes; None for ``<out>/stages``.
        start: run this stage and all after it again.
        jobs: stages at once.

    Raises:
        UserError: as the command tells it, before the first stage wherever it can be known.
    """
    study = Study(
        recipe,
        tuple(f"{key}={dumps(value)}" for key, value in (settings or {}).items()),
        seeds=None if seeds is None else ",".join(map(str, seeds)),
        methods=None if methods is None else ",".join(methods),
        out=None if out is None else Path(out),
        store=None if store is None else Path(store),
    )
    execute(study, start=start, jobs=jobs)
    from gkd_lightning.evaluate import Results

    plan = study.plan()
    return FinishedRun(
        plan.out,
        {(each.method.id, each.seed): each.stages[-1].artefact() for each in plan.runs},
        Results.load(plan.out / "results.json") if plan.evaluation else None,
    )


def distil(
    teacher: str | Settings | Mapping[str, str | Settings],
    student: str | Settings,
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    steps: int,
    image_size: int = 224,
    batch_size: int | None = None,
    seed: int = 0,
    configs: Sequence[str] = (),
    settings: Settings | None = None,
) -> Path:
    """Distil a teacher, or several, into a student on images without labels, as `gkd fit` does in stage 1.

    It computes on one device, an accelerator if there is one. A recipe (`run`) is for everything longer: it resumes.

    Args:
        teacher: a fragment (``teacher/dinov2_s.yaml``, or a file of yours), or what one holds: name, weights ... For
            several a mapping from names that you choose to the same, or to what `TeacherSpec` takes:
            ``{"dino": "teacher/dinov2_s.yaml", "clip": {"encoder": "teacher/clip_b.yaml", "weight": 0.5}}``.
        student: the same, such as ``student/vit_tiny.yaml``.
        images: folder, list file, or several of them; see `ProxyImages`.
        out: folder of the student, its checkpoints and metrics.
        steps: of the optimiser.
        image_size: side of the square crops in pixels, for all encoders but a teacher with an `input_size`.
        batch_size: images of one step; None takes `stage/task_agnostic_small.yaml`'s, on which all this is laid.
        seed: of weights, order and augmentation.
        configs: further fragments, such as ``method/mse.yaml`` or ``trainer/gpu.yaml``.
        settings: on top of all, such as ``{"model.alpha": 0.5}``.

    Returns:
        `student.safetensors`, with `student.json` beside it: what `load_encoder` opens and stage 2 starts from.

    Raises:
        UserError: as the command tells it.
    """
    from gkd_lightning.chain import StageCLI
    from gkd_lightning.recipes import changed, compose, dump_yaml, get_value

    if steps < 1:
        raise UserError(f"steps: {steps}: give 1 or more")
    if Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"out: {out}: is a file; give a folder")
    roots = [images] if isinstance(images, str | Path) else list(images)
    values: dict[str, Any] = {
        "seed_everything": seed,
        "trainer.max_steps": steps,
        "trainer.default_root_dir": str(out),
        "data.image_size": image_size,
        "data.dataset": {
            "class_path": "gkd_lightning.data.ProxyImages",
            "init_args": {"root": [str(root) for root in roots]},
        },
    }
    if batch_size is not None:
        values["data.batch_size"] = batch_size
    config = changed(compose(["stage/task_agnostic_small.yaml"]), {"trainer.devices": 1})
    values["model.student"] = _content(student) | {"image_size": image_size}
    if isinstance(teacher, str) or "name" in teacher:
        values["model.teacher"] = _content(teacher) | {"image_size": image_size}
    else:
        values["model.teacher"] = None
        values["model.teachers"] = {name: _one_of_several(each, image_size) for name, each in teacher.items()}
    config = compose(configs, base=changed(config, values))
    config = changed(config, settings or {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "distil.yaml"
        path.write_text(dump_yaml(config), encoding="utf-8")
        StageCLI(["--config", str(path)]).run()
    return Path(get_value(config, "trainer.default_root_dir")) / "student.safetensors"


def _one_of_several(teacher: str | Settings, image_size: int) -> dict[str, Any]:
    given = dict(teacher) if not isinstance(teacher, str) and "encoder" in teacher else {"encoder": teacher}
    size = given.get("input_size") or image_size
    return given | {"encoder": _content(given["encoder"]) | {"image_size": size}}


def _content(encoder: str | Settings) -> dict[str, Any]:
    from gkd_lightning.recipes import find_fragment, read_yaml

    return read_yaml(find_fragment(encoder)) if isinstance(encoder, str) else dict(encoder)
