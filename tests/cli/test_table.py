"""`gkd table`: what it prints in each format, and how runs are joined."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gkd_lightning.cli import main
from gkd_lightning.evaluate import PanopticScore, pq_of, table
from gkd_lightning.evaluate.method_differences import comparison_table
from gkd_lightning.report.table_formats import FORMATS, to_markdown
from tests.evaluate.builders import SPACE
from tests.evaluate.judged import DOMAINS, IMAGES, judged, write

ACCURACY = {"none": 0.6, "mse": 0.74, "gkd": 0.75}
FEW = ["--resamples", "100"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeds 0 and 1 in one run, seed 2 in another, the same without counts in a third."""
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "first", judged(ACCURACY))
    last = judged(ACCURACY, seeds=(2,))
    write(folder / "second", last)
    write(folder / "old", last, counts=False)
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of them; the working folder."""
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["table", *arguments]) == 0
    return capsys.readouterr().out


def test_seeds_of_two_runs_join_in_one_row(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "first", "second/results.json", *FEW)
    lines = text.splitlines()
    assert lines[2] == "| method | seeds | night | fog | unseen mean | in-domain | gap |"
    rows = {row.method: row for row in table(judged(ACCURACY, seeds=(0, 1, 2)).results)}
    for line, row in zip(lines[4:7], rows.values(), strict=True):
        spreads = [*(row.domains[name] for name in DOMAINS[1:]), row.unseen, row.in_domain, row.gap]
        assert line == f"| {row.title} | 3 | {' | '.join(map(str, spreads))} |"
        assert line.count("±") == 5
    assert lines[8] == "Difference to GKD in points of mIoU:"
    assert lines[10] == "| method | unseen mean | resamples above | in words | night | fog |"
    (first,) = (line for line in lines[11:] if line.startswith("| No distillation "))
    assert re.fullmatch(
        r"\| No distillation \| −\S+ \[−\S+, −\S+\] \| 0\.0 % \| below \|( −\S+ \[−\S+, −\S+\] \|){2}", first
    )
    assert "over seeds" in text
    assert f"over images (night {IMAGES}, fog {IMAGES}): paired bootstrap, 100 resamples" in text
    assert "answer different questions" in text
    assert "\x1b" not in text


def test_another_reference_and_chosen_rows(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "first", "--against", "none", "--methods", "gkd", *FEW)
    titles = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ") and "method" not in line]
    assert [title for title in titles if title != "| ---"] == ["| GKD", "| No distillation", "| GKD"]
    assert "Difference to No distillation" in text
    assert re.search(r"^\| GKD \| \+.*\| 100\.0 % \| above \|", text, re.MULTILINE)
    without = printed(capsys, "first", "--methods", "mse,none", *FEW)  # the highlighted method is not wanted
    assert "Difference to Two-stage MSE" in without
    assert "GKD" not in without
    alone = printed(capsys, "first", "--methods", "gkd", *FEW)
    assert "Difference" not in alone
    assert "[low, high]" not in alone


def test_old_runs_have_a_table_without_intervals_and_one_note(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "old")
    assert "| No distillation | −" in text
    assert "[" not in text
    assert text.count("--from evaluate") == 1
    assert "none seed 2, mse seed 2, gkd seed 2" in text
    assert "One seed per method" in text
    value = json.loads(printed(capsys, "old", "--format", "json"))
    assert value["differences"][0]["unseen_mean"]["low"] is None
    assert len(value["notes"]) == 1
    assert main(["table", "old", "--format", "csv"]) == 0
    found = capsys.readouterr()
    assert len(found.err.splitlines()) == 1
    assert "--from evaluate" in found.err
    mixed = printed(capsys, "first", "old")
    assert "(none seed 2, mse seed 2, gkd seed 2)" in mixed
    assert "[" not in mixed


def test_one_method_without_counts_leaves_the_others_their_intervals() -> None:
    found = judged(ACCURACY)
    kept = {key: domains for key, domains in found.per_image.runs.items() if key[0] != "mse"}
    whole = comparison_table(found, "gkd", resamples=100)
    part = comparison_table(replace(found, per_image=replace(found.per_image, runs=kept)), "gkd", resamples=100)
    assert part.differences[0].unseen == whole.differences[0].unseen
    assert part.differences[1].unseen.interval is None
    assert part.differences[1].unseen.points == whole.differences[1].unseen.points
    assert "(mse seed 0, mse seed 1)" in part.notes[0]
    none = {key: domains for key, domains in kept.items() if key[0] != "gkd"}  # the reference
    assert not comparison_table(replace(found, per_image=replace(found.per_image, runs=none)), "gkd").images


def test_rows_of_other_seeds_than_the_reference_are_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "may be the seeds'" not in printed(capsys, "first", "second", *FEW)
    write(runs / "more", judged({"mse": 0.74}, seeds=(2,)))
    text = printed(capsys, "first", "more", "--methods", "gkd,mse", *FEW)
    (line,) = (line for line in text.splitlines() if "may be the seeds'" in line)
    assert line.startswith("Two-stage MSE is of seeds 0, 1, 2, GKD of seeds 0, 1:")


def test_json_is_complete_and_unrounded(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(printed(capsys, "first", "second", "--format", "json", "--confidence", "90", *FEW))
    rows = {row.method: row for row in table(judged(ACCURACY, seeds=(0, 1, 2)).results)}
    assert [row["method"] for row in value["rows"]] == list(rows)
    for row in value["rows"]:
        expected = rows[row["method"]]
        assert row["seeds"] == [0, 1, 2]
        assert row["domains"]["night"]["values"] == list(expected.domains["night"].values)
        assert (row["unseen_mean"]["mean"], row["gap"]["std"]) == (expected.unseen.mean, expected.gap.std)
    assert value["against"] == "gkd"
    assert value["unseen"] == ["night", "fog"]
    assert value["bootstrap"] == {"images": {"night": IMAGES, "fog": IMAGES}, "resamples": 100, "confidence": 90}
    difference = value["differences"][0]["domains"]["fog"]
    assert difference["low"] < difference["points"] < difference["high"] < 0
    assert (difference["positive"], difference["words"]) == (0, "below")


def test_csv_has_a_line_per_method_and_number(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(csv.DictReader(io.StringIO(printed(capsys, "first", "--format", "csv", *FEW))))
    assert [line["score"] for line in lines[:5]] == ["night", "fog", "unseen mean", "in-domain", "gap"]
    assert len(lines) == 3 * 5
    mse = next(line for line in lines if (line["method"], line["score"]) == ("mse", "unseen mean"))
    assert float(mse["low"]) < float(mse["difference"]) < float(mse["high"])
    assert all(not line["difference"] for line in lines if line["method"] == "gkd" or line["score"] == "gap")


def test_latex_is_escaped() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    odd = [replace(run, title="50 % of A&B_c") if run.method == "mse" else run for run in found.results.runs]
    text = FORMATS["latex"](comparison_table(replace(found, results=replace(found.results, runs=odd)), "gkd", 100))
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert sum(line.startswith(r"50 \% of A\&B\_c & ") for line in body) == 2
    assert {line.count(" & ") for line in body} == {6, 5}
    assert not any(set("±−–") & set(line) for line in body)
    assert text.count(r"\begin{tabular}{l") == text.count(r"\end{tabular}") == 2


def test_a_file_in_the_place_of_the_terminal(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = printed(capsys, "first", *FEW)
    assert printed(capsys, "first", *FEW, "--out", "new/table.md") == "new/table.md\n"
    assert (runs / "new/table.md").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("out", ["first/results.json", "first/per_image.npz", "first/../first/results.json"])
def test_what_is_read_is_not_written_over(runs: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = (runs / out).read_bytes()
    assert main(["table", "first", *FEW, "--out", out]) == 2
    assert "the table is made from this file" in capsys.readouterr().err
    assert main(["report", "first", "second"]) == 2
    assert "--out: name a folder" in capsys.readouterr().err
    assert (runs / out).read_bytes() == before


def test_the_same_run_twice_counts_once(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "first", "first/results.json", *FEW) == printed(capsys, "first", *FEW)
    once = printed(capsys, "second", *FEW)
    assert printed(capsys, "old", "second", *FEW) == once  # the copy with counts lends them


def test_two_trainings_under_one_name_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs / "other", judged({"gkd": 0.75}, seeds=(1,), luck=5))
    assert main(["table", "first", "other"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("gkd seed 1", "first/results.json (artefact gkd-1-0", "other/results.json (artefact gkd-1-5"):
        assert part in line


def test_runs_on_other_images_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs / "other", judged({"mse": 0.75}, seeds=(7,), prefix="other_"))
    assert main(["table", "first", "other"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "night: none seed 0 and mse seed 7 have no image in common" in line


def test_runs_of_other_protocols_are_refused_unless_they_are_not_wanted(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = judged({"cwd": 0.7})
    other = [replace(run, protocol={"resize": "fit"}) for run in found.results.runs]
    write(runs / "other", replace(found, results=replace(found.results, runs=other)))
    assert main(["table", "first", "other"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "different protocols in a table: protocol.resize" in line
    assert printed(capsys, "first", "other", "--methods", "gkd,mse", *FEW)


def test_the_report_keeps_the_counts_of_the_runs_that_it_joins(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joined = printed(capsys, "first", "second", *FEW)
    assert main(["report", "first", "second", "--out", "both"]) == 0
    capsys.readouterr()
    assert printed(capsys, "both", *FEW) == joined
    assert main(["report", "old", "--out", "none"]) == 0
    assert not (runs / "none/per_image.npz").exists()


def test_without_an_unseen_domain_there_is_nothing_to_compare() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    seen = [replace(run, domains=run.domains[:1]) for run in found.results.runs]
    text = to_markdown(comparison_table(replace(found, results=replace(found.results, runs=seen)), "gkd"))
    assert "| GKD | 2 | – | " in text
    assert "Difference" not in text


def test_the_formats_offered_are_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    assert "{" + ",".join(FORMATS) + "}" in capsys.readouterr().out


def test_the_page_shows_what_is_printed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/tables.md").read_text(encoding="utf-8")
    example = page.partition("<!-- made by tests/cli/test_table.py -->\n")[2].partition("<!-- end -->")[0]
    assert example == printed(capsys, "first", "second")


def test_a_table_of_segments(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = judged(ACCURACY, seeds=(0, 1))
    scored = []
    for number, run in enumerate(found.results.runs):
        pq = PanopticScore(SPACE.names, ("car",), (5.0 + number / 2, 3.0, 2.0), (10, 5, 4), (1, 2, 3), (0, 1, 2))
        scored.append(replace(run, domains=[replace(score, panoptic=pq) for score in run.domains]))
    write(runs / "segments", replace(found, results=replace(found.results, runs=scored)))
    lines = printed(capsys, "segments", "--measure", "PQ", *FEW).splitlines()
    assert lines[0] == "PQ in percent: A test"
    rows = {row.title: row for row in table(replace(found.results, runs=scored), pq_of)}
    assert rows["GKD"].unseen.mean > rows["No distillation"].unseen.mean
    assert lines[6].startswith(f"| GKD | 2 | {rows['GKD'].domains['night']} ")
    assert lines[8] == "Difference to GKD in points of PQ:"
    points = rows["No distillation"].unseen.mean - rows["GKD"].unseen.mean
    assert lines[12].startswith(f"| No distillation | −{-points:.1f} | – | – |")
    assert not any("[" in line for line in lines)
