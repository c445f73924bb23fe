"""A study of tiny real stages on MiniCity, and processes that die in the middle of it."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch

from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.recipes.recipe_reader import load_recipe

ENCODER = (
    "{name: vit_tiny_patch16_224, image_size: 32, patch_size: 8, options: {embed_dim: 32, depth: 4, num_heads: 2}}"
)
FILES = {
    "trainer.yaml": """
trainer: {max_epochs: -1, accelerator: cpu, devices: 1, enable_progress_bar: false, log_every_n_steps: 1}
resume_every: 3
""",
    "distill.yaml": f"""
model:
  class_path: gkd_lightning.distill.DomainGeneralDistillation
  init_args:
    teacher: {ENCODER}
    student: {ENCODER}
    schedule: step
    reference_batch_size: null
    lr: 1.0e-3
""",
    "proxy.yaml": """
data:
  class_path: gkd_lightning.data.ProxyDataModule
  init_args:
    dataset: {class_path: gkd_lightning.data.MiniCityShapes, init_args: {size: 20}}
    image_size: 32
    batch_size: 4
""",
    "source.yaml": """
data:
  class_path: gkd_lightning.data.SourceDataModule
  init_args:
    dataset: {class_path: gkd_lightning.data.MiniCity, init_args: {style: game, size: 20}}
    view: distillation
    image_size: 32
    batch_size: 4
""",
    "task.yaml": f"""
model:
  class_path: gkd_lightning.segment.TaskLearning
  init_args:
    encoder: {ENCODER}
    num_classes: 8
    head: {{hidden_dim: 32, encoder_layers: 1, decoder_layers: 1, heads: 4, encoder_ffn: 32, decoder_ffn: 32,
           queries: 10, points: 64}}
    window: 32
    stride: 32
    lr: 1.0e-3
""",
    "targets.yaml": """
trainer: {accelerator: cpu, devices: 1}
data:
  class_path: gkd_lightning.data.TargetDataModule
  init_args:
    seen: [game]
    domains:
      game: {class_path: gkd_lightning.data.MiniCity, init_args: {style: game, size: 3, offset: 100}}
      night: {class_path: gkd_lightning.data.MiniCity, init_args: {style: night, size: 3, offset: 100}}
    protocol: {resize: exact, size: [32, 32]}
""",
    "study.yaml": """
name: study
common:
  configs: [trainer.yaml]
  set: {trainer.max_steps: 13, data.num_workers: 2}
methods:
  gkd:
    title: GKD
    stages:
      - {name: task_agnostic, configs: [distill.yaml, proxy.yaml]}
      - {name: domain_agnostic, configs: [distill.yaml, source.yaml], set: {model.stage: domain_agnostic}}
      - {name: task, configs: [task.yaml, source.yaml], set: {data.view: segmentation}}
  none:
    title: No distillation
    role: none
    stages:
      - {name: task, configs: [task.yaml, source.yaml], set: {data.view: segmentation, model.freeze_encoder: false}}
evaluate: {configs: [targets.yaml]}
""",
}

ONE_B = "set: {model.stage: domain_agnostic"


def write_study(folder: Path, several_sizes: bool = False) -> Path:
    """Write the fragments and the recipe; returns the recipe's path.

    With `several_sizes` stage 1a has a batch for each of two sizes, and stage 1b draws one of two sizes.
    """
    for name, text in FILES.items():
        if several_sizes and name == "proxy.yaml":
            text = text.replace("image_size: 32", "image_size: [32, 48]").replace("batch_size: 4", "batch_size: [8, 4]")
        if several_sizes and name == "study.yaml":
            text = text.replace(ONE_B, f"{ONE_B}, data.image_size: [32, 48]")
        (folder / name).write_text(text)
    return folder / "study.yaml"


def plan_study(recipe: Path, out: Path, method: str | None = "gkd", **settings: Any) -> Plan:
    """Plan of one method, or of all."""
    plan = make_plan(load_recipe(str(recipe)), out, [(key.replace("__", "."), item) for key, item in settings.items()])
    stages = tuple(stage for stage in plan.stages if method is None or method in stage.users)
    runs = tuple(run for run in plan.runs if method is None or run.method.id == method)
    return Plan(plan.recipe, plan.out, stages, runs, plan.evaluation)


def run_and_die(recipe: str, out: str, stage: str | None, moment: str, number: int) -> None:
    """Run the study; kill this process without warning in `stage`.

    Args:
        recipe: path of the recipe.
        out: folder of the results.
        stage: name of the stage to die in; None runs to the end.
        moment: ``step`` dies at the start of batch `number`, ``write`` in the middle of the `number`-th checkpoint.
        number: see `moment`.
    """
    multiprocessing.set_start_method("fork", force=True)  # for the loaders' workers
    torch.set_num_threads(1)
    if stage is not None:
        _arm(stage, moment, number)
    run_stages(plan_study(Path(recipe), Path(out)))


def _arm(stage: str, moment: str, number: int) -> None:
    from gkd_lightning.chain.callbacks import KeyedSteps
    from gkd_lightning.chain.callbacks import checkpoint as module

    usual_start, usual_save = KeyedSteps.on_train_batch_start, torch.save
    written = 0

    def start(self: KeyedSteps, trainer: L.Trainer, *rest: Any) -> None:
        if moment == "step" and f"/{stage}-" in str(trainer.default_root_dir) and trainer.global_step == number:
            os.kill(os.getpid(), signal.SIGKILL)
        usual_start(self, trainer, *rest)

    def save(checkpoint: Any, handle: io.BufferedWriter) -> None:
        nonlocal written
        written += f"/{stage}-" in handle.name
        if moment == "write" and written == number:
            whole = io.BytesIO()
            usual_save(checkpoint, whole)
            handle.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            handle.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        usual_save(checkpoint, handle)

    KeyedSteps.on_train_batch_start = start  # type: ignore[method-assign]
    module.torch.save = save  # type: ignore[assignment]
