"""What the documents tell a user to type is accepted as it stands."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from gkd_lightning.chain import cost
from gkd_lightning.chain.execution import check_plan
from gkd_lightning.chain.plan import make_plan
from gkd_lightning.chain.required_data import data_needed, require_data
from gkd_lightning.cli import main
from gkd_lightning.distill import QuerySoftDistillation, load_heads
from gkd_lightning.evaluate import Results
from gkd_lightning.recipes.recipe_reader import load_recipe, shipped_recipes
from gkd_lightning.segment import PixelLosses

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/benchmarks").glob("*.md")),
    *sorted(ROOT.glob("experiments/*/*.md")),
]


def test_the_recipe_for_own_data_composes(tmp_path: Path) -> None:
    text = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in blocks] == ["proxy.yaml", "source.yaml", "targets.yaml", "mine.yaml"]
    for name, content in blocks:
        (tmp_path / name).write_text(content)
    plan = make_plan(load_recipe(str(tmp_path / "mine.yaml")), tmp_path / "out")
    assert [stage.name for stage in plan.stages] == ["task_agnostic", "domain_agnostic", "task"]
    check_plan(plan)


def written(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a page, by name, in `folder`, which is the working folder from now on."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", text, re.DOTALL))
    for name, content in blocks.items():
        (folder / name).write_text(content)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return blocks


def test_the_recipe_of_imitated_segments_composes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("panoptic.md", tmp_path, monkeypatch)
    page = (ROOT / "docs/panoptic.md").read_text(encoding="utf-8")
    for command in re.findall(r"^gkd (data (?:fake .*|check .*(?:folders_fake|coco_source).*))$", page, re.MULTILINE):
        few = ["--images", "2", "--width", "128", "--height", "96"] if " fake " in f" {command}" else []
        assert main([*shlex.split(command), *few]) == 0
    plan = make_plan(load_recipe("mine.yaml"), tmp_path / "out")
    check_plan(plan)
    require_data(data_needed([plan]))
    (stage,) = plan.stages
    assert stage.what.panoptic


def two_steps(*stages: str) -> list[str]:
    """Options of `gkd run` that leave two steps of every stage and two images of every domain."""
    settings = ["trainer.log_every_n_steps=1", "trainer.limit_val_batches=1"]
    for stage in stages:
        settings += [f"{stage}:trainer.max_steps=2", f"{stage}:data.dataset.size=16"]
    settings += [f"evaluate:data.domains.{name}.size=2" for name in ("game", "day", "night", "fog", "rain", "snow")]
    return [f"--set={setting}" for setting in settings]


def code_lines(content: str) -> int:
    return sum(bool(line.strip()) for line in content.splitlines())


@pytest.mark.slow
def test_a_method_of_thirty_lines_trains_and_hands_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = written("new_method.md", tmp_path, monkeypatch)
    assert list(blocks) == [
        "my_methods.py", "attention_transfer.yaml", "relations.yaml", "mine.yaml", "my_parts.py", "my_parts.yaml",
        "parts.yaml",
    ]  # fmt: skip
    options = two_steps("task_agnostic", "task", "joint")
    assert main(["run", "mine.yaml", "--methods", "attention_transfer,relations", *options]) == 0
    for stage, term in (("joint", "attention"), ("task_agnostic", "relations")):
        (log,) = tmp_path.glob(f"runs/mine/stages/{stage}-*/metrics.jsonl")
        assert f'"train/{term}"' in log.read_text(encoding="utf-8")
    results = Results.load(tmp_path / "runs/mine/results.json")
    assert [run.method for run in results.runs] == ["attention_transfer", "relations"]


@pytest.mark.slow
def test_parts_of_gkd_of_ten_lines_train_and_leave_their_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = written("new_method.md", tmp_path, monkeypatch)
    for part in blocks["my_parts.py"].split("class ")[1:]:
        assert code_lines(part) <= 10
    command = ["run", "parts.yaml", "--methods", "parts,cosine", *two_steps("task_agnostic", "domain_agnostic", "task")]
    assert main(command) == 0
    students = tmp_path.glob("runs/parts/stages/task_agnostic-*/student.safetensors")
    mine, qsd = sorted((load_heads(student) for student in students), key=lambda heads: type(heads["fea"]).__name__)
    assert set(mine) == {"fea", "patch", "token"}
    for head in mine.values():
        assert head.record == {"class_path": "my_parts.Bottleneck", "init_args": {"width": 32}}
    assert isinstance(qsd["fea"], QuerySoftDistillation)


@pytest.mark.slow
def test_a_head_of_forty_lines_is_trained_judged_and_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a linear one beside it, a fragment that ships."""
    blocks = written("new_head.md", tmp_path, monkeypatch)
    assert list(blocks) == ["my_head.py", "focal_head.yaml", "mine.yaml"]
    assert code_lines(blocks["my_head.py"]) < 40
    command = ["run", "mine.yaml", "--methods", "focal,linear", *two_steps("task")]
    assert main([*command, "--dry-run"]) == 0
    assert main([*command, "--set", "task:model.head.width=32"]) == 2  # a linear head has none
    assert main(command) == 0
    results = Results.load(tmp_path / "runs/mine/results.json")
    assert [run.method for run in results.runs] == ["focal", "linear"]
    (tmp_path / "photographs").mkdir()
    cv2.imwrite(str(tmp_path / "photographs/one.png"), np.zeros((40, 56, 3), np.uint8))
    heads = {}
    for path in sorted(tmp_path.glob("runs/mine/stages/task-*")):
        head = json.loads((path / "segmenter.json").read_text(encoding="utf-8"))["head"]
        heads[head["class_path"]] = head["init_args"]
        out = tmp_path / "predicted" / path.name
        assert main(["predict", "--ckpt", str(path), "--images", "photographs", "--out", str(out)]) == 0
        assert cv2.imread(str(out / "ids/one.png"), cv2.IMREAD_GRAYSCALE).shape == (40, 56)
    assert heads == {
        "my_head.FocalHead": {"width": 64, "gamma": 1.0},
        "gkd_lightning.segment.linear_head.LinearHead": {"level": 0, "losses": asdict(PixelLosses())},
    }


