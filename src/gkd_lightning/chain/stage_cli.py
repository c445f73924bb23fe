"""One training, validation or test run, described by configuration files and options: `gkd fit|validate|test`."""

from __future__ import annotations

import argparse
import pickle
import signal
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import lightning as L
import torch
import yaml
from jsonargparse.typing import PositiveInt
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from gkd_lightning.chain.callbacks import (
    AtomicCheckpointIO,
    BestOnSource,
    ExportArtefact,
    Float32Products,
    KeyedSteps,
    MatmulPrecision,
    OtherLayout,
    Progress,
    RunCosts,
    Selection,
    StopWithCheckpoint,
    WaitingForData,
    resume_checkpoint,
)
from gkd_lightning.chain.callbacks.saved_config import SavedConfig
from gkd_lightning.chain.lock import locked
from gkd_lightning.chain.logger import RunLogger, finish_wandb
from gkd_lightning.chain.protocol_answers import remember_protocols
from gkd_lightning.chain.provenance import git_commit, input_files, versions
from gkd_lightning.chain.quiet import quiet
from gkd_lightning.chain.resume import checkpoint_problem
from gkd_lightning.chain.stage import Layout, Stage
from gkd_lightning.chain.stage_options import config_files, nulls
from gkd_lightning.chain.strategy import SyncBatchNorm, check_strategy, strategy
from gkd_lightning.errors import UserError
from gkd_lightning.files import canonical_hash, write_json
from gkd_lightning.ranges import NO_NULL, check_numbers
from gkd_lightning.recipes import (
    arguments,
    changed,
    compose,
    dump_yaml,
    explain,
    interpolate,
    parse_dumped,
    parse_yaml,
    read_yaml,
    told_by_key,
)

COSTS = "costs.json"
Verb = Literal["fit", "validate", "test"]

_TRAINER_DEFAULTS = {
    "default_root_dir": "runs/fit",
    "logger": None,
    "num_sanity_val_steps": 0,  # a validation before the first step would cost time and draw random numbers
    "use_distributed_sampler": False,  # our loaders already give each rank its share of the global order
    "enable_model_summary": False,
    "log_every_n_steps": 10,
}
_ROOTS = {
    "trainer": L.Trainer,
    "model": L.LightningModule,
    "data": L.LightningDataModule,
    "seed_everything": int,
    "ckpt_path": str,
    "resume_every": int,
    "selection": str,
    "title": str,
    "float32_matmul_precision": str,
    "config": str,
}
"""Top-level keys of a configuration, with the class behind each section: candidates for the nearest key."""


def _load(text: str) -> Any:
    return interpolate(parse_yaml(text))


jsonargparse.set_loader("gkd", _load, (yaml.YAMLError,))
remember_protocols()


