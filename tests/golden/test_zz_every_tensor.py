"""The meta-test: an expected tensor that no test compared is a hole in the parity claim."""

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
    used, compared = ({tuple(where) for where in seen[kind]} for kind in ("inputs", "compared"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted(manifest) == sorted(path.stem for path in harness.FIXTURES.glob("*.safetensors"))
    problems = []
    for name, kinds in manifest.items():
        inputs, expected, elsewhere = (set(kinds.get(kind, ())) for kind in ("inputs", "expected", "elsewhere"))
        with safe_open(harness.FIXTURES / f"{name}.safetensors", "pt") as handle:
            problems += [
                f"{name}/{key}: not as in the manifest" for key in set(handle.keys()) ^ inputs ^ expected ^ elsewhere
            ]
        problems += [f"{name}/{key}: not compared" for key in expected if (name, key) not in compared]
        problems += [f"{name}/{key}: not used" for key in inputs if (name, key) not in used]
    unread = {path.name for path in harness.FIXTURES.glob("*.json")} - set(seen["json"])
    assert not problems, f"{len(problems)} fixture tensors: {sorted(problems)[:20]}"
    assert not unread
