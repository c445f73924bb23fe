"""Help comes at once, and typing mistakes get the nearest word."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gkd_lightning.cli import VERBS, main

HEAVY = ("torch", "lightning", "timm", "transformers", "numpy", "cv2", "matplotlib", "jsonargparse")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom gkd_lightning.cli import main\nassert main(['--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert all(verb in done.stdout for verb in VERBS)


def test_help_takes_less_than_a_second_warm() -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gkd_lightning.cli", "--help"], capture_output=True, check=True)
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(4)) < 1.0


@pytest.mark.parametrize(
    "verb", ["run", "demo", "data", "report", "list", "predict", "reproduce", "weights", "table", "inspect"]
)
def test_every_verb_of_ours_has_help_without_torch(verb: str) -> None:
    program = (
        "import sys\nfrom gkd_lightning.cli import main\n"
        f"try:\n    status = main([{verb!r}, '--help'])\nexcept SystemExit as end:\n    status = end.code\n"
        "assert not status and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "usage: gkd" in done.stdout


@pytest.mark.parametrize("action", ["gradients", "features", "attention", "similarity"])
def test_every_instrument_has_help_without_torch(action: str) -> None:
    program = (
        "import sys\nfrom gkd_lightning.cli import main\n"
        f"try:\n    main(['inspect', {action!r}, '--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"usage: gkd inspect {action}" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("what", ["teachers", "students", "methods", "datasets", "recipes"])
def test_lists_name_what_ships(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines), "every entry explains itself"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from gkd_lightning import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_reader_that_leaves_early_is_no_mistake() -> None:
    command = f"{sys.executable} -m gkd_lightning.cli data list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("imagenet")
