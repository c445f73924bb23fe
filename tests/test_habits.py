"""What contributors rely on says the same everywhere: Makefile, pre-commit, workflows, the lock file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def recipe(target: str) -> list[str]:
    """Lines of a target's recipe; `$(BIN)` is written out."""
    (found,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found.splitlines()]


def test_hooks_are_the_linters_of_make_lint() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = [" ".join(hook["entry"].split()).removesuffix(" --force-exclude") for hook in local["hooks"]]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    assert hooks == [line.removesuffix(" .").removesuffix(" --check") for line in recipe("lint")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_the_makefile_has(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    targets = re.findall(r"make ([\w-]+)", " ".join(step.get("run", "") for step in steps))
    assert targets
    assert set(targets) <= set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()) | {"setup"}
    for step in steps:
        if "uses" in step:
            assert re.search(r"@(v\d+|release/v\d+)$", step["uses"]), step["uses"]


def test_every_python_that_is_promised_is_tested() -> None:
    (tests,) = [path for path in WORKFLOWS if path.stem == "tests"]
    job = yaml.safe_load(tests.read_text(encoding="utf-8"))["jobs"]["newest"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = job["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"]
    assert project["requires-python"] == f">={versions[0]}"
    said = {entry.rpartition(" ")[2] for entry in project["classifiers"] if re.search(r":: 3\.\d+$", entry)}
    assert said == set(versions)


def test_the_lock_satisfies_what_pyproject_asks() -> None:
    locked: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"([a-z0-9][a-z0-9-]*)==(\S+)(?: ; .+)?", line)
        assert found, line  # a pinned release, no index, no address
        locked.setdefault(found[1], set()).add(found[2])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    for text in asked:
        requirement = Requirement(text)
        versions = locked.get(re.sub(r"[-_.]+", "-", requirement.name).lower(), set())
        assert versions, f"{text}: make lock"
        assert all(version in requirement.specifier for version in versions), f"{text}: make lock"
