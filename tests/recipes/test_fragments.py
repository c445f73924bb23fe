"""Fragments merge, mount, change and hash as a reader of a recipe expects."""

from pathlib import Path

import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.recipes.fragments import compose, get_value, merge, mount, set_value
from gkd_lightning.recipes.yaml_text import interpolate, parse_yaml, read_yaml


def test_mappings_merge_and_lists_replace() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 3}
    assert merge(base, {"a": {"y": [5], "z": 2}}) == {"a": {"x": 1, "y": [5], "z": 2}, "b": 3}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 3}


def test_a_changed_class_drops_the_old_arguments() -> None:
    base = {"model": {"class_path": "A", "init_args": {"alpha": 1}}}
    same = merge(base, {"model": {"class_path": "A", "init_args": {"beta": 2}}})
    other = merge(base, {"model": {"class_path": "B", "init_args": {"beta": 2}}})
    bare = merge({"head": {"queries": 5}}, {"head": {"class_path": "B", "init_args": {"beta": 2}}})
    assert bare == {"head": {"class_path": "B", "init_args": {"beta": 2}}}
    assert same["model"]["init_args"] == {"alpha": 1, "beta": 2}
    assert other["model"]["init_args"] == {"beta": 2}


def test_a_dotted_key_steps_into_init_args() -> None:
    config = {"model": {"class_path": "A", "init_args": {"teacher": {"name": "t"}}}}
    set_value(config, "model.alpha", 0.5)
    set_value(config, "model.teacher.weights", "w")
    set_value(config, "model.init_args.beta", 2)
    set_value(config, "trainer.max_steps", 3)
    mount(config, "model.teacher", {"image_size": 96})
    assert config["model"]["init_args"] == {
        "teacher": {"name": "t", "weights": "w", "image_size": 96}, "alpha": 0.5, "beta": 2,
    }  # fmt: skip
    assert config["trainer"] == {"max_steps": 3}
    assert get_value(config, "model.teacher.weights") == "w"
    assert get_value(config, "model.nothing.here", "default") == "default"


@pytest.mark.parametrize("key", ["seed.x", "model..alpha", ""])
def test_a_key_that_cannot_be_set_is_named(key: str) -> None:
    with pytest.raises(UserError, match=r"seed\.x|model\.\.alpha|''"):
        set_value({"seed": 1, "model": {}}, key, 1)


def test_fragments_come_from_the_recipes_folder_first(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("trainer: {max_steps: 1e3}\n")
    assert compose(["own.yaml"], beside=tmp_path) == {"trainer": {"max_steps": 1000.0}}
    mounted = compose([{"model.teacher": "own.yaml"}], beside=tmp_path, base={"model": {"class_path": "A"}})
    assert mounted["model"]["init_args"]["teacher"] == {"trainer": {"max_steps": 1000.0}}


def test_the_working_folder_is_for_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that happens to lie there does not take the place of one beside the recipe, or of a shipped one."""
    here, recipe = tmp_path / "here", tmp_path / "recipe"
    for folder, steps in ((here, 1), (recipe, 2)):
        (folder / "trainer").mkdir(parents=True)
        (folder / "own.yaml").write_text(f"trainer: {{max_steps: {steps}}}\n")
    (here / "trainer/cpu.yaml").write_text("trainer: {accelerator: mine}\n")
    monkeypatch.chdir(here)
    assert compose(["own.yaml"], beside=recipe)["trainer"]["max_steps"] == 2
    assert compose(["own.yaml"])["trainer"]["max_steps"] == 1
    assert compose(["trainer/cpu.yaml"], beside=recipe)["trainer"]["accelerator"] == "cpu"
    assert compose(["trainer/cpu.yaml"])["trainer"]["accelerator"] == "mine"


def test_a_missing_fragment_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"teacher/dinovv2_l\.yaml.*did you mean 'teacher/dinov2_l\.yaml'"):
        compose(["teacher/dinovv2_l.yaml"])


def test_yaml_numbers_and_duplicate_keys(tmp_path: Path) -> None:
    assert parse_yaml("[1e-4, 1.0e-4, .5, 3, -2E5, 1.2.3, e5]") == [1e-4, 1e-4, 0.5, 3, -2e5, "1.2.3", "e5"]
    path = tmp_path / "twice.yaml"
    path.write_text("trainer:\n  devices: 1\n  devices: 2\n")
    with pytest.raises(UserError, match=r"twice\.yaml: line 3.*'devices' is written twice"):
        read_yaml(path)


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GKD_DATA", "/data")
    monkeypatch.delenv("GKD_NOWHERE", raising=False)
    assert interpolate({"root": "${env:GKD_DATA}/camvid", "n": 1}) == {"root": "/data/camvid", "n": 1}
    with pytest.raises(UserError, match=r"data\.roots\[1\]: \$\{env:GKD_NOWHERE\} needs the environment variable"):
        interpolate({"data": {"roots": ["a", "${env:GKD_NOWHERE}/x"]}})
