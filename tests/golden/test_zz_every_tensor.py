"""The meta-test: a fixture tensor that no test looked at is a hole in the parity claim."""

import pytest
from safetensors import safe_open

from tests.golden import harness


def test_every_tensor_of_every_fixture_was_compared(request: pytest.FixtureRequest) -> None:
    collected = {item.path.name for item in request.session.items if item.path.parent == harness.FIXTURES.parent}
    everything = {path.name for path in harness.FIXTURES.parent.glob("test_*.py")}
    if collected != everything or request.config.getoption("keyword"):
        pytest.skip("needs all golden tests in one session")
    missed = []
    for path in sorted(harness.FIXTURES.glob("*.safetensors")):
        with safe_open(path, "pt") as handle:
            for key in handle.keys():  # noqa: SIM118
                where = (path.stem, key)
                if where not in harness.used_inputs and where not in harness.compared:
                    missed.append("/".join(where))
    missed += [path.name for path in sorted(harness.FIXTURES.glob("*.json")) if path.name not in harness.json_read]
    assert not missed, f"{len(missed)} fixture tensors were never used: {missed[:20]}"
    assert len(harness.compared) > 500, "hardly anything was compared; are the golden tests really running?"
