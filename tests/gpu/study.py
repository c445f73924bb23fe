"""Short trainings as a chain builds them: real timm models on a card, toys of the same kind on a CPU."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.chain import Plan, make_plan, read_metrics, run_stages
from gkd_lightning.recipes import load_recipe

Curves = dict[str, list[float]]
"""``train/loss`` of every step, by stage."""

STEPS = 8
SIZES = {
    "small": {
        "TEACHER": "{name: vit_small_patch16_224, image_size: 96, patch_size: 8}",
        "STUDENT": "{name: vit_tiny_patch16_224, image_size: 96, patch_size: 8}",
        "HEAD": "{hidden_dim: 64, encoder_layers: 2, decoder_layers: 3, heads: 4, encoder_ffn: 128, decoder_ffn: 128, "
        "queries: 20, points: 384}",
        "SIDE": "96",
    },
    "tiny": {
        "TEACHER": "{name: vit_tiny_patch16_224, image_size: 32, patch_size: 8, options: {embed_dim: 48, depth: 4, "
        "num_heads: 2}}",
        "STUDENT": "{name: vit_tiny_patch16_224, image_size: 32, patch_size: 8, options: {embed_dim: 32, depth: 4, "
        "num_heads: 2}}",
        "HEAD": "{hidden_dim: 32, encoder_layers: 1, decoder_layers: 2, heads: 4, encoder_ffn: 32, decoder_ffn: 32, "
        "queries: 10, points: 64}",
        "SIDE": "32",
    },
}
RATE = {"small": "2.0e-4", "tiny": "1.0e-3"}
FILES = {
    "trainer.yaml": """
trainer: {max_epochs: -1, devices: 1, enable_progress_bar: false, log_every_n_steps: 1}
resume_every: 3
""",
    "distill.yaml": """
model:
  class_path: gkd_lightning.distill.DomainGeneralDistillation
  init_args: {teacher: TEACHER, student: STUDENT, schedule: step, reference_batch_size: null, lr: RATE,
              ema_decay: 0.9}
""",
    "proxy.yaml": """
data:
  class_path: gkd_lightning.data.ProxyDataModule
  init_args:
    dataset: {class_path: gkd_lightning.data.MiniCityShapes, init_args: {size: 20}}
    image_size: SIDE
    batch_size: 4
""",
    "source.yaml": """
data:
  class_path: gkd_lightning.data.SourceDataModule
  init_args:
    dataset: {class_path: gkd_lightning.data.MiniCity, init_args: {style: game, size: 20}}
    view: segmentation
    image_size: SIDE
    batch_size: 4
""",
    "task.yaml": """
model:
  class_path: gkd_lightning.segment.TaskLearning
  init_args: {encoder: STUDENT, num_classes: 8, window: SIDE, stride: SIDE, lr: RATE, head: HEAD}
""",
    "single.yaml": """
model:
  class_path: gkd_lightning.baselines.SingleStageDistillation
  init_args: {encoder: STUDENT, teacher: TEACHER, num_classes: 8, window: SIDE, stride: SIDE, lr: RATE, head: HEAD,
              freeze_encoder: false}
""",
    "study.yaml": """
name: study
common: {configs: [trainer.yaml]}
methods:
  gkd:
    title: GKD
    stages:
      - {name: task_agnostic, configs: [distill.yaml, proxy.yaml]}
      - {name: domain_agnostic, configs: [distill.yaml, source.yaml],
         set: {model.stage: domain_agnostic, data.view: distillation}}
      - {name: task, configs: [task.yaml, source.yaml]}
  single:
    title: Single stage
    stages:
      - {name: single, configs: [single.yaml, source.yaml]}
""",
}


def plan(folder: Path, device: str, precision: str, size: str, only: str | None = None, **settings: object) -> Plan:
    """A study in a folder of its own.

    Args:
        folder: made if need be.
        device: ``cuda`` or ``cpu``.
        precision: of Lightning's trainer.
        size: one of `SIZES`.
        only: name of a stage that has no parents; None for all.
        settings: further ``key=value``, with ``__`` for the dots; nothing is compiled unless they say so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        for word, value in {**SIZES[size], "RATE": RATE[size]}.items():
            text = text.replace(word, value)
        (folder / name).write_text(text)
    common = {
        "trainer.accelerator": "gpu" if device == "cuda" else "cpu", "trainer.precision": precision,
        "trainer.max_steps": STEPS, "data.num_workers": 0, "model.compile": False,
    }  # fmt: skip
    common |= {key.replace("__", "."): value for key, value in settings.items()}
    made = make_plan(load_recipe(str(folder / "study.yaml")), folder / "out", list(common.items()))
    stages = tuple(stage for stage in made.stages if only in (None, stage.name))
    assert stages
    return Plan(made.recipe, made.out, stages, made.runs, made.evaluation)


def curves(made: Plan) -> Curves:
    """Of the stages that have been trained."""
    return {
        stage.name: [row["train/loss"] for row in read_metrics(stage.directory / "metrics.jsonl")]
        for stage in made.stages
    }


def trained(made: Plan) -> Curves:
    """Train all stages of a plan; their losses."""
    run_stages(made)
    return curves(made)