class StageCLI(LightningCLI):
    """Lightning's configurable command line, in subclass mode for model and data, without subcommands.

    Without subcommands a saved `config.yaml` is flat, and Lightning's habit of overwriting the model section with
    a checkpoint's hyper-parameters does not apply: the configuration says what is built.

    Args:
        args: command-line arguments, such as ``["--config", "a.yaml", "--model.alpha", "0.5"]``.
        verb: what the arguments will be used for.
    """

    builds = True
    """Whether model, data and trainer are built once the arguments are understood."""

    def __init__(self, args: list[str], verb: Verb = "fit") -> None:
        self.verb = verb
        self.export: ExportArtefact | None = None
        self.costs = RunCosts()
        quiet()
        torch.set_flush_denormal(True)  # saturated attention makes subnormals: 588 ms against 97 ms, measured
        super().__init__(
            model_class=L.LightningModule,
            datamodule_class=L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SavedConfig if verb == "fit" else None,
            trainer_defaults=_TRAINER_DEFAULTS,
            seed_everything_default=0,
            parser_kwargs={
                "prog": f"gkd {verb}",
                "description": "Run one stage. Options follow the configuration, such as --model.alpha 0.5.",
                "exit_on_error": False,
                "allow_abbrev": False,
                "parser_mode": "gkd",
            },
            auto_configure_optimizers=False,
            load_from_checkpoint_support=self.builds,  # ties the parser to what is built
            args=args,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own options beside Lightning's sections."""
        parser.add_argument("--ckpt_path", type=str, default=None, help="Lightning checkpoint to resume or to test.")
        parser.add_argument(
            "--resume_every", type=PositiveInt, default=500, help="Steps between two writes of resume.ckpt."
        )
        parser.add_argument(
            "--selection", type=Selection, default="last", help="Weights that are handed on: the last, or source-val."
        )
        parser.add_argument("--title", type=str, default=None, help="Name of the run in its progress lines.")
        parser.add_argument(
            "--float32_matmul_precision",
            type=MatmulPrecision | None,
            default=None,
            help="How fp32 matrices are multiplied: highest, high (TF32) or medium; null: high in mixed precision on "
            "CUDA, else highest.",
        )
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)  # one seed for all draws

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; every mistake becomes one line with the dotted key."""
        files, options = config_files(args)
        for path in files:
            if arguments(read_yaml(path), "data").get("seed") is not None:
                raise UserError(f"{path}: data.seed: follows seed_everything, set that instead")
        if any(item.split("=")[0] in ("--data.seed", "--data.init_args.seed") for item in args):
            raise UserError("--data.seed: follows seed_everything, set --seed_everything instead")
        with tempfile.TemporaryDirectory() as folder:
            cleared, others = nulls(options)
            if files and (cleared or len(files) > 1):  # by our rules: stage and data come in any order
                merged = Path(folder) / "merged.yaml"
                config = changed(compose(files), dict.fromkeys(cleared))
                merged.write_text(dump_yaml(config), encoding="utf-8")
                args = ["--config", str(merged), *others]
            args = [item.removesuffix("None") + "null" if item.endswith("=None") else item for item in args]  # W&B's
            try:
                self.config = parser.parse_args(args)
            except argparse.ArgumentError as error:
                raise UserError(explain(str(error), _ROOTS)) from error
        for name, value in vars(self.config).items():
            if value is None and parser.get_default(name) is not None:
                raise UserError(f"{name}: {NO_NULL}")
        check_numbers(self.config, _ROOTS)
        check_strategy(self.config["trainer"]["strategy"])
        if self.verb == "fit":
            Stage.read({"trainer": self.config["trainer"].as_dict()}).check()

    def instantiate_classes(self) -> None:
        """Build model, data and trainer."""
        if self.builds:
            with told_by_key(self.config.as_dict(), {"trainer": L.Trainer}):
                super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Add what every run has: keyed steps, costs, progress, metrics on disk, resumable and atomic files."""
        given = self.config_init["trainer"]
        layout = Layout.read({"trainer": given.as_dict()})
        layout.check_launcher()
        given["strategy"] = strategy(given["strategy"], layout.processes)
        directory = given["default_root_dir"]
        if str(given.get("precision")) in ("bf16-true", "16-true", "transformer-engine", "transformer-engine-float16"):
            raise UserError(f"trainer.precision: {given['precision']}: losses and statistics need fp32, use bf16-mixed")
        callbacks, title = _as_list(given.get("callbacks")), self.config_init["title"] or Path(directory).name
        if given.get("enable_progress_bar") in (None, True):
            callbacks.append(Progress(title))
        callbacks.append(Float32Products(self.config_init["float32_matmul_precision"]))
        if self.verb != "fit":
            return self._trainer(callbacks=callbacks, logger=False, enable_checkpointing=False, **kwargs)
        best = BestOnSource(directory) if self.config_init["selection"] == "source-val" else None
        self.export = ExportArtefact(directory, self.provenance(), best)
        callbacks += [best] if best is not None else []
        callbacks += [
            WaitingForData(title),
            KeyedSteps(int(self.config_init["seed_everything"])),
            OtherLayout(),
            self.costs,
            self.export,
        ]
        callbacks += [resume_checkpoint(directory, self.config_init["resume_every"]), StopWithCheckpoint(directory)]
        loggers = [] if given.get("logger") is False else [RunLogger(directory)]
        loggers += [logger for logger in _as_list(given.get("logger")) if logger is not True]
        plugins = [*_as_list(given.get("plugins")), AtomicCheckpointIO()]
        plugins += [SyncBatchNorm()] if given.get("sync_batchnorm") else []
        return self._trainer(callbacks=callbacks, logger=loggers or False, plugins=plugins, **kwargs)

    def _trainer(self, **settings: Any) -> L.Trainer:
        try:
            trainer = super().instantiate_trainer(**settings)
        except (MisconfigurationException, ValueError) as error:
            raise UserError(f"trainer: {' '.join(str(error).split())}") from error
        if self.config_init["trainer"].get("sync_batchnorm") and trainer.strategy.root_device.type == "cpu":
            raise UserError("trainer.sync_batchnorm: PyTorch has it for GPUs alone; leave it out on a CPU")
        return trainer

    def plain_config(self) -> dict[str, Any]:
        """The resolved configuration in plain values."""
        options = {"skip_none": False, "skip_validation": True, "skip_link_targets": False}  # parsing has validated it
        config: dict[str, Any] = parse_dumped(self.parser.dump(self.config, format="yaml", **options))
        config.pop("config", None)
        return config

    def provenance(self) -> dict[str, Any]:
        """What an artefact's record says about its making."""
        config = self.plain_config()
        config["trainer"].pop("default_root_dir", None)
        for key in ("ckpt_path", "resume_every", "title"):  # how it was run, not what was run
            config.pop(key, None)
        return {
            "seed": config["seed_everything"],
            "config_sha256": canonical_hash(config),
            "config": config,
            "inputs": input_files(config),
            "git_commit": git_commit(),
            "versions": versions(),
        }

    def run(self) -> None:
        """Do what the verb says.

        Raises:
            UserError: for a checkpoint that is missing, unreadable or of another architecture.
            KeyboardInterrupt: on Ctrl-C, with the checkpoint to resume from as its message.
        """
        checkpoint = self.config["ckpt_path"]
        if checkpoint is not None and not Path(checkpoint).is_file():
            raise UserError(f"ckpt_path: {checkpoint}: no such checkpoint")
        method, folder = getattr(self.trainer, self.verb), Path(self.trainer.default_root_dir)
        alone = locked(folder) if self.verb == "fit" and rank_zero_only.rank == 0 else nullcontext()
        with alone:
            self._run(method, checkpoint)

    def _run(self, method: Callable[..., Any], checkpoint: str | None) -> None:
        try:
            options = {} if self.verb == "fit" else {"verbose": False}
            method(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True, **options)
            if self.verb == "fit" and self.trainer.is_global_zero:
                write_json(Path(self.trainer.default_root_dir) / COSTS, self.costs.asdict(self.trainer))
        except SystemExit as end:  # Lightning exits on Ctrl-C after its own shutdown
            if self.trainer.interrupted:
                signal.signal(signal.SIGINT, signal.default_int_handler)  # which that shutdown has switched off
                raise KeyboardInterrupt(str(Path(self.trainer.default_root_dir))) from end
            raise
        except MisconfigurationException as error:
            raise UserError(f"trainer: {' '.join(str(error).split())}") from error
        except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
            problem = checkpoint_problem(error)
            if checkpoint is None or problem is None:
                raise
            raise UserError(f"ckpt_path: {checkpoint}: {problem}") from error
        finally:
            finish_wandb(self.trainer.loggers)


def _as_list(value: Any) -> list[Any]:
    if value is None or value is False:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