@pytest.mark.slow
def test_a_teacher_of_fifteen_lines_teaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = written("new_teacher.md", tmp_path, monkeypatch)
    assert list(blocks) == ["my_teacher.py", "my_teacher.yaml", "mine.yaml"]
    assert code_lines(blocks["my_teacher.py"].partition("class ")[2]) <= 15
    command = ["run", "mine.yaml", "--methods", "gkd", *two_steps("task_agnostic", "task")]
    assert main([*command, "--dry-run"]) == 0
    (stage,) = re.findall(r"^task_agnostic-\w+", capsys.readouterr().out, re.MULTILINE)
    assert main([*command, "--only", stage]) == 0
    (log,) = tmp_path.glob("runs/mine/stages/task_agnostic-*/metrics.jsonl")
    assert '"train/fea"' in log.read_text(encoding="utf-8")


def test_the_methods_of_the_example_have_thirty_lines() -> None:
    text = (ROOT / "docs/new_method.md").read_text(encoding="utf-8")
    code = text.partition("# my_methods.py\n")[2].partition("```")[0]
    first, second = code.split("class Relations", 1)
    assert code_lines(first) <= 30
    assert code_lines(second) <= 30


def test_the_recipe_of_the_recipes_page_composes(tmp_path: Path) -> None:
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    ((name, content),) = re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", text, re.DOTALL)
    (tmp_path / name).write_text(content)
    plan = make_plan(load_recipe(str(tmp_path / name)), tmp_path / "out")
    check_plan(plan)
    assert [(run.method.id, run.seed) for run in plan.runs] == [("gkd", 0), ("mse", 0), ("gkd", 1), ("mse", 1)]


def test_the_recipe_for_another_axis_composes(tmp_path: Path) -> None:
    text = (ROOT / "docs/ablation.md").read_text(encoding="utf-8")
    ((name, content),) = re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", text, re.DOTALL)
    (tmp_path / name).write_text(content)
    plan = make_plan(load_recipe(str(tmp_path / name)), tmp_path / "out")
    check_plan(plan)
    assert len(plan.runs) == 4
    assert len({run.stages[0].hash for run in plan.runs}) == 4  # every row differs in 1a


