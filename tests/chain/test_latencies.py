"""`gkd test RUN EXPORT` and `gkd latency`: an export becomes a row, and rows get milliseconds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.chain.judging.judged_rows import judged_rows
from gkd_lightning.chain.judging.plan_report import judge, save_judged
from gkd_lightning.cli import main
from gkd_lightning.data import MiniCity
from gkd_lightning.deploy import export_segmenter
from gkd_lightning.evaluate import Results
from gkd_lightning.segment import LinearHead, record_protocols
from tests.chain.artefacts import segmenter
from tests.evaluate.builders import run

pytest.importorskip("onnxruntime")

DOMAINS = ("game", "night")
MINICITY = "gkd_lightning.data.MiniCity"


def evaluation(weights: Path) -> dict[str, Any]:
    """Configuration of `gkd test`, in the mixed precision that recipes judge with."""
    domains = {name: {"class_path": MINICITY, "init_args": {"style": name, "size": 2}} for name in DOMAINS}
    data = {"domains": domains, "seen": ["game"], "batch_size": 2, "num_workers": 0}
    model = "gkd_lightning.chain.judging.Evaluation"
    return {
        "trainer": {"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed", "enable_progress_bar": False},
        "data": {"class_path": "gkd_lightning.data.TargetDataModule", "init_args": data},
        "model": {"class_path": model, "init_args": {"segmenter": str(weights)}},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run``, a judged method as a chain leaves it, and ``onnx`` and ``pt2``, exports of its segmenter."""
    folder = tmp_path_factory.mktemp("made")
    weights = segmenter(folder / "run/stages/task-0123", head=LinearHead()) / "segmenter.safetensors"
    record_protocols(weights, {name: {"resize": "none", "size": None} for name in DOMAINS})
    place = folder / "run/evaluations/gkd-seed0-4567"
    module, data = judge(evaluation(weights), place, "gkd")
    digest = json.loads(weights.with_name("segmenter.json").read_text())["sha256"]
    manifest = data.manifest()
    result = replace(
        run("gkd"),
        domains=list(module.domain_scores.values()),
        protocol=module.protocol(),
        provenance={
            "artefacts": {"task": digest},
            "data.evaluated": {key: manifest[key] for key in ("images", "sha256")},
        },
    )
    save_judged(result, "mine.yaml", "A study", module, data, place)
    for name in ("results.json", "per_image.npz", "gallery.npz"):
        shutil.copy(place / name, folder / "run" / name)
    for form, name in (("onnx", "onnx"), ("torch", "pt2")):
        export_segmenter(weights, folder / name, form, {"night": MiniCity("night", 1)}, count=1)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def places(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as if it had been moved since; the working folder."""
    shutil.copytree(made, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    return tmp_path / "moved"


@pytest.mark.slow
def test_an_export_is_a_row_of_the_same_table_and_of_the_report(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "run", "onnx", "pt2"]) == 0
    printed = capsys.readouterr().out
    assert "GKD, ONNX fp32: game " in printed
    assert "GKD, .pt2 fp32: game " in printed
    own, (source,) = Results.load("onnx/results.json").runs[0], Results.load("run/results.json").runs
    assert (own.method, own.role, own.seed) == ("gkd-onnx-fp32", "export", source.seed)
    assert own.protocol == json.loads(json.dumps(source.protocol))
    for exported, judged in zip(own.domains, source.domains, strict=True):
        assert exported.miou == pytest.approx(judged.miou, abs=0.5)  # which was judged in bf16
    assert (own.cost.params_m, own.cost.steps, own.curves) == (source.cost.params_m, None, {})
    assert main(["table", "run", "onnx", "pt2"]) == 0
    printed = capsys.readouterr().out
    assert "| GKD, ONNX fp32 | 1 |" in printed
    assert "[low, high]" in printed  # paired, image by image
    assert main(["report", "run", "onnx", "--out", "joined"]) == 0
    page = Path("joined/report.html").read_text()
    assert page.count("GKD, ONNX fp32") >= 3
    assert "there is no other student to compare it with" in page  # an export does not compete


@pytest.mark.slow
def test_milliseconds_go_where_the_model_is_a_row(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "run", "onnx"]) == 0
    kept = ("run/results.json", "run/evaluations/gkd-seed0-4567/results.json", "onnx/results.json")
    before = {name: json.loads(Path(name).read_text()) for name in kept}
    command = ["latency", "run", "onnx", "--images", "20", "--threads", "1", "--out", "latency.json"]
    capsys.readouterr()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "images of 96x96 pixels" in printed
    for name in (*kept, "latency.json"):
        assert name in printed.splitlines()[-4:]
    for name in kept:
        after = json.loads(Path(name).read_text())
        (found,) = after["runs"][0].pop("latencies")
        assert after == before[name]
        assert (found["threads"], found["images"], found["device"]) == (1, 20, "cpu")
        assert 0 < found["median_ms"] <= found["p95_ms"]
    rows = json.loads(Path("latency.json").read_text())["rows"]
    assert [row["title"] for row in rows] == ["GKD", "GKD, ONNX fp32"]
    assert rows[0]["latencies"][0]["gflops"] == rows[1]["latencies"][0]["gflops"] > 0
    assert main(["table", "run", "onnx"]) == 0
    assert "| method | unseen mean | 1 thread, ms |" in capsys.readouterr().out


def test_a_row_finds_its_segmenter_where_the_run_lies_now(places: Path) -> None:
    (row,) = judged_rows(Path("run"))
    assert row.checkpoint is not None
    assert row.checkpoint.is_file()
    for weights in places.glob("run/stages/*/segmenter.safetensors"):
        weights.with_name("segmenter.json").write_text("{")
    (row,) = judged_rows(Path("run"))
    assert row.evaluation is not None
    assert row.checkpoint is None or not row.checkpoint.is_relative_to(places)


BAD: dict[str, tuple[list[str], str]] = {
    "no such model": (["latency", "nowhere"], "nowhere: no segmenter.safetensors"),
    "a model of no run": (["latency", "alone", "--size", "96x96"], "alone/segmenter.safetensors: no results.json"),
    "a model of no run, and no images": (["latency", "alone", "--out", "o.json"], "--size: alone"),
    "an export that was not judged": (["latency", "run", "onnx"], "onnx: no results.json"),
    "too few images": (["latency", "run", "--images", "5"], "--images 5"),
    "no threads": (["latency", "run", "--threads", "0"], "--threads 0"),
    "too many threads": (["latency", "run", "--threads", "1,9999"], "--threads 1,9999"),
    "threads in words": (["latency", "run", "--threads", "all"], "--threads all"),
    "no area": (["latency", "run", "--size", "0x96"], "--size 0x96"),
    "another domain": (["latency", "run", "--domain", "nigth"], "--domain nigth: not judged on it, did you mean"),
    "another device": (["latency", "run", "--device", "tpu"], "--device tpu"),
    "an output folder": (["latency", "run", "--out", "run"], "--out run: a folder"),
    "an unknown option": (["latency", "run", "--thread", "1"], "--thread: unknown option"),
    "no model at all": (["latency"], "RUN|EXPORT|CKPT"),
    "an export of another segmenter": (
        ["test", "run", "other"],
        "other: of a segmenter that is in no row of run",
    ),
    "no export": (["test", "run", "run"], "run/export.json"),
    "an export of no run": (["test", "nowhere", "onnx"], "nowhere/results.json"),
    "nothing to judge": (["test", "run"], "EXPORT"),
    "results without their evaluation": (["test", "bare", "onnx"], "bare: has no evaluations/"),
    "results without segmenters": (["latency", "bare"], "bare: none of its rows has its segmenter"),
}


@pytest.mark.parametrize("what", BAD)
def test_mistakes_are_one_line_before_the_work(what: str, places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter(places / "alone", head=LinearHead())
    shutil.copytree("onnx", "other")
    record = json.loads(Path("other/export.json").read_text())
    record["source"]["sha256"] = "0" * 64
    Path("other/export.json").write_text(json.dumps(record))
    Path("bare").mkdir()
    found = Results.load("run/results.json")
    runs = [replace(each, provenance={"artefacts": {"task": record["source"]["sha256"]}}) for each in found.runs]
    found = found if BAD[what][0][0] == "test" else replace(found, runs=runs)
    found.save("bare/results.json")
    before = sorted(path for path in places.rglob("*"))
    command, told = BAD[what]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert sorted(path for path in places.rglob("*")) == before


def test_a_processor_without_a_card_says_so(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "run", "onnx", "--device", "cuda:7", "--out", "o.json"]) == 2
    assert "--device cuda:7: PyTorch sees" in capsys.readouterr().err
