"""Milliseconds beside accuracy: in tables of every format, in the report, and as a figure whose names can be read."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from gkd_lightning.evaluate import PerImage, Results, comparison_table, table
from gkd_lightning.evaluate.collection import Collection
from gkd_lightning.report.html_report import render_report, write_report
from gkd_lightning.report.latency_chart import latency_figure
from gkd_lightning.report.latency_table import latency_tables
from gkd_lightning.report.style import style
from gkd_lightning.report.summary import summary
from gkd_lightning.report.table_formats import FORMATS
from tests.evaluate.builders import results, run
from tests.evaluate.test_latency import latency, timed

CLOUD = {  # exports lie close together, a teacher far away
    "GKD": (22.4, 31.3), "GKD, ONNX fp32": (9.9, 31.31), "GKD, ONNX fp16": (20.4, 31.29),
    "GKD, ONNX int8": (11.6, 30.7), "GKD, OpenVINO fp32": (10.0, 31.31), "GKD, OpenVINO int8": (6.9, 30.65),
    "No distillation": (22.4, 25.8),
}  # fmt: skip


@pytest.fixture
def found() -> Results:
    return timed(results(), gkd=[latency(), latency(6.5, threads=2)], none=[latency(12.0)])


def comparison(results: Results, form: str) -> str:
    return FORMATS[form](comparison_table(Collection(results, PerImage()), "gkd"))


def test_nothing_is_said_where_nothing_was_measured(tmp_path: Path) -> None:
    plain = results()
    assert latency_tables(table(plain), "gkd") == []
    for text in (render_report(plain), summary(plain), *(comparison(plain, form) for form in FORMATS)):
        assert "latenc" not in text
        assert "threads" not in text
    write_report(plain, tmp_path)
    assert not (tmp_path / "latency.png").exists()


def test_a_table_names_its_machine_and_leaves_gaps(found: Results) -> None:
    (made,) = latency_tables(table(found), "gkd")
    assert made.columns == [
        "unseen mean", "1 thread, ms", "2 threads, ms", "parameters", "GFLOPs", "files", "peak memory",
    ]  # fmt: skip
    assert {line.title: [cell.text for cell in line.cells] for line in made.lines} == {
        "No distillation": ["20.0 ± 1.0", "12.0", "–", "0.70 M", "0.25", "2.5 MB", "80 MiB"],
        "GKD": ["30.5 ± 1.0", "10.0", "6.50", "0.70 M", "0.25", "2.5 MB", "80 MiB"],
    }
    assert made.lines[1].cells[1].spread == "p95 15.0"
    assert "on Toy, 2 cores, images of 96x128 pixels" in made.note


def test_two_machines_never_share_a_table() -> None:
    found = timed(results(), gkd=[latency()], none=[latency(1.0, machine="Other, 64 cores")])
    first, second = latency_tables(table(found), "gkd")
    assert [[row.method for row in each.rows] for each in (first, second)] == [["none"], ["gkd"]]
    assert summary(found).count("Milliseconds an image on") == 2


def test_every_format_of_a_comparison_has_them(found: Results) -> None:
    assert "| GKD | 30.5 ± 1.0 | 10.0 (p95 15.0) | 6.50 (p95 9.75) | 0.70 M |" in comparison(found, "markdown")
    assert r"GKD & 30.5 $\pm$ 1.0 & 10.0 (p95 15.0)" in comparison(found, "latex")
    assert "% Milliseconds an image on Toy" in comparison(found, "latex")
    rows = json.loads(comparison(found, "json"))["rows"]
    (gkd,) = [row for row in rows if row["method"] == "gkd"]
    assert [each["median_ms"] for each in gkd["latencies"][:2]] == [10, 6.5]
    lines = list(csv.DictReader(io.StringIO(comparison(found, "csv"))))
    times = [each for each in lines if each["score"].startswith("median ms, 1 thread, Toy")]
    assert [(each["method"], each["mean"]) for each in times] == [("none", "12.0000"), ("gkd", "10.0000")]


def test_the_report_has_table_and_charts(found: Results, tmp_path: Path) -> None:
    page = render_report(found)
    assert "<h2>Accuracy and latency</h2>" in page
    assert page.count("ms an image, ") == 2  # a chart for each number of threads
    assert "10.0<small>p95 15.0</small>" in page
    write_report(found, tmp_path)
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")
    assert "Milliseconds an image on Toy" in (tmp_path / "summary.md").read_text()


def drawn(points: dict[str, tuple[float, float]]) -> Figure:
    runs = []
    for title, (ms, score) in points.items():
        role = "teacher" if "Teacher" in title else "export" if "," in title else "method"
        method = "gkd" if title == "GKD" else title
        runs.append(run(method, 0, (60, *[score] * 5), title=title, role=role, latencies=[latency(ms)]))
    (made,) = latency_tables(table(Results("r", "A test", runs)), "gkd")
    with style():
        figure = latency_figure(made, made.settings)
        figure.canvas.draw()
    return figure


@pytest.mark.parametrize("teacher", [None, (61.0, 46.1), (890.0, 46.1)])
def test_names_can_be_read(teacher: tuple[float, float] | None) -> None:
    points = CLOUD | ({} if teacher is None else {"Teacher + head": teacher})
    figure = drawn(points)
    (axes,) = figure.axes
    assert axes.get_xscale() == ("linear" if teacher is None else "log")
    names = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(names) == set(points)
    room = axes.get_window_extent().padded(1)
    for box in names.values():
        assert room.x0 <= box.x0
        assert box.x1 <= room.x1
        assert room.y0 <= box.y0
        assert box.y1 <= room.y1
    marks = [axes.transData.transform(point) for point in points.values()]
    for (first, one), (second, two) in itertools.combinations(names.items(), 2):
        assert not one.padded(-0.5).overlaps(two.padded(-0.5)), f"{first} hides {second}"
    assert not [name for name, box in names.items() for x, y in marks if box.contains(x, y)]


def test_one_model_alone_is_drawn_too() -> None:
    (axes,) = drawn({"GKD": (20.0, 31.0)}).axes
    assert [text.get_text() for text in axes.texts] == ["GKD"]
