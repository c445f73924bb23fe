"""Which encoders are looked into: artefacts by path, or all that a run's folder holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gkd_lightning.chain import DONE
from gkd_lightning.encoders import STUDENT_WEIGHTS, Encoder, EncoderSpec, build_encoder, load_student
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import arguments, find_fragment, interpolate, read_yaml, teachers_of
from gkd_lightning.segment import SEGMENTER_WEIGHTS, load_segmenter, unfrozen

ARTEFACTS = (SEGMENTER_WEIGHTS, STUDENT_WEIGHTS)
STAGES = "stages"
TEACHER = "teacher"
"""What figures call the teacher."""


@dataclass(frozen=True)
class Source:
    """A student or a segmenter on disk.

    Attributes:
        title: how figures call it.
        weights: its weights file.
    """

    title: str
    weights: Path

    @property
    def is_segmenter(self) -> bool:
        """Whether there is a head beside the encoder."""
        return self.weights.name == SEGMENTER_WEIGHTS

    def encoder(self) -> Encoder:
        """The encoder, in eval mode and frozen."""
        if self.is_segmenter:
            return unfrozen(load_segmenter(self.weights).segmenter.encoder)
        return load_student(self.weights).eval().requires_grad_(False)


def find_sources(places: Sequence[str]) -> list[Source]:
    """What a command line names, in its order; each may be preceded by a title: ``GKD=runs/x/stages/task-1``.

    Args:
        places: weights files, folders of finished stages, or folders of runs. Of a run those stages are taken that no
            other one starts from: the end of every method's chain.

    Raises:
        UserError: a place that holds none of these.
    """
    found = [source for place in places for source in _at(place)]
    titles = apart([source.title for source in found])
    return [replace(source, title=title) for source, title in zip(found, titles, strict=True)]


def apart(titles: Sequence[str]) -> list[str]:
    """Titles that occur once and are not the teacher's: a number follows those that would."""
    found: list[str] = []
    for title in titles:
        unique, number = title, 1
        while unique in (TEACHER, *found):
            number += 1
            unique = f"{title} ({number})"
        found.append(unique)
    return found


def titled(place: str) -> tuple[str | None, Path]:
    """``TITLE=PATH`` or ``PATH``; a path with an equals sign that exists stays whole."""
    title, equals, path = place.partition("=")
    if not equals or Path(place).exists():
        return None, Path(place).expanduser()
    return title, Path(path).expanduser()


def stages_of(run: Path) -> list[Path]:
    """Folders of a run's finished stages, in the order in which they were finished; none if it is no run."""
    finished = {path.parent: _json(path).get("finished", "") for path in run.glob(f"{STAGES}/*/{DONE}")}
    return sorted(finished, key=lambda folder: (finished[folder], folder.name))


def title_of(stage: Path, run: Path | None = None) -> str:
    """What a stage is called: its method's title in the run's results, else the method's id, else the folder's name."""
    config = stage / "stage.yaml"
    name = str(read_yaml(config).get("title") or "") if config.is_file() else ""
    method = name.partition("/")[0].partition("+")[0]
    results = _json(run / "results.json") if run is not None else {}
    titles = {entry.get("method"): str(entry.get("title")) for entry in results.get("runs", [])}
    return titles.get(method) or method or stage.name


def find_teacher(given: str | None, sources: Sequence[Source]) -> Encoder:
    """The teacher, frozen and in eval mode.

    Args:
        given: a fragment such as ``teacher/minicity.yaml``, an artefact, or the name of one of several teachers in the
            records of `sources` and of the stages that they started from; None takes the only one that is recorded.
        sources: what is compared with it.

    Raises:
        UserError: no such fragment or artefact, no record that names a teacher, or one that names several.
    """
    models = (model for source in sources for model in _recorded(source.weights.parent))
    model = next((model for model in models if teachers_of(model)), {})
    recorded = teachers_of(model)
    if given is not None and given in recorded:
        return _of_several(model, given, str(sources[0].weights))
    if given is None:
        if not recorded:
            raise UserError(f"{sources[0].weights}: no record names its teacher; add --teacher teacher/….yaml")
        if len(recorded) > 1:
            names = ", ".join(recorded)
            raise UserError(f"{sources[0].weights}: learned from several teachers; add --teacher with one of {names}")
        (name,) = recorded
        return _of_several(model, name, str(sources[0].weights))
    if not given.endswith((".yaml", ".yml")):
        return _at(given)[0].encoder()
    return _built(read_yaml(find_fragment(given)), given)


def on_device(encoder: Encoder, device: str) -> Encoder:
    """Move an encoder to ``auto``, ``cpu``, ``cuda`` …"""
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return encoder.to(torch.device(chosen))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from error


def _at(place: str) -> list[Source]:
    title, path = titled(place)
    if path.is_file():
        if path.name not in ARTEFACTS:
            raise UserError(f"{path}: not one of {' and '.join(ARTEFACTS)}, whose names tell what they hold")
        return [Source(title or title_of(path.parent), path)]
    for name in ARTEFACTS:
        if (path / name).is_file():
            return [Source(title or title_of(path), path / name)]
    stages = stages_of(path)
    begun = {digest for stage in stages for digest in (_json(stage / DONE).get("starts_from") or {}).values()}
    last = [stage for stage in stages if _json(stage / DONE).get("sha256") not in begun]
    if not last:
        problem = "holds no finished stage" if path.is_dir() else "no such file or folder"
        raise UserError(f"{path}: {problem}; give {' or '.join(ARTEFACTS)}, a stage's folder or a run's")
    return [Source(title or title_of(stage, path), stage / _json(stage / DONE)["artefact"]) for stage in last]


def _recorded(stage: Path) -> Iterator[Mapping[str, Any]]:
    """Arguments of the models that the records of a stage and of its ancestors tell; ancestors lie beside it."""
    for name in ("segmenter.json", "student.json"):
        config = _json(stage / name).get("provenance", {}).get("config", {})
        yield arguments(config, "model")
    begun = {digest for digest in (_json(stage / DONE).get("starts_from") or {}).values() if digest}
    for done in stage.parent.glob(f"*/{DONE}"):
        if _json(done).get("sha256") in begun and done.parent != stage:
            yield from _recorded(done.parent)


def _of_several(model: Mapping[str, Any], name: str, where: str) -> Encoder:
    """The teacher of that name, or the only one, for images of the size that the student learned with."""
    encoder = _built(teachers_of(model)[name], where)
    size = ((model.get("teachers") or {}).get(name) or {}).get("input_size")
    if size is not None:
        encoder.image_size = (size, size) if isinstance(size, int) else (size[0], size[1])
    return encoder


def _built(spec: Mapping[str, Any], where: str) -> Encoder:
    try:
        described = EncoderSpec(**interpolate(spec))
    except TypeError as error:
        raise UserError(f"{where}: does not describe an encoder ({error})") from error
    return build_encoder(described).eval().requires_grad_(False)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
