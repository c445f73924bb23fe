"""The model card: every number from the results, every licence from what is known, and nothing of one machine."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from gkd_lightning.cli import main
from gkd_lightning.deploy import card_text, chosen_run
from gkd_lightning.deploy.card_picture import card_picture
from gkd_lightning.deploy.licences import UNKNOWN, sources
from gkd_lightning.evaluate import DomainScore, Results, Tempered
from gkd_lightning.evaluate.confidence_levels import BINS
from tests.evaluate.builders import SPACE, domain_score, gallery, results, run

STAGES: dict[str, Any] = {
    "task_agnostic": {
        "trainer": {"max_steps": 40, "precision": "bf16-mixed"},
        "model": {
            "class_path": "gkd_lightning.distill.DomainGeneralDistillation",
            "init_args": {
                "lr": 0.001,
                "teacher": {"name": "vit_base_patch14_dinov2.lvd142m", "weights": "pretrained"},
                "student": {
                    "name": "deit_small_patch16_224",
                    "weights": "timm:deit_small_distilled_patch16_224.fb_in1k",
                },
            },
        },
        "data": {
            "class_path": "gkd_lightning.data.ProxyDataModule",
            "init_args": {
                "batch_size": 8,
                "dataset": {
                    "class_path": "gkd_lightning.data.ProxyImages",
                    "init_args": {"root": "/data/photographs"},
                },
            },
        },
    },
    "task": {
        "trainer": {"max_steps": 60},
        "model": {
            "class_path": "gkd_lightning.segment.TaskLearning",
            "init_args": {"encoder": {"name": "deit_small_patch16_224", "weights": "artefact:0123"}, "lr": 0.0001},
        },
        "data": {
            "class_path": "gkd_lightning.data.SourceDataModule",
            "init_args": {
                "dataset": {
                    "class_path": "gkd_lightning.data.Joined",
                    "init_args": {
                        "datasets": [
                            {
                                "class_path": "gkd_lightning.data.benchmarks.GTAV",
                                "init_args": {"root": "/data/gtav"},
                            },
                            {"class_path": "my_data.Alley"},
                        ]
                    },
                }
            },
        },
    },
}


def recorded(stages: dict[str, Any] = STAGES, seeds: int = 3) -> Results:
    found = results(seeds=seeds)
    for each in found.runs:
        each.provenance["config"] = stages
    return found


def test_every_number_is_one_of_the_results() -> None:
    found = recorded()
    card = card_text(found, chosen_run(found, "gkd", 2), "you/city-student", "cc-by-nc-4.0", picture=True)
    own = chosen_run(found, "gkd", 2)
    (table,) = re.findall(r"\| domain \|.*?\n\n", card, re.DOTALL)
    lines = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()[2:]]
    assert [line[0] for line in lines] == [*(score.domain for score in own.domains), "unseen mean"]
    for line, score in zip(lines, own.domains, strict=False):
        assert line[1] == ("seen" if score.seen else "unseen")
        assert line[3] == f"{score.miou:.1f}"
    assert lines[1][3:] == ["31.5", "30.5 ± 1.0"]
    assert lines[-1][3:] == ["31.5", "30.5 ± 1.0"]
    assert "*This model* is the file beside this card, seed 2" in card
    assert "| Two-stage MSE | 30.0 ± 1.0 |" in card
    assert "| task_agnostic | DomainGeneralDistillation | 40 | 8 | – | 0.001 | bf16-mixed |" in card
    assert "- sliding.window: 96" in card


def test_the_metadata_is_what_the_hub_reads() -> None:
    found = recorded()
    own = chosen_run(found)
    data = ModelCard(card_text(found, own, "you/city-student", "cc-by-nc-4.0")).data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "cc-by-nc-4.0",
        "gkd-lightning",
        "image-segmentation",
    )
    assert data.base_model == ["timm/deit_small_distilled_patch16_224.fb_in1k"]
    assert data.datasets == ["gtav"]
    assert "timm" in data.tags
    assert data.model_name == "city-student"
    told = {result.dataset_type: result.metric_value for result in data.eval_results}
    assert told == {score.domain: round(score.miou, 2) for score in own.domains}
    assert {result.metric_type for result in data.eval_results} == {"mean_iou"}


def test_licences_are_known_or_said_to_be_unknown() -> None:
    found = {source.name: (source.part, source.licence) for source in sources(STAGES)}
    assert found == {
        "vit_base_patch14_dinov2.lvd142m": ("teacher", "apache-2.0, according to timm"),
        "deit_small_distilled_patch16_224.fb_in1k": ("first weights", "apache-2.0, according to timm"),
        "ProxyImages, photographs": ("data", UNKNOWN),
        "GTAV": ("data", "research and education only"),
        "my_data.Alley".rpartition(".")[2]: ("data", UNKNOWN),
    }
    mine = {"model": {"init_args": {"teacher": {"name": "my_teacher.Mine", "weights": "/data/x.pth"}}}}
    assert [tuple(source)[:3] for source in sources({"task": mine})] == [
        ("teacher", "my_teacher.Mine, weights from x.pth", UNKNOWN)
    ]
    mine["model"]["init_args"]["teacher"]["weights"] = "/data/franca_vitb14_In21K.pth"
    assert [source.licence for source in sources({"task": mine})] == ["Franca's RAIL-AMS, research only"]
    both = {name: {"encoder": {"name": "vit", "weights": f"/data/{name}.pth"}} for name in ("clip", "mae")}
    found = sources({"task_agnostic": {"model": {"init_args": {"teachers": both}}}})
    assert [source[:2] for source in found] == [
        ("teacher", f"vit, weights from {name}.pth") for name in ("clip", "mae")
    ]
    shipped = {"model": {"init_args": {"teacher": {"name": "vit", "weights": "asset:minicity_teacher"}}}}
    shipped["data"] = {"dataset": {"class_path": "gkd_lightning.data.MiniCity", "init_args": {"style": "game"}}}
    assert {source.licence for source in sources({"task": shipped})} == {"Apache-2.0, part of gkd-lightning"}
    card = card_text(recorded(), chosen_run(recorded()))
    assert f"- **these weights**: {UNKNOWN}" in card
    assert ModelCard(card).data.license == "unknown"
    assert f"- **data** ProxyImages, photographs: {UNKNOWN}" in card


def test_a_model_without_a_teacher_is_not_called_distilled() -> None:
    found = recorded()
    plain, distilled = (card_text(found, chosen_run(found, method)) for method in ("none", "gkd"))
    assert "Teacher:" in distilled
    assert "knowledge-distillation" in ModelCard(distilled).data.tags
    assert "Teacher:" not in plain
    assert "knowledge-distillation" not in ModelCard(plain).data.tags
    oracle = card_text(Results("r", "R", [run("oracle")]), run("oracle"))
    assert "This model is an oracle: it was trained with labelled images" in oracle
    assert "the model was trained on no image of the domain" in plain


def test_nothing_of_one_machine_stands_in_it() -> None:
    card = card_text(recorded(), chosen_run(recorded()))
    assert "/home" not in card
    assert "root: photographs" in card


def test_one_seed_has_no_spread_and_says_so() -> None:
    found = recorded(seeds=1)
    card = card_text(found, chosen_run(found))
    assert "mIoU in percent, one training: no spread is known." in card
    assert "all seeds" not in card
    assert "±" not in card


def test_a_temperature_that_was_fitted_at_home_is_told() -> None:
    def tempered(*domains: DomainScore) -> str:
        return card_text(Results("r", "R", [run("gkd", domains=list(domains))]), run("gkd", domains=list(domains)))

    warm = Tempered(1.1, 9.0, 4.0, 1.0, 0.9, 3.0, 1.0, ((1, 1, 1),) * BINS)
    game = replace(domain_score("game", 60.0, seen=True), tempered=warm)
    day = replace(domain_score("day", 30.0), tempered=replace(warm, ece_before=16.44, ece_after=14.36))
    line = (
        "Confidence is given as it is. At the temperature 1.1, fitted on game "
        "(`gkd_lightning.load(…, temperature=1.1)`), classes stay, "
        "and its calibration error (ECE) in percent goes: day 16.4 → 14.4."
    )
    assert f"\n\n{line}\n\n<details>" in tempered(game, day)
    assert "temperature=1.1)`), classes stay.\n" in tempered(game)
    assert "temperature" not in tempered(replace(game, tempered=None), replace(day, tempered=None))


def test_results_of_old_without_configurations_have_a_card() -> None:
    """And a title that would end a cell, or a class that no domain has."""
    found = results(teacher={}, title="A | B")
    assert all("config" in each.provenance for each in found.runs)
    for each in found.runs:
        each.provenance.clear()
    card = card_text(found, chosen_run(found))
    assert "The encoder" not in card
    assert "| car | – |" in card
    assert "Teacher:" not in card


def test_an_encoder_of_ones_own_is_not_offered_to_timm() -> None:
    stages = {"task": {"model": {"init_args": {"encoder": {"name": "my_teacher.MyTeacher"}}}}}
    card = card_text(recorded(stages), chosen_run(recorded(stages)))
    assert "The encoder is `my_teacher.MyTeacher`, a class of its own" in card
    assert "hf-hub:" not in card
    assert "timm" not in ModelCard(card).data.tags


def test_the_picture_has_a_column_for_every_domain() -> None:
    picture = card_picture(gallery(), run("gkd"))
    assert picture is not None
    image = Image.open(io.BytesIO(picture))
    assert image.width > image.height
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
    assert set(SPACE.palette) <= colours
    assert card_picture(gallery(), run("mse")) is None


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded().save(tmp_path / "results.json")
    gallery().save(tmp_path / "gallery.npz")
    assert main(["card", str(tmp_path), "--method", "mse", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert ModelCard(printed).data.model_name == "Two-stage MSE"
    assert "picture.png" not in printed
    assert main(["card", str(tmp_path / "results.json"), "--repo", "you/x", "--out", str(tmp_path / "card")]) == 0
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["README.md", "picture.png"]
    assert '"you/x"' in (tmp_path / "card/README.md").read_text(encoding="utf-8")


def test_mistakes_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded().save(tmp_path / "results.json")
    (tmp_path / "README.md").write_text("filled in by hand")
    for given, message in (
        (["--method", "gdk"], "--method gdk: no run of this method, did you mean 'gkd'?"),
        (["--seed", "7"], "--seed 7: gkd was run with 0, 1, 2"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--out", str(tmp_path)], f"--out {tmp_path}: holds a README.md"),
        (["--out", str(tmp_path / "results.json")], "is a file"),
        (["--repo", "city student"], "--repo city student: give the name of a repository on the Hub"),
        (["--license", "MIT License"], "--license MIT License: give it as the Hub names it"),
        (["--run", "x"], "--run: unknown option"),
    ):
        assert main(["card", str(tmp_path), *given]) == 2, given
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert main(["card", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: cannot be read" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "filled in by hand"
