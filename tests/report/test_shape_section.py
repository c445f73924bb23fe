"""What a report says of contours and small things: every number is there, nothing is said of nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gkd_lightning.evaluate import SIZES, ImageCounter, Results, Shapes, boundary_of, from_confusion, unseen_mean
from gkd_lightning.report.html_report import render_report
from gkd_lightning.report.shape_section import SHAPE_HEADINGS, shape_section
from gkd_lightning.report.summary import summary
from tests.evaluate.builders import DOMAINS, SPACE, TITLES, results, run
from tests.report.test_html_report import read


def judged(methods: tuple[str, ...] = ("none", "gkd", "teacher"), seeds: int = 2) -> Results:
    """Blocks of classes with noise, the more the later the domain."""
    runs = []
    for number, method in enumerate(methods):
        for seed in range(seeds):
            scores = []
            for place, domain in enumerate(DOMAINS):
                generator = torch.Generator().manual_seed(100 * number + 10 * seed + place)
                label = torch.randint(0, 3, (2, 6, 8), generator=generator).repeat_interleave(4, 1)
                label = label.repeat_interleave(4, 2)
                flipped = torch.rand(label.shape, generator=generator) < 0.05 * (place + 1)
                metric = ImageCounter(3, shapes=True)
                metric.update(torch.where(flipped, (label + 1) % 3, label), label, ["a", "b"])
                matrix = metric.compute()
                assert metric.shape_counts is not None
                shapes = Shapes.of(*metric.shape_counts)
                scores.append(from_confusion(domain, matrix, SPACE.names, 2, place == 0, shapes=shapes))
            runs.append(run(method, seed, domains=scores))
    return results({}, runs=runs)


def test_every_method_and_the_one_of_the_report_domain_by_domain() -> None:
    found = judged()
    section = shape_section(found)
    assert section is not None
    assert section.title == TITLES["gkd"]
    assert section.methods[0] == list(DOMAINS[1:])
    ours = [each.domains for each in found.runs if each.method == "gkd"]
    (line,) = (line for line in section.methods[2] if line.title == TITLES["gkd"])
    assert line.cells[0].text == f"{sum(unseen_mean(domains, boundary_of) for domains in ours) / 2:.1f}"
    for place, line in enumerate(section.details):
        both = [domains[place] for domains in ours]
        assert len(line.cells) == len(SHAPE_HEADINGS)
        assert line.cells[0].text == f"{sum(score.miou for score in both) / 2:.1f}"
        assert line.cells[1].text == f"{sum(boundary_of(score) for score in both) / 2:.1f}"
        values = [score.shapes.recall_small for score in both if score.shapes]
        small = "–" if any(value != value for value in values) else f"{sum(values) / 2:.1f}"
        assert line.cells[2].text == small
    assert section.contours.domains == list(DOMAINS)
    assert section.contours.columns == ["mean", *SPACE.names]
    assert section.sizes.domains == list(SIZES)
    assert section.sizes.columns == section.contours.columns
    abroad = [score.shapes.recall("medium")[0] for domains in ours for score in domains[1:] if score.shapes]
    assert section.sizes.cells[1][1][1] == pytest.approx(sum(value or 0 for value in abroad) / len(abroad))


def test_the_page_and_the_summary_have_it_and_are_as_before_where_there_is_nothing() -> None:
    found = judged(seeds=1)
    text = " ".join(read(render_report(found)).text)
    for words in ("Contours and small things", *SHAPE_HEADINGS):
        assert words in text
    row = next(
        line for line in summary(found).split("Contours and recall")[1].splitlines() if line.startswith("| GKD |")
    )
    assert len(row.split("|")) == 2 + 2 + len(SIZES)
    assert shape_section(results()) is None
    assert "Contours" not in render_report(results())
    assert "Contours" not in summary(results())


def test_a_row_that_was_judged_without_is_left_out_of_all_but_the_table() -> None:
    found = judged(seeds=1)
    old = replace(found.runs[1], domains=[replace(score, shapes=None) for score in found.runs[1].domains])
    mixed = replace(found, runs=[found.runs[0], old, found.runs[2]])
    section = shape_section(mixed)
    assert section is not None
    assert section.title == TITLES["none"]
    (line,) = (line for line in section.methods[2] if line.title == TITLES["gkd"])
    assert {cell.text for cell in line.cells} == {"–"}
    assert "| GKD |" not in summary(mixed).split("Contours and recall")[1].split("Costs")[0]
