"""What a report says of confidence: every number is there, the figures show all domains, nothing is said of nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from gkd_lightning.evaluate import ImageCounter, PerImage, Results, from_confusion, tempered, trust_table
from gkd_lightning.report.charts import result_looks
from gkd_lightning.report.html_report import render_report
from gkd_lightning.report.style import style
from gkd_lightning.report.summary import summary
from gkd_lightning.report.tempered_section import TEMPERED_HEADINGS
from gkd_lightning.report.trust_chart import reliability, trust_figure
from gkd_lightning.report.trust_section import TRUST_HEADINGS, trust_section
from tests.evaluate.builders import DOMAINS, SPACE, TITLES, results, run
from tests.report.test_diagnostic_charts import overlapping
from tests.report.test_html_report import read

SURE = {"none": 1.0, "gkd": 3.0, "teacher": 6.0}
"""Sharpness of the scores, by method."""


def judged(methods: Sequence[str] = tuple(SURE), seeds: int = 2, images: int = 4) -> tuple[Results, PerImage]:
    """Random images whose scores say something of the truth, the less the later the domain."""
    runs, kept = [], {}
    for number, method in enumerate(methods):
        for seed in range(seeds):
            scores, metrics, heated = [], {}, {}
            for place, domain in enumerate(DOMAINS):
                generator = torch.Generator().manual_seed(100 * number + 10 * seed + place)
                label = torch.randint(0, 3, (images, 42, 44), generator=generator)
                noise = torch.randn(images, 3, 42, 44, generator=generator) * (0.3 + 0.3 * place)
                logits = torch.nn.functional.one_hot(label, 3).permute(0, 3, 1, 2) + noise
                metric = ImageCounter(3)
                found = (logits * SURE.get(method, 2.0)).softmax(1)
                metric.update(found.argmax(1), label, [f"{domain}{index}" for index in range(images)], found)
                matrix = metric.compute()
                scores.append(from_confusion(domain, matrix, SPACE.names, images, place == 0, trust=metric.trust))
                metrics[domain] = metric
                assert metric.at_temperatures is not None
                heated[domain] = metric.at_temperatures
            at_home = tempered(heated, DOMAINS[:1])
            scores = [replace(score, tempered=at_home[score.domain]) for score in scores]
            runs.append(run(method, seed, domains=scores))
            for domain, metric in metrics.items():
                metric.remember(at_home[domain].temperature)
            kept[method, seed] = {domain: metric.image_counts for domain, metric in metrics.items()}
    return results({}, runs=runs), PerImage(kept)


def test_every_method_and_domain_with_its_interval() -> None:
    found, counts = judged()
    section = trust_section(found, counts)
    assert section is not None
    assert section.domains == list(DOMAINS)
    assert [line.title for line in section.errors] == [TITLES[method] for method in SURE]
    assert [line.kind for line in section.errors] == ["student", "ours", "reference"]
    for line, (_, domains) in zip(section.errors, trust_table(found, counts), strict=True):
        for cell, each in zip(line.cells, domains, strict=True):
            assert each.interval is not None
            assert cell.text == f"{each.scores['ece'].mean:.1f}"
            assert cell.spread == f"[{each.interval.low:.1f}, {each.interval.high:.1f}]"
    assert [title for title, _ in section.details] == [TITLES[name] for name in ("gkd", "none", "teacher")]
    for _, lines in section.details:
        assert [len(line.cells) for line in lines] == [len(TRUST_HEADINGS)] * len(DOMAINS)
        assert all(cell.text != "–" for line in lines for cell in line.cells)
    assert [domain for domain, _, _ in section.charts] == list(DOMAINS)


def test_the_page_shows_it_and_is_as_before_where_there_is_nothing() -> None:
    found, counts = judged()
    page = render_report(found, per_image=counts)
    text = " ".join(read(page).text)
    for words in ("Can its confidence be trusted?", "95 % interval over images", *TRUST_HEADINGS, *DOMAINS):
        assert words in text
    without = trust_section(found)  # counts were not kept
    assert without is not None
    assert not without.intervals
    assert trust_section(results()) is None


def test_a_temperature_of_every_method_and_what_it_does_to_the_one_of_the_report() -> None:
    found, counts = judged()
    section = trust_section(found, counts)
    assert section is not None
    shown = section.tempered
    assert shown is not None
    assert shown.title == TITLES["gkd"]
    assert [line.title for line in shown.methods] == [TITLES[name] for name in ("gkd", "none", "teacher")]
    (rows,) = ([domains for row, domains in trust_table(found, counts) if row.method == "gkd"],)
    for line, each in zip(shown.details, rows[0], strict=True):
        assert each.tempered is not None
        assert len(line.cells) == len(TEMPERED_HEADINGS)
        assert [cell.text for cell in line.cells[:2]] == [
            f"{each.tempered[name].mean:.1f}" for name in ("ece_before", "ece_after")
        ]
        interval = each.tempered_interval
        assert interval is not None
        assert interval.low < interval.high
        assert line.cells[1].spread == f"[{interval.low:.1f}, {interval.high:.1f}]"
    abroad = [each.tempered["ece_after"].mean for each in rows[0][1:] if each.tempered]
    assert f"T = {rows[0][0].tempered['temperature'].mean:.3g}" in shown.said
    assert f"{np.mean(abroad):.1f} at this T" in shown.said
    page = " ".join(read(render_report(found, per_image=counts)).text)
    both = "every ninth row and column; in brackets the 95 % interval over images."
    for words in ("Does a temperature fitted at home help?", shown.said, both, *TEMPERED_HEADINGS):
        assert words in page


def test_counts_of_an_older_version_have_no_interval_at_the_temperature() -> None:
    found, counts = judged(["gkd"], seeds=1)
    domains = {name: replace(each, tempered=None) for name, each in counts.runs["gkd", 0].items()}
    section = trust_section(found, PerImage({("gkd", 0): domains}))
    assert section is not None
    assert section.intervals
    assert section.tempered is not None
    assert not section.tempered.intervals
    assert {line.cells[1].spread for line in section.tempered.details} == {""}


def test_without_a_source_or_by_an_older_version_there_is_no_temperature() -> None:
    found, counts = judged(seeds=1)
    runs = [replace(run, domains=[replace(score, tempered=None) for score in run.domains]) for run in found.runs]
    section = trust_section(replace(found, runs=runs), counts)
    assert section is not None
    assert section.tempered is None
    page = render_report(replace(found, runs=runs), per_image=counts)
    assert "temperature" not in page
    section = trust_section(
        replace(found, runs=[runs[1], *found.runs[2:]]), counts
    )  # the method of the report is older
    assert section is not None
    assert section.tempered is not None
    assert section.tempered.title == TITLES["teacher"]


def test_a_single_method_needs_no_comparison_and_an_older_row_is_left_out() -> None:
    section = trust_section(*judged(["gkd"], seeds=1))
    assert section is not None
    assert section.errors == []
    found, counts = judged(seeds=1)
    old = replace(found.runs[0], domains=[replace(score, trust=None) for score in found.runs[0].domains])
    section = trust_section(replace(found, runs=[old, *found.runs[1:]]), counts)
    assert section is not None
    assert [line.title for line in section.errors] == [TITLES["gkd"], TITLES["teacher"]]


def test_of_many_methods_the_ends_are_drawn() -> None:
    found, counts = judged([*SURE, "mse", "kd", "cwd", "afd"], seeds=1, images=1)
    section = trust_section(found, counts)
    assert section is not None
    assert len(section.errors) == 7
    drawn = str(section.charts[0][2])
    assert "No distillation" in drawn
    assert "Two-stage MSE" not in drawn


def test_the_summary_has_it() -> None:
    found, _ = judged()
    text = summary(found)
    assert "Expected calibration error (ECE)" in text
    assert "Errors found by low confidence (AUROC)" in text
    assert "calibration" not in summary(results())
    assert "at the temperature" not in summary(results())
    row = next(line for line in text.split("at the temperature")[1].splitlines() if line.startswith("| GKD |"))
    assert len(row.split("|")) == len(DOMAINS) + 4
    row = next(line for line in text.split("calibration")[1].splitlines() if line.startswith("| GKD |"))
    assert len(row.split("|")) == len(DOMAINS) + 3


@pytest.mark.parametrize("methods", [["gkd"], list(SURE)])
def test_the_figures_texts_stay_apart(methods: list[str]) -> None:
    found, counts = judged(methods, seeds=1)
    rows = trust_table(found, counts, resamples=50)
    with style():
        for place in (0, len(DOMAINS) - 1):
            shown = {row.method: domains[place] for row, domains in rows}
            figure = trust_figure(shown, TITLES, result_looks(found), 80.0)
            assert not overlapping(figure)


def test_a_line_has_the_bins_that_hold_pixels() -> None:
    ((_, domains),) = trust_table(judged(["gkd"], seeds=1)[0])
    bins = domains[-1].bins.astype(float)
    sure, right = reliability(bins)
    assert len(sure) == (bins[:, 0] > 0).sum() > 5
    assert (np.diff(sure) > 0).all()
    assert ((right >= 0) & (right <= 100)).all()
    few = bins * 10_000
    few[0] = [1, 1, 1]  # too few for a point
    np.testing.assert_allclose(reliability(few), (sure, right))
