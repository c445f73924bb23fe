"""`gkd inspect attention`: where a student's patches look among the teacher's tokens, in QSD's heads of a stage 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from gkd_lightning.distill import (
    HEADS,
    QuerySoftDistillation,
    TokenStandardisation,
    load_aligned,
    load_heads,
    resize_tokens,
)
from gkd_lightning.encoders import STUDENT_WEIGHTS, Encoder, load_student
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import (
    Choice,
    Place,
    attention_agreement,
    choose_queries,
    fitted,
    mean_distance,
    row_entropy,
    stacked,
)
from gkd_lightning.inspection.images import Domains, few
from gkd_lightning.inspection.output import write_findings
from gkd_lightning.inspection.sources import Source, find_teacher, on_device, stages_of, title_of, titled
from gkd_lightning.report import AttentionRow, attention_png

TERM = "fea"


class Looks(NamedTuple):
    """Maps over the teacher's tokens (N, N) of one image, each row a query patch's."""

    attention: Tensor
    """The student's tokens query, through the head; mean over its heads."""
    similarity: Tensor
    """Cosine of the teacher's own token there to all its tokens: which patches the teacher takes for alike."""
    grid: Place


def inspect_attention(
    place: str,
    domains: Domains,
    out: str | Path,
    queries: Sequence[str] = ("confident",),
    number: int = 3,
    count: int = 1,
    teacher: str | None = None,
    device: str = "auto",
) -> list[Path]:
    """Write ``attention.png``, ``.csv`` and ``.json``.

    The table has per query the entropy of its attention, how far from it the attention lies on average (in patches),
    and its agreement with the teacher's similarity, see `queries`.

    Args:
        place: a student with heads: its file, its stage's folder, or a run's folder, whose last such stage is taken.
        queries: a `Choice`, or places such as ``3,4``: row and column of a patch, counted from 0.
        number: patches per image, of a `Choice`.

    Raises:
        UserError: a student without QSD heads, a teacher of another width, a query outside the grid.
    """
    if min(number, count) < 1:
        raise UserError("--number, --count: give 1 or more")
    source = find_student(place)
    head, rule = _qsd(source, teacher)
    teaching = find_teacher(teacher, [source])
    wanted = head.proj_q[1].out_features
    if teaching.embed_dim != wanted:
        raise UserError(
            f"{source.weights.with_name(HEADS)}: its keys are {wanted} wide, but the tokens of --teacher "
            f"{teaching.spec.name} {teaching.embed_dim}; give the teacher that this student learned from"
        )
    student = load_student(source.weights).eval().requires_grad_(False)
    grid = student.grid(student.image_size)
    chosen = _given(queries, grid)
    on_device(student, device), on_device(teaching, device)
    head.to(next(student.parameters()).device)
    if rule is not None:
        rule.to(next(student.parameters()).device)
    rows, table = [], []
    for each in few(domains, count):
        looks = look(student, teaching, head, stacked([each.image], student), stacked([each.image], teaching), rule)
        entropy, distance = row_entropy(looks.attention), mean_distance(looks.attention, grid)
        alike = attention_agreement(looks.attention, looks.similarity)
        places = choose_queries(entropy, grid, chosen, number) if isinstance(chosen, str) else chosen
        flat = [row * grid[1] + column for row, column in places]
        ours, theirs = ([part[index].reshape(grid).numpy() for index in flat] for part in looks[:2])
        rows.append(AttentionRow(each.domain, fitted([each.image], student)[0], places, ours, theirs))
        table += [
            {
                "domain": each.domain, "image": each.name, "row": place[0], "column": place[1],
                "entropy": round(float(entropy[index]), 4), "distance": round(float(distance[index]), 3),
                "agreement": round(float(alike[index]), 4),
            }
            for place, index in zip(places, flat, strict=True)
        ]  # fmt: skip
    record = {
        "student": str(source.weights),
        "teacher": teaching.spec.name,
        "attention_scale": head.scales[0] if len(set(head.scales)) == 1 else head.scales,
        "grid": list(grid),
        "queries": chosen if isinstance(chosen, str) else [list(place) for place in chosen],
    }
    return write_findings(out, "attention", attention_png(rows, grid, source.title), table, record)