def test_the_ablations_page_says_what_is_published() -> None:
    text = (ROOT / "docs/ablation.md").read_text(encoding="utf-8")
    said = {row: float(mean) for row, mean in re.findall(r"^\| `(\w+)` \|.* \| ([\d.]+) \|$", text, re.MULTILINE)}
    methods = load_recipe("ablation/gtav").methods
    assert said == {method.id: method.published["mean"] for method in methods}
    axes = set(re.findall(r"^\| `(minicity/axes/\w+)` \|", text, re.MULTILINE))
    assert axes == {name for name in shipped_recipes() if name.startswith("minicity/axes/")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_recipes_and_fragments_that_documents_name_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"gkd run ([\w/]+)", text):
        assert name in ("mine", "RECIPE", "mine/recipe") or name in shipped_recipes(), name
    for name in re.findall(r"`((?:stage|geometry|data|teacher|student|method|trainer)/\w+\.yaml)`", text):
        assert (ROOT / "configs" / name).is_file(), name


def test_the_benchmarks_pages_say_what_recipes_and_data_sets_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(ROOT / "docs")
    import benchmark_pages

    recipes = {name.partition("/")[2] for name in shipped_recipes() if name.startswith(("f2l/", "f2f/"))}
    assert set(benchmark_pages.BENCHMARKS) == recipes
    for name in benchmark_pages.BENCHMARKS:
        text = (benchmark_pages.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert text == benchmark_pages.page(name), f"{name}.md is old: python docs/benchmark_pages.py"


def commands(*verbs: str) -> list[str]:
    """Lines of the documents' shell blocks that start with one of the verbs; continued lines are joined."""
    blocks = "\n".join(
        block
        for document in DOCUMENTS
        for block in re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    )
    lines = blocks.replace("\\\n", " ").splitlines()
    return sorted({line for line in lines if line.startswith(verbs) and "$" not in line})


def plain(line: str) -> str:
    """Without comment, further spaces and `--dry-run`, which all of them get."""
    return shlex.join(word for word in shlex.split(line, comments=True) if word != "--dry-run")


PLANNED = sorted(
    {plain(line) for line in commands("gkd run ") if not line.startswith(("gkd run mine", "gkd run RECIPE"))}
)


def test_there_is_something_to_plan() -> None:
    assert sum(line.startswith("gkd run f2l/gtav") and "--set" in line for line in PLANNED) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("line", PLANNED)
def test_what_is_to_be_run_can_be_planned(
    line: str,
    tmp_path: Path,
    empty_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GKD_DATA", str(empty_data))
    monkeypatch.setenv("EFFICIENTNET_LITE2", str(empty_data / "teacher.safetensors"))
    monkeypatch.setattr(cost, "stage_cost", lambda stage: None)  # counted in tests/chain/test_cost.py
    words = shlex.split(line)[1:]
    for option, count in (("--probe", 2), ("--fit-batch", 1), ("--memory", 2)):  # these train, and plan the same
        if option in words:
            del words[words.index(option) : words.index(option) + count]
    status = main([*words, "--dry-run", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert "task" in printed.out
    assert not (tmp_path / "out").exists()


def test_the_tests_that_promises_name_are_there() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    cells = re.findall(r"\[(`test_[^\]]*)\]\(\.\./(\S+\.py)\)", text)
    assert len(cells) > 15
    for names, file in cells:
        written = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(test_\w+)`", names):
            assert f"def {name}(" in written, name


def test_the_recipe_of_two_teachers_composes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = written("several_teachers.md", tmp_path, monkeypatch)
    assert list(blocks) == ["mine.yaml", "relations.yaml"]
    assert code_lines(blocks["mine.yaml"]) < 40
    method = "- method/gkd_scaled.yaml\n"
    for added in ("", "          - relations.yaml\n"):
        (tmp_path / "mine.yaml").write_text(blocks["mine.yaml"].replace(method, method + added))
        plan = make_plan(load_recipe("mine.yaml"), tmp_path / "out")
        assert list(plan.stages[-2].what.teachers) == ["near", "wide"]
        check_plan(plan)
        assert cost.stage_cost(plan.stages[-2]) is not None
