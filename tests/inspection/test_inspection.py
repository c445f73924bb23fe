"""`gkd inspect` on small artefacts: what is found, measured and written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gkd_lightning.cli import main
from gkd_lightning.data import MiniCity
from gkd_lightning.distill import load_aligned, load_heads, resize_tokens
from gkd_lightning.encoders import load_student
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import stacked
from gkd_lightning.files import write_json
from gkd_lightning.inspection.attention import look
from gkd_lightning.inspection.gradients import Images, checkpoint_conflict
from gkd_lightning.inspection.similarity import similarity
from gkd_lightning.inspection.sources import Source, find_sources, find_teacher
from gkd_lightning.segment import LinearHead
from tests.chain import artefacts

DATA = """
data:
  class_path: gkd_lightning.data.TargetDataModule
  init_args:
    seen: [game]
    domains:
      game: {class_path: gkd_lightning.data.MiniCity, init_args: {style: game, size: 8}}
      night: {class_path: gkd_lightning.data.MiniCity, init_args: {style: night, size: 8}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder: a stage 1 and its stage 2, and another method's segmenter; data and teacher beside."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.yaml").write_text(DATA)
    teacher = artefacts.teacher_yaml(tmp_path)
    stages = tmp_path / "run/stages"
    first = artefacts.finished(artefacts.student(stages / "a-1", teacher=teacher), "gkd/task_agnostic seed 0", 1)
    artefacts.finished(artefacts.segmenter(stages / "task-1"), "gkd/task seed 0", 2, parent=first)
    artefacts.finished(artefacts.segmenter(stages / "task-2", width=16), "mse/task seed 0", 3)
    write_json(tmp_path / "run/results.json", {"runs": [{"method": "gkd", "title": "GKD"}]})
    return tmp_path / "run"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def inspected(*arguments: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    assert main(["inspect", *arguments, "--out", "out"]) == 0
    name = arguments[0]
    assert (Path("out") / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return table(Path("out") / f"{name}.csv"), json.loads((Path("out") / f"{name}.json").read_text())


def test_a_run_is_the_ends_of_its_chains(run: Path) -> None:
    sources = find_sources([str(run)])
    assert [(source.title, source.weights.parent.name) for source in sources] == [("GKD", "task-1"), ("mse", "task-2")]
    twice = find_sources([f"x={run}", str(run / "stages/a-1"), f"teacher={run / 'stages/a-1/student.safetensors'}"])
    assert [source.title for source in twice] == ["x", "x (2)", "gkd", "teacher (2)"]
    assert find_teacher(None, sources).embed_dim == 48  # in the record of the stage that the first one started from
    assert find_teacher(str(run / "stages/a-1"), sources).embed_dim == 32
    with pytest.raises(UserError, match="no record names its teacher"):
        find_teacher(None, sources[1:])


def test_features_of_several_widths(run: Path) -> None:
    rows, record = inspected("features", str(run), "--data", "data.yaml", "--count", "2", "--basis", "shared")
    assert [(row["encoder"], row["width"]) for row in rows] == [("teacher", "48"), ("GKD", "32"), ("mse", "16")]
    assert float(rows[0]["agreement"]) == pytest.approx(1)
    assert [domain for domain, _ in record["images"]] == ["game", "game", "night", "night"]


def test_attention_of_chosen_patches(run: Path) -> None:
    rows, record = inspected(
        "attention", str(run), "--data", "data.yaml", "--domains", "night", "--queries", "3,0", "1,2"
    )
    assert [(row["domain"], row["row"], row["column"]) for row in rows] == [("night", "3", "0"), ("night", "1", "2")]
    assert record["grid"] == [4, 4]
    assert all(0 < float(row["entropy"]) <= 1 for row in rows)
    rows, _ = inspected(
        "attention", str(run / "stages/a-1"), "--data", "data.yaml", "--queries", "grid", "--number", "4"
    )
    assert len(rows) == 8


def test_attention_is_what_the_head_computes(run: Path) -> None:
    weights = run / "stages/a-1/student.safetensors"
    student, teacher = load_student(weights).eval(), find_teacher("teacher.yaml", [])
    head: Any = load_heads(weights)["fea"]
    image = MiniCity("game", 1).image(0)
    found = look(student, teacher, head, stacked([image], student), stacked([image], teacher))
    with torch.no_grad():
        tokens = student.tokens(stacked([image], student)).patches
        keys = teacher.tokens(stacked([image], teacher)).patches
        expected = torch.softmax(head.proj_q(tokens) @ keys.transpose(1, 2), dim=-1)[0]
    torch.testing.assert_close(found.attention, expected, rtol=1e-4, atol=1e-6)
    assert found.attention.sum(-1).tolist() == pytest.approx([1.0] * 16)
    assert found.similarity.diagonal().tolist() == pytest.approx([1.0] * 16)


def test_similarity_by_domain(run: Path) -> None:
    rows, record = inspected("similarity", str(run / "stages/a-1"), "--data", "data.yaml", "--count", "4")
    assert len(rows) == 2 * 5 * 3  # domains, student's layers, teacher's layers
    assert all(0 <= float(row["cka"]) <= 1 for row in rows)
    assert set(record["last_layer"]["gkd"]) == {"game", "night"}


def test_an_encoder_is_similar_to_itself(run: Path) -> None:
    encoder = load_student(run / "stages/a-1").eval()
    found = similarity(encoder, encoder, {"game": MiniCity("game", 6), "night": MiniCity("night", 6)}, 6)
    for each in found.values():
        assert each.cka.diagonal().tolist() == pytest.approx([1.0] * 5)
        torch.testing.assert_close(each.cka, each.cka.T)
        assert each.cosine > 0.98  # a map fitted on the source holds elsewhere, for it is the identity


@pytest.mark.parametrize("where", [["{}"], ["{}/stages/a-1", "{}/stages/task-1"]], ids=["own heads", "read-out"])
def test_gradients_of_checkpoints(run: Path, where: list[str]) -> None:
    places = [place.format(run) for place in where]
    rows, record = inspected("gradients", *places, "--data", "data.yaml", "--count", "5")
    assert record["task_loss"] == ("head" if len(where) == 1 else "readout")
    assert {row["part"] for row in rows} == {"encoder", "patch_embedding", *(f"block_{index}" for index in range(4))}
    assert all(-1 <= float(row["cosine"]) <= 1 for row in rows)
    assert (record["domain"], record["images"], len(record["cosine"])) == ("game", 5, 2)


def test_gradients_of_a_head_of_another_kind(run: Path) -> None:
    folder = artefacts.segmenter(run / "linear", width=16, head=LinearHead())
    source, teacher = Source("x", folder / "segmenter.safetensors"), find_teacher("teacher.yaml", [])
    found = checkpoint_conflict(source, teacher, Images(MiniCity("game", 4), [0, 1, 2, 3]), "head")
    assert found["encoder"].task_norm > 0


def test_a_checkpoints_gradients_do_not_depend_on_batches(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, teacher = Source("x", run / "stages/a-1/student.safetensors"), find_teacher("teacher.yaml", [])
    images = Images(MiniCity("game", 6), list(range(6)))
    found = checkpoint_conflict(source, teacher, images, "readout")
    monkeypatch.setattr("gkd_lightning.inspection.gradients.BATCH", 2)
    again = checkpoint_conflict(source, teacher, images, "readout")
    for part, each in found.items():
        assert again[part] == pytest.approx(tuple(each), rel=1e-3), part


def test_a_distillation_to_itself_has_no_gradient(run: Path) -> None:
    """The best line from an encoder's tokens to themselves leaves (up to the ridge) no error to descend on."""
    source = Source("x", run / "stages/a-1/student.safetensors")
    images = Images(MiniCity("game", 4), list(range(4)))
    other, same = (
        checkpoint_conflict(source, teacher, images, "readout")["encoder"].distillation_norm
        for teacher in (find_teacher("teacher.yaml", []), load_student(source.weights).eval())
    )
    assert same < 0.05 * other


def test_cosine_over_training(run: Path) -> None:
    rows = [
        {"step": step, "conflict/cosine": cosine, "conflict/block_0/cosine": 0.5, "conflict/norm_task": 2.0,
         "conflict/norm_distillation": 1.0}
        for step, cosine in ((0, 0.2), (10, -0.4))
    ]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in [*rows, {"step": 10, "train/loss": 3.0}])
    (run / "stages/task-2/metrics.jsonl").write_text(lines)
    assert main(["inspect", "gradients", str(run), f"again={run / 'stages/task-2'}", "--out", "out"]) == 0
    record = json.loads(Path("out/conflict.json").read_text())
    assert list(record) == ["mse", "again"]
    assert record["mse"]["mean_cosine"] == pytest.approx(-0.1)
    assert record["mse"]["share_below_zero"] == 0.5
    whole = [row for row in table(Path("out/conflict.csv")) if (row["training"], row["part"]) == ("mse", "encoder")]
    assert [(row["step"], float(row["cosine"])) for row in whole] == [("0", 0.2), ("10", -0.4)]


def test_one_of_several_teachers_is_looked_at_by_its_name(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path("other")
    other.mkdir()
    teachers = {"near": Path("teacher.yaml"), "far": artefacts.teacher_yaml(other)}
    folder = artefacts.student_of_two(run / "stages/both", teachers)
    sources = find_sources([str(folder)])
    assert find_teacher("far", sources).spec.weights == str(Path("other/teacher/student.safetensors"))
    assert find_teacher("near", sources).image_size == (48, 48)
    with pytest.raises(UserError, match="several teachers; add --teacher with one of near, far"):
        find_teacher(None, sources)
    attention = ["attention", str(folder), "--data", "data.yaml", "--teacher"]
    assert inspected(*attention, "near")[0] != inspected(*attention, "far")[0]  # heads and scales of their own
    assert main(["inspect", *attention, "teacher.yaml", "--out", "x"]) == 2
    assert "--teacher teacher.yaml: the student learned from several; give one of near, far" in capsys.readouterr().err
    inspected("similarity", str(folder), "--data", "data.yaml", "--count", "4", "--teacher", "far")


def test_standardised_keys_are_what_the_head_has_learned_with(run: Path) -> None:
    folder = artefacts.student_of_two(run / "stages/both", {"near": Path("teacher.yaml")})
    heads, rules = load_aligned(folder / "student.safetensors")
    student, teacher = load_student(folder).eval(), find_teacher("near", find_sources([str(folder)]))
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    larger = torch.randint(0, 256, (1, 3, 48, 48), dtype=torch.uint8)
    found = look(student, teacher, heads["near/fea"], images, larger, rules["near"])  # type: ignore[arg-type]
    keys = rules["near"](resize_tokens(teacher.tokens(larger), (4, 4))).patches
    expected = heads["near/fea"](student.tokens(images).patches, keys).attention
    assert expected is not None
    torch.testing.assert_close(found.attention, expected[0].mean(0))
