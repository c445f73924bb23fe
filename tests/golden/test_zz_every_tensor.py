"""The meta-test: a fixture tensor that no test looked at is a hole in the parity claim."""

import json
import os
import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

from tests.golden import harness


def test_every_tensor_of_every_fixture_was_compared(tmp_path: Path) -> None:
    """All golden tests once more in one process of their own, which writes down what they used and compared."""
    record = tmp_path / "record.json"
    folder = harness.FIXTURES.parent
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", str(folder)]
    result = subprocess.run(
        [*command, "--ignore", __file__],
        env={**os.environ, harness.RECORD: str(record)}, capture_output=True, text=True, cwd=folder.parents[1],
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    seen = json.loads(record.read_text())
    used = {tuple(where) for where in seen["inputs"]} | {tuple(where) for where in seen["compared"]}
    missed = []
    for path in sorted(harness.FIXTURES.glob("*.safetensors")):
        with safe_open(path, "pt") as handle:
            missed += [f"{path.stem}/{key}" for key in handle.keys() if (path.stem, key) not in used]  # noqa: SIM118
    missed += [path.name for path in sorted(harness.FIXTURES.glob("*.json")) if path.name not in seen["json"]]
    assert not missed, f"{len(missed)} fixture tensors were never used: {missed[:20]}"
    assert len(seen["compared"]) > 500, "hardly anything was compared; are the golden tests really running?"
