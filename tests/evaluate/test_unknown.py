"""Pixels of unknown objects found by low confidence: exact, whatever the order and the number of processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torchmetrics.functional import auroc, average_precision

from gkd_lightning.evaluate import UNKNOWN_COLUMNS, DomainScore, ImageCounter, Results, from_confusion
from gkd_lightning.evaluate.confidence_levels import LEVELS
from gkd_lightning.evaluate.unknown import Unknown
from gkd_lightning.report import grid
from gkd_lightning.report.html_report import render_report
from gkd_lightning.report.summary import summary
from gkd_lightning.report.unknown_table import UNKNOWN_HEADINGS, unknown_lines
from tests.evaluate.builders import SPACE, run

CLASSES, NAMES = 3, ["a", "b", "c", "d"]


def scored() -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (4, 3, 12, 13), labels, unknown pixels: less sure, and none in the third image."""
    generator = torch.Generator().manual_seed(7)
    unknown = torch.rand(4, 12, 13, generator=generator) < 0.2
    unknown[2] = False
    sure = torch.rand(4, 12, 13, generator=generator) * 0.6 + 0.4
    sure = torch.where(unknown, 0.4 + 0.5 * (sure - 0.4), sure)
    sure = (sure * LEVELS).ceil().clamp(1, LEVELS).sub(0.5) / LEVELS  # middles of levels
    label = torch.randint(0, CLASSES, (4, 12, 13), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.1] = 255
    label[unknown] = 255
    rest = (1 - sure)[:, None] / 2
    return torch.cat([sure[:, None], rest, rest], 1).double(), label.to(torch.uint8), unknown


def counted(order: list[int], sizes: tuple[int, ...]) -> ImageCounter:
    scores, label, unknown = scored()
    metric, start = ImageCounter(CLASSES), 0
    for size in sizes:
        part = order[start : start + size]
        start += size
        metric.update(
            scores[part].argmax(1), label[part], [NAMES[each] for each in part], list(scores[part]), unknown[part]
        )
    return metric


def score_of(metric: ImageCounter) -> DomainScore:
    matrix = metric.compute()
    return from_confusion("day", matrix, SPACE.names, metric.num_images, trust=metric.trust, unknown=metric.unknown)


def test_the_scores_are_those_of_torchmetrics() -> None:
    metric = counted([0, 1, 2, 3], (4,))
    found = score_of(metric).unknown
    assert found is not None
    scores, label, unknown = scored()
    looked_at = unknown | (label != 255)
    doubt, wanted = (1 - scores.amax(1))[looked_at], unknown[looked_at].long()
    assert found.unknown_pixels == int(unknown.sum()) > 50
    assert found.unknown_auroc == pytest.approx(100 * float(auroc(doubt, wanted, task="binary")), abs=1e-5)
    assert found.unknown_aupr == pytest.approx(100 * float(average_precision(doubt, wanted, task="binary")), abs=1e-5)
    assert 60 < found.unknown_auroc < 95
    known, hidden = doubt[wanted == 0], doubt[wanted == 1].sort(descending=True).values
    threshold = hidden[-(-19 * len(hidden) // 20) - 1]
    assert found.unknown_fpr95 == pytest.approx(100 * float((known >= threshold).double().mean()), abs=1e-6)


def test_order_and_batches_change_nothing() -> None:
    first = score_of(counted([0, 1, 2, 3], (4,)))
    assert score_of(counted([3, 1, 0, 2], (1, 2, 0, 1))).unknown == first.unknown


def test_without_unknown_pixels_or_without_scores_there_is_nothing() -> None:
    scores, label, unknown = scored()
    metric = ImageCounter(CLASSES)
    metric.update(scores[2:3].argmax(1), label[2:3], ["c"], list(scores[2:3]), unknown[2:3])
    assert score_of(metric).unknown is None
    assert "unknown" not in score_of(metric).asdict()
    metric = ImageCounter(CLASSES)
    metric.update(scores.argmax(1), label, NAMES)
    assert score_of(metric).unknown is None
    alone = Unknown.of(torch.ones(LEVELS, dtype=torch.int64), torch.zeros(2, LEVELS, dtype=torch.int64))
    assert alone == Unknown(LEVELS, None, 100.0, None)


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    mine = list(range(4))[rank::world]
    score = score_of(counted(mine, (len(mine),)))
    Results("r", "r", [run("gkd", domains=[score])], created="").save(f"{folder}/rank{rank}.json")
    dist.destroy_process_group()


def test_two_processes_write_the_file_of_one(tmp_path: Path) -> None:
    mp.start_processes(_rank, args=(2, str(tmp_path)), nprocs=2, start_method="fork")  # imports nothing again
    score = score_of(counted([0, 1, 2, 3], (4,)))
    Results("r", "r", [run("gkd", domains=[score])], created="").save(tmp_path / "one.json")
    for rank in range(2):
        assert (tmp_path / f"rank{rank}.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_files_tables_and_report_hold_it() -> None:
    score = score_of(counted([0, 1, 2, 3], (4,)))
    results = Results("r", "r", [run("gkd", domains=[score])])
    assert Results.from_dict(results.asdict()).runs == results.runs
    head, line = (text.split(",") for text in results.to_csv().splitlines())
    for name in UNKNOWN_COLUMNS:
        assert float(line[head.index(name) - len(head)]) == pytest.approx(getattr(score.unknown, name), abs=1e-4)
    lines = unknown_lines(results)
    assert lines == [["GKD", "day", *(f"{getattr(score.unknown, name):.1f}" for name in UNKNOWN_COLUMNS[1:])]]
    assert grid(["method", *UNKNOWN_HEADINGS], lines) in summary(results)
    page = render_report(results)
    assert "Is it less sure of what it has no class for?" in page
    assert f"<td>{lines[0][2]}</td>" in page
    without = Results("r", "r", [run("gkd", domains=[from_confusion("day", score.matrix, SPACE.names, 4)])])
    assert without.runs[0].same_as(results.runs[0])
    assert "no class" not in summary(without) + render_report(without)
    assert "unknown_auroc" not in without.to_csv()
