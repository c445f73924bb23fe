"""Help comes at once, and typing mistakes get the nearest word."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gkd_lightning.cli import VERBS, main
from gkd_lightning.recipes.fragments import compose
from gkd_lightning.recipes.yaml_text import dump_yaml

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
        subprocess.run([sys.executable, "-m", "gkd_lightning", "--help"], capture_output=True, check=True)
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(4)) < 1.0


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("fit", "validate", "test")])
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


def loaded_after(arguments: list[str], *names: str) -> list[str]:
    """Those of `names` that a command has imported, though they are installed."""
    program = (
        "import sys\nfrom gkd_lightning.cli import main\n"
        f"try:\n    status = main({arguments!r})\nexcept SystemExit as end:\n    status = end.code\n"
        f"assert not status\nprint([name for name in {names!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: list[str] = ast.literal_eval(done.stderr.splitlines()[-1])
    return found


def test_help_of_training_imports_lightning_and_no_model() -> None:
    """`gkd fit --help` takes as long as `lightning.pytorch.cli`, since it imports little else."""
    models = ("timm", "wandb", "albumentations", "cv2", "transformers.models.mask2former.modeling_mask2former")
    ours = [f"gkd_lightning.{name}" for name in ("baselines", "distill", "segment", "evaluate", "encoders")]
    ours += ["gkd_lightning.data.modules", "gkd_lightning.data.augment"]
    others = ("matplotlib.backends.backend_agg", "tifffile", "safetensors")
    expected = "lightning.pytorch.cli"
    assert loaded_after(["fit", "--help"], expected, *models, *ours, *others) == [expected]


def test_reading_data_needs_no_torch(tmp_path: Path) -> None:
    """Nor do the workers of `gkd data prepare`, each of which imports what reads the images."""
    heavy = ("torch", "lightning", "timm", "albumentations", "transformers")
    source, copy = str(tmp_path / "gtav"), str(tmp_path / "copy")
    assert loaded_after(["data", "fake", "gtav", source, "--images", "1"], "cv2", *heavy) == ["cv2"]
    assert loaded_after(["data", "prepare", "fast", "gtav", source, copy, "--workers", "0"], "cv2", *heavy) == ["cv2"]


def test_training_imports_what_it_uses(tmp_path: Path) -> None:
    """Stage 1's first step on MiniCity: no augmentation of stage 2, no report, no diagnostics."""
    config = tmp_path / "fit.yaml"
    networks = [{"model.teacher": "teacher/minicity.yaml"}, {"model.student": "student/minicity_tiny.yaml"}]
    config.write_text(dump_yaml(compose(["stage/task_agnostic_small.yaml", *networks, "data/minicity_proxy.yaml"])))
    command = ["fit", "--config", str(config), "--trainer.accelerator=cpu", "--trainer.max_steps=1"]
    command += ["--data.num_workers=0", "--data.batch_size=2", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    unused = ("albumentations", "matplotlib.backends.backend_agg", "gkd_lightning.baselines")
    unused += ("gkd_lightning.segment.head", "transformers.models.mask2former.modeling_mask2former")
    assert loaded_after(command, "timm", *unused) == ["timm"]
    assert (tmp_path / "run/student.safetensors").is_file()


@pytest.mark.parametrize("what", ["students", "heads", "methods", "datasets", "recipes"])  # teachers: below
def test_lists_name_what_ships(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines), "every entry explains itself"


def test_teachers_say_their_licence_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "teachers"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["licence", "commercial", "parameters", "patch", "size"]
    told = {row.split()[0]: row.split(maxsplit=1)[1] for row in rows}
    assert " ".join(told["teacher/mae_b.yaml"].split()).startswith(
        "CC-BY-NC-4.0 no 85.80 M 16 224 MAE ViT-B/16, masked"
    )
    assert " ".join(told["teacher/minicity.yaml"].split()).startswith("Apache-2.0 yes 2.29 M 8 96 MiniCity's own")
    assert " on its terms " in told["teacher/dinov3_s.yaml"]


def test_heads_say_their_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "heads"]) == 0
    assert "head/mask2former.yaml      19.91 M" in capsys.readouterr().out  # 19.91 in the paper's code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from gkd_lightning import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_reader_that_leaves_early_is_no_mistake() -> None:
    command = f"{sys.executable} -m gkd_lightning data list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("imagenet")
