"""`gkd inspect gradients|features|attention|similarity`: why one way of distilling generalizes and another does not."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options, action_of
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.inspection import Domains

ACTIONS = {
    "gradients": "do the task's loss and the distillation's pull the encoder the same way? Over a training, or now",
    "features": "principal components of patch features as colours, several encoders side by side",
    "attention": "where a student's patches look among the teacher's tokens (QSD)",
    "similarity": "CKA of every pair of layers and token cosines, student against teacher, by domain",
}
_PLACES = "student.safetensors, segmenter.safetensors, a stage's folder or a run's; TITLE=PATH names it in the figure"


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd inspect --help`."""
    action = action_of(verb, "ACTION PATH… --out DIR [options]", ACTIONS, arguments)
    if action is None:
        return 0
    rest = arguments[1:]
    options = Options(f"inspect {action}", f"{ACTIONS[action].capitalize()}.")
    actions: dict[str, Callable[[Options, list[str]], list[Path]]] = {
        "gradients": _gradients,
        "features": _features,
        "attention": _attention,
        "similarity": _similarity,
    }
    for path in actions[action](options, rest):
        print(path)
    return 0


def _gradients(options: Options, arguments: list[str]) -> list[Path]:
    options.add_argument(
        "paths", nargs="+", help=f"{_PLACES}; without --data: trainings that have logged conflict/cosine"
    )
    _add_images(options, 64, folder=False)
    found = options.read(arguments)
    if found.data is None:
        for name in ("teacher", "domains"):
            if getattr(found, name) is not None:
                raise UserError(f"--{name}: only together with --data, for checkpoints")
        from gkd_lightning.inspection import inspect_training

        return inspect_training(found.paths, found.out)
    from gkd_lightning.inspection import find_domains, inspect_gradients

    domains = find_domains(None, found.data, found.domains)
    return inspect_gradients(found.paths, domains, found.out, found.teacher, found.count, found.device)


def _features(options: Options, arguments: list[str]) -> list[Path]:
    options.add_argument("paths", nargs="+", help=_PLACES)
    _add_images(options, 1)
    options.add_argument(
        "--basis",
        choices=["own", "shared"],
        default="own",
        help="components of encoders of one width: each its own, or fitted on all of them together (default: own)",
    )
    found = options.read(arguments)
    from gkd_lightning.inspection import inspect_features

    domains = _domains(found)
    return inspect_features(found.paths, domains, found.out, found.teacher, found.count, found.basis, found.device)


def _attention(options: Options, arguments: list[str]) -> list[Path]:
    options.add_argument("path", help="student.safetensors of a stage 1 of GKD, its stage's folder or a run's")
    _add_images(options, 1)
    options.add_argument(
        "--queries",
        nargs="+",
        default=["confident"],
        metavar="ROW,COLUMN",
        help="patches that ask, such as 3,4 10,7; or confident, diffuse, grid (default: confident)",
    )
    options.add_argument("--number", type=int, default=3, help="patches per image that are chosen (default: 3)")
    found = options.read(arguments)
    from gkd_lightning.inspection import inspect_attention

    domains = _domains(found)
    return inspect_attention(
        found.path, domains, found.out, found.queries, found.number, found.count, found.teacher, found.device
    )


def _similarity(options: Options, arguments: list[str]) -> list[Path]:
    options.add_argument("paths", nargs="+", help=_PLACES)
    _add_images(options, 64)
    found = options.read(arguments)
    from gkd_lightning.inspection import inspect_similarity

    return inspect_similarity(found.paths, _domains(found), found.out, found.teacher, found.count, found.device)


def _add_images(options: Options, count: int, folder: bool = True) -> None:
    if folder:
        options.add_argument("--images", help="folder of images, sub-folders included")
    options.add_argument("--data", help="or a data configuration, such as data/minicity_targets.yaml")
    options.add_argument("--domains", help="only these of its domains, such as game,night")
    options.add_argument("--count", type=int, default=count, help=f"images of every domain (default: {count})")
    options.add_argument(
        "--teacher",
        help="teacher/….yaml, an artefact, or the name of one of several (default: the one in the artefacts' records)",
    )
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default: auto)")
    options.add_argument("--out", type=Path, required=True, help="folder of the picture and its numbers")


def _domains(found: Namespace) -> Domains:
    from gkd_lightning.inspection import find_domains

    return find_domains(found.images, found.data, found.domains)