def find_student(place: str) -> Source:
    """The stage 1 that is looked into.

    Raises:
        UserError: no student there.
    """
    title, path = titled(place)
    if path.is_dir() and not (path / STUDENT_WEIGHTS).is_file():
        with_heads = [stage for stage in stages_of(path) if _has_attention(stage)]
        if not with_heads:
            raise UserError(f"{path}: no finished stage 1 with QSD heads ({HEADS}) here; give its folder")
        return Source(title or title_of(with_heads[-1], path), with_heads[-1] / STUDENT_WEIGHTS)
    weights = path / STUDENT_WEIGHTS if path.is_dir() else path
    if not weights.is_file() or weights.name != STUDENT_WEIGHTS:
        raise UserError(f"{weights}: no {STUDENT_WEIGHTS}; attention is that of a stage 1, give its folder")
    return Source(title or title_of(weights.parent), weights)


@torch.no_grad()
def look(
    student: Encoder,
    teacher: Encoder,
    head: QuerySoftDistillation,
    images: Tensor,
    teacher_images: Tensor,
    rule: TokenStandardisation | None = None,
) -> Looks:
    """Attention of one image, (1, 3, H, W) uint8 in the student's and in the teacher's size.

    The teacher's tokens are standardised by `rule`, if the head has learned with such.
    """
    tokens = student.tokens(images)
    theirs = resize_tokens(teacher.tokens(teacher_images), tokens.grid)
    keys = (theirs if rule is None else rule(theirs)).patches
    attention = head(tokens.patches, keys).attention
    assert attention is not None
    directions = F.normalize(keys[0].float(), dim=-1)
    return Looks(attention[0].mean(0).cpu(), (directions @ directions.T).cpu(), tokens.grid)


def _has_attention(stage: Path) -> bool:
    if not (stage / HEADS).is_file():
        return False
    heads = load_heads(stage / STUDENT_WEIGHTS)
    return any(isinstance(head, QuerySoftDistillation) and _is_feature_term(term) for term, head in heads.items())


def _is_feature_term(name: str) -> bool:
    return name.rpartition("/")[2] == TERM  # several teachers' terms have their names in front


def _qsd(source: Source, teacher: str | None) -> tuple[QuerySoftDistillation, TokenStandardisation | None]:
    """The head of the feature term, of the only teacher or the one that is named, and how its tokens are standardised.

    A fragment or an artefact names none of several.
    """
    heads, rules = load_aligned(source.weights)
    of_feature = {name.rpartition("/")[0]: head for name, head in heads.items() if _is_feature_term(name)}
    if len(of_feature) > 1 and teacher not in of_feature:
        given = "--teacher" if teacher is None else f"--teacher {teacher}"
        raise UserError(f"{given}: the student learned from several; give one of {', '.join(of_feature)}")
    name = teacher if teacher in of_feature else next(iter(of_feature), "")
    head = of_feature.get(name)
    if not isinstance(head, QuerySoftDistillation):
        kind = "a projection" if head is not None else "no head at all"
        raise UserError(f"{source.weights.with_name(HEADS)}: has {kind} for its feature term; attention needs QSD")
    return head, rules.get(name)


def _given(queries: Sequence[str], grid: Place) -> Choice | list[Place]:
    choices: tuple[Choice, ...] = get_args(Choice)
    for choice in choices:
        if list(queries) == [choice]:
            return choice
    places = []
    for text in queries:
        try:
            row, column = (int(part) for part in text.split(","))
        except ValueError:
            raise UserError(f"--queries {text}: give {', '.join(choices)}, or ROW,COLUMN such as 3,4") from None
        if not (0 <= row < grid[0] and 0 <= column < grid[1]):
            raise UserError(
                f"--queries {text}: outside the student's grid of {grid[0]}x{grid[1]} patches "
                f"(rows 0 to {grid[0] - 1}, columns 0 to {grid[1] - 1})"
            )
        places.append((row, column))
    return places
