"""From a recipe to a report."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.cli import main
from gkd_lightning.evaluate import PerImage, Results, worst_images
from gkd_lightning.evaluate.pairing import pair
from gkd_lightning.report import Gallery
from tests.chain.studies import write_study

SHORT = ["--set", "trainer.max_steps=6", "--set", "data.num_workers=0"]
SHORT += ["--set", "task_agnostic:model.teacher.name=${env:STUDY_TEACHER}"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    os.environ["STUDY_TEACHER"] = "vit_tiny_patch16_224"  # a machine's own values stay out of results
    assert main(["run", str(folder / "study.yaml"), "--out", str(folder / "out"), *SHORT]) == 0
    return folder


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path)
    assert main(["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert "4 stages for 2 runs" in text
    assert [line.split()[1] for line in text.splitlines()[1:9:2]] == ["run"] * 4
    assert all(" parameters, " in line for line in text.splitlines()[2:9:2])
    assert "after task_agnostic-" in text


def test_data_of_the_last_step_are_missed_before_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path)
    nowhere = "{images: nowhere, labels: nowhere, classes: minicity-8}"
    domain = f"{{class_path: gkd_lightning.data.FolderSegmentation, init_args: {nowhere}}}"
    command = ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--set", f"evaluate:data.domains.night={domain}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gkd: nowhere: no such folder")
    assert not (tmp_path / "out").exists()


def test_results_say_what_was_found_and_what_it_cost(study: Path) -> None:
    results = json.loads((study / "out/results.json").read_text())
    assert [(run["method"], run["role"]) for run in results["runs"]] == [("gkd", "method"), ("none", "none")]
    gkd = results["runs"][0]
    assert [(score["domain"], score["seen"], score["images"]) for score in gkd["domains"]] == [
        ("game", True, 3), ("night", False, 3),
    ]  # fmt: skip
    assert gkd["cost"]["steps"] == 18
    assert gkd["cost"]["images"] == 72
    assert gkd["cost"]["tflops"] > 0
    assert gkd["protocol"]["resize"] == "exact"
    assert gkd["protocol"]["window"] == 32
    assert "task_agnostic/loss" in gkd["curves"]
    facts = gkd["provenance"]
    assert set(facts["artefacts"]) == set(facts["config"]) == {"task_agnostic", "domain_agnostic", "task"}
    assert all(len(sha) == 64 for sha in facts["artefacts"].values())
    assert facts["data.task"]["images"] == 20
    assert facts["versions"]["torch"]
    assert facts["config"]["task_agnostic"]["model"]["init_args"]["teacher"]["name"] == "${env:STUDY_TEACHER}"
    with (study / "out/results.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == 4
    page = (study / "out/report.html").read_text()
    assert "GKD" in page
    assert "data:image/" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_trains_and_judges_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (study / "out").rglob("*.safetensors")}
    judged = {path: path.stat().st_mtime_ns for path in (study / "out/evaluations").rglob("results.json")}
    assert main(["run", str(study / "study.yaml"), "--out", str(study / "out"), *SHORT]) == 0
    assert capsys.readouterr().out.count("finished before, skipped") == 4
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert judged == {path: path.stat().st_mtime_ns for path in judged}


def test_what_each_image_contributed_lies_beside_the_results(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, kept = Results.load(study / "out/results.json"), PerImage.load(study / "out/per_image.npz")
    assert list(kept.runs) == [("gkd", 0), ("none", 0)]
    assert kept.runs["gkd", 0]["night"].names == tuple(f"night-0-{number:06d}" for number in (100, 101, 102))
    for run in results.runs:
        for score in run.domains:
            counts = kept.runs[run.method, run.seed][score.domain]
            assert counts.sums()[1].tolist() == score.matrix.sum(0).tolist()
            assert score.trust is not None
            assert counts.bins is not None
            assert counts.bins.sum(0).tolist() == [list(part) for part in score.trust.bins]
            assert counts.bins[..., :2].sum((0, 1)).tolist() == [score.matrix.sum(), score.matrix.trace()]
            assert score.tempered is not None
            assert counts.tempered is not None
            assert counts.tempered.sum(0).tolist() == [list(part) for part in score.tempered.bins]
            (own,) = (study / "out/evaluations").glob(f"{run.method}-*/per_image.npz")
            alone = PerImage.load(own).runs[run.method, run.seed][score.domain]
            np.testing.assert_array_equal(alone.counts, counts.counts)
    assert pair(results, kept).images == {"night": 3}
    assert main(["table", str(study / "out"), "--resamples", "100"]) == 0
    assert "over images (night 3)" in capsys.readouterr().out


def test_an_older_evaluation_is_judged_again_only_when_asked_to(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(study / "study.yaml"), "--out", str(study / "out"), *SHORT]
    judged = sorted((study / "out/evaluations").glob("*/per_image.npz"))
    before = [path.read_bytes() for path in judged]
    for path in judged:
        path.unlink()
    assert main(command) == 0
    assert not any(path.exists() for path in judged)
    capsys.readouterr()
    assert main(["table", str(study / "out")]) == 0
    assert "(gkd seed 0, none seed 0)" in capsys.readouterr().out
    assert main([*command, "--from", "evaluate"]) == 0
    assert [path.read_bytes() for path in judged] == before


def test_the_report_can_be_written_again(study: Path, tmp_path: Path) -> None:
    assert main(["report", str(study / "out"), "--out", str(tmp_path), "--title", "Again"]) == 0
    assert "Again" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "gallery.npz").is_file()


def test_the_images_that_a_method_was_worst_at_are_kept(study: Path) -> None:
    kept, gallery = PerImage.load(study / "out/per_image.npz"), Gallery.load(study / "out/gallery.npz")
    for domain in ("game", "night"):
        scores = worst_images(kept.runs["gkd", 0][domain], 2)
        found = {s.name: s.scores["gkd"] for s in gallery.worst if s.domain == domain and "gkd" in s.predictions}
        assert found == pytest.approx(scores)
        assert list(found) == list(scores)
    again = gallery.worst[0]
    counts = kept.runs["gkd", 0][again.domain]
    right = int(((again.predictions["gkd"] == again.truth) & (again.truth != 255)).sum())
    assert right == counts.counts[counts.names.index(again.name), 0].sum()


def test_a_report_says_what_changed(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["report", str(study / "out"), "--before", str(study / "out"), "--out", str(tmp_path)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "report.html")
    assert all("(+0.0)" in line for line in lines[:-1])
    assert len(lines) == 7  # the unseen mean and two domains of two methods, and the page
    assert "What changed" in (tmp_path / "report.html").read_text()


def test_gkd_test_gives_the_numbers_of_the_report(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config,) = (study / "out/evaluations").glob("gkd-*/test.yaml")
    assert main(["test", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = json.loads((config.parent / "results.json").read_text())["runs"][0]["domains"]
    assert [float(line.split()[2]) for line in lines] == [pytest.approx(score["miou"], abs=0.006) for score in expected]
    home, abroad = (score["tempered"] for score in expected)
    assert abroad["temperature"] == home["temperature"] == home["temperature_own"]  # of game alone
    assert all("at T" in line for line in lines)
    assert not any("boundary" in line for line in lines)
    errors = [float(line.split("ECE")[1].split()[0]) for line in lines]
    assert errors == [pytest.approx(score["trust"]["ece"], abs=0.006) for score in expected]
    assert main(["test", "--config", str(config), "--data.init_args.shapes", "true"]) == 0
    assert all("boundary IoU" in line for line in capsys.readouterr().out.splitlines())
