"""What a run found and what it cost, as `results.json` (complete, round-trips) and `results.csv` (flat)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.latency import Latency
from gkd_lightning.evaluate.panoptic import PANOPTIC_COLUMNS
from gkd_lightning.evaluate.scores import DomainScore
from gkd_lightning.evaluate.shapes import SHAPE_COLUMNS
from gkd_lightning.evaluate.tempering import TEMPERED_COLUMNS
from gkd_lightning.evaluate.trust import TRUST_COLUMNS
from gkd_lightning.evaluate.unknown import UNKNOWN_COLUMNS
from gkd_lightning.files import csv_text, write_json, write_text

SCHEMA = 1
RESULTS = "results.json"
_FOLDERS_ABOVE = 4
Selection = Literal["last", "source-val", "oracle"]
"""How the weights were chosen: the last step, the best source validation score, or the best target score
(``oracle``), which needs target labels and is shown as such."""
Role = Literal["method", "none", "teacher", "oracle", "export"]
"""`none` = no distillation and `teacher` = teacher with a head are the two ends of the share recovered;
`oracle` = trained on labelled target images; `export` = a method's segmenter in another runtime or precision, which
competes with no method."""
STUDENTS = ("method", "none")
REFERENCES = ("teacher", "oracle")
_OF_A_RUN = ("method", "title", "seed", "role", "selection", "protocol")
_OF_ALL = ("recipe", "title", "created", "highlight", "teacher")
"""What `results.json` holds as it is."""
_FURTHER = {
    "panoptic": PANOPTIC_COLUMNS,
    "trust": TRUST_COLUMNS,
    "tempered": TEMPERED_COLUMNS,
    "shapes": SHAPE_COLUMNS,
    "unknown": UNKNOWN_COLUMNS,
}
"""Parts of a `DomainScore` that not every one has, and their columns."""


@dataclass(frozen=True)
class Cost:
    """What a run cost over all its stages; None where it was not measured."""

    params_m: float | None = None  # parameters of the segmenter that is left at the end, in millions
    steps: int | None = None
    images: int | None = None  # training images seen, repeats counted
    tflops: float | None = None  # 10**12 floating point operations, forward and backward
    seconds: float | None = None  # wall-clock
    images_per_second: float | None = None
    peak_memory_mb: float | None = None


@dataclass(frozen=True)
class RunResult:
    """One method trained with one seed and judged on every domain.

    Attributes:
        method: short id, such as ``gkd``.
        title: the name that readers see.
        seed: seed of the run.
        domains: one score per domain, in the order in which tables show them.
        protocol: how images were resized, cut into windows and compared with labels; equal within a table.
        selection: see `Selection`.
        role: see `Role`.
        cost: see `Cost`.
        latencies: milliseconds an image, of every machine and setting that was measured.
        curves: named ``stage/quantity``, each a list of (step, value).
        provenance: config, git commit, dataset manifest sha256, artefact sha256, versions; any JSON values.
    """

    method: str
    title: str
    seed: int
    domains: list[DomainScore]
    protocol: dict[str, Any] = field(default_factory=dict)
    selection: Selection = "last"
    role: Role = "method"
    cost: Cost = field(default_factory=Cost)
    latencies: list[Latency] = field(default_factory=list)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value, allowed in ((self.selection, get_args(Selection)), (self.role, get_args(Role))):
            if value not in allowed:
                raise UserError(f"{self.method}: '{value}' is none of {', '.join(allowed)}")

    @property
    def artefact(self) -> str | None:
        """SHA-256 of what was judged, the last that the provenance names: a segmenter, or the model exported of it."""
        artefacts = self.provenance.get("artefacts")
        return str(list(artefacts.values())[-1]) if isinstance(artefacts, dict) and artefacts else None

    def same_as(self, other: RunResult) -> bool:
        """Whether the other is this method and seed too, with the same scores of the same weights."""
        mine, theirs = (
            (run.method, run.seed, run.artefact, [_plain(score) for score in run.domains]) for run in (self, other)
        )
        return mine == theirs


@dataclass(frozen=True)
class Results:
    """The runs of one recipe.

    Attributes:
        recipe: path of the recipe, as the user typed it.
        title: headline of the report.
        runs: every method and seed.
        created: UTC time, ISO 8601.
        teacher: what it is and what it has seen, such as ``model`` and ``data``: which domains are really unseen.
        highlight: method id that the report is about.
    """

    recipe: str
    title: str
    runs: list[RunResult]
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    teacher: dict[str, str] = field(default_factory=dict)
    highlight: str = "gkd"

    def asdict(self) -> dict[str, Any]:
        """Plain JSON values; a curve's value that is not finite becomes None."""
        runs = []
        for run in self.runs:
            plain = {name: getattr(run, name) for name in _OF_A_RUN}
            plain["cost"] = asdict(run.cost)
            plain |= {"latencies": [each.asdict() for each in run.latencies]} if run.latencies else {}
            plain["domains"] = [score.asdict() for score in run.domains]
            plain["curves"] = {
                name: [[step, value if math.isfinite(value) else None] for step, value in points]
                for name, points in run.curves.items()
            }
            plain["provenance"] = run.provenance
            runs.append(plain)
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in _OF_ALL}, "runs": runs}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Results:
        """Inverse of `asdict`. Raises KeyError, TypeError or UserError if it is not one of ours."""
        runs = []
        for plain in value["runs"]:
            known = {name: plain[name] for name in (*_OF_A_RUN, "provenance")}
            curves = {
                name: [(int(step), math.nan if y is None else float(y)) for step, y in points]
                for name, points in plain["curves"].items()
            }
            domains = [DomainScore.from_dict(score) for score in plain["domains"]]
            known |= {"cost": Cost(**plain["cost"]), "domains": domains, "curves": curves}
            runs.append(RunResult(**known, latencies=[Latency(**each) for each in plain.get("latencies", [])]))
        return cls(runs=runs, **{name: value[name] for name in _OF_ALL})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `results.json`, atomically."""
        write_json(path, self.asdict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Results:
        """Read `results.json`, given as the file or as the folder of a run.

        Raises:
            UserError: a missing file, one that is not ours, or another schema.
        """
        path = Path(path) / RESULTS if Path(path).is_dir() else path
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}), give a results.json") from None
        except ValueError:
            raise UserError(f"{path}: not JSON, give a results.json that a run has written") from None
        found = value.get("schema") if isinstance(value, dict) else None
        if found != SCHEMA:
            raise UserError(f"{path}: schema {found}, this version reads schema {SCHEMA}: run the evaluation again")
        try:
            return cls.from_dict(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: damaged results ({error}), run the evaluation again") from None

    def to_csv(self) -> str:
        """One line per run and domain; a column ``iou/<class>`` per class of any domain, empty where NaN.

        Where segments, confidence, shapes or unknown objects were judged, there are columns of `PanopticScore`,
        `Trust`, `Tempered`, `Shapes` or `Unknown` too.
        """
        classes = list(dict.fromkeys(name for run in self.runs for score in run.domains for name in score.classes))
        head = ["recipe", "method", "title", "role", "seed", "selection", "protocol", "domain", "seen", "images"]
        further = [
            (part, name)
            for part, names in _FURTHER.items()
            if any(getattr(score, part) for run in self.runs for score in run.domains)
            for name in names
        ]
        names = ("miou", "miou_present", "accuracy", *(name for _, name in further))
        rows: list[list[Any]] = [[*head, *names, *(f"iou/{name}" for name in classes)]]
        for run in self.runs:
            protocol = json.dumps(run.protocol, sort_keys=True)
            for score in run.domains:
                iou = dict(zip(score.classes, score.iou, strict=True))
                line = [self.recipe, run.method, run.title, run.role, run.seed, run.selection, protocol]
                own = [getattr(getattr(score, part), name, None) for part, name in further]
                scores = [score.miou, score.miou_present, score.accuracy, *own, *(iou.get(name) for name in classes)]
                rows.append([*line, score.domain, score.seen, score.images, *map(csv_cell, scores)])
        return csv_text(rows)

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `results.csv`, atomically."""
        write_text(path, self.to_csv())


