"""What hundreds of bad numbers and files get: status 2, one line that names the key or file, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENOUGH = 200


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_line_for_every_kind_of_bad_number_and_file(tmp_path: Path) -> None:
    """In a process of its own, for it forks: in this one other threads may hold locks."""
    command = [sys.executable, "-m", "tests.cli.warm", str(tmp_path / "found.json")]
    root = Path(__file__).parents[2]
    subprocess.run([*command, "tests.cli.bad_numbers", "tests.cli.bad_files"], cwd=root, check=True)
    found = json.loads((tmp_path / "found.json").read_text())
    wrong = [f"{case['name']}: {case['problem']}: {case['lines'][-1:]}" for case in found if case["problem"]]
    assert not wrong, "\n".join(wrong)
    assert sum(not case["accepted"] for case in found) >= ENOUGH