def merge(parts: Iterable[Results], title: str | None = None) -> Results:
    """All runs of several results in one, for `gkd report RUN RUN …`; the rest comes from the first part."""
    results = list(parts)
    if not results:
        raise UserError("no results to report, give at least one run folder")
    first, runs = results[0], [run for part in results for run in part.runs]
    seen: set[tuple[str, int]] = set()
    for run in runs:
        if (run.method, run.seed) in seen:
            raise UserError(
                f"method {run.method}, seed {run.seed} occurs twice among the given runs, give it once; "
                "gkd report RUN --before RUN says what changed"
            )
        seen.add((run.method, run.seed))
    recipe = " + ".join(dict.fromkeys(part.recipe for part in results))
    return Results(recipe, title or first.title, runs, teacher=first.teacher, highlight=first.highlight)


def _plain(score: DomainScore) -> DomainScore:
    """What every version judges."""
    return replace(score, trust=None, tempered=None, shapes=None, unknown=None)


def csv_cell(value: float | None) -> str:
    """Four digits; empty for None and NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def runs_above(weights: Path) -> list[Path]:
    """The folders above a file that hold a `results.json`, the nearest first: it may lie in a stage of that run."""
    return [folder for folder in weights.resolve().parents[:_FOLDERS_ABOVE] if (folder / RESULTS).is_file()]
