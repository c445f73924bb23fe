"""What makes two stages the same: a hash of what they compute, whatever they are run on."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gkd_lightning.files import asset, canonical_hash, file_sha256
from gkd_lightning.recipes import Config, arguments, interpolate

ARTEFACTS = ("segmenter.safetensors", "student.safetensors")
"""What stages hand on."""
_HOW: Mapping[str, frozenset[str]] = {
    "trainer": frozenset(
        {
            "accelerator",
            "devices",
            "num_nodes",
            "strategy",
            "accumulate_grad_batches",
            "logger",
            "log_every_n_steps",
            "enable_progress_bar",
            "enable_model_summary",
            "default_root_dir",
            "profiler",
            "benchmark",
        }
    ),
    "model": frozenset({"compile", "activation_checkpointing", "health_every_n_steps", "offload"}),
    "data": frozenset({"num_workers"}),
}
"""Settings of each section that say how a stage is run, at the same global batch, and not what it computes."""
_HOW_AT_THE_TOP = frozenset({"title", "resume_every"})
_WATCHERS = (
    "gkd_lightning.chain.callbacks.",
    "lightning.pytorch.callbacks.DeviceStatsMonitor",
    "lightning.pytorch.callbacks.LearningRateMonitor",
    "lightning.pytorch.callbacks.ModelSummary",
    "lightning.pytorch.callbacks.RichModelSummary",
    "lightning.pytorch.callbacks.RichProgressBar",
    "lightning.pytorch.callbacks.TQDMProgressBar",
    "lightning.pytorch.callbacks.ThroughputMonitor",
)
"""Callbacks that look on. Any other may change what is trained, so it counts."""


def stage_hash(config: Config) -> str:
    """SHA-256 of what a stage computes: its configuration and the files it names, a parent's hash among its values.

    Files count by their content, so a retrained teacher under the same name is another stage. How a stage is run does
    not count: moved from eight devices to four with two accumulated batches it goes on where it was.
    """
    counted = copy.deepcopy({key: value for key, value in config.items() if key not in _HOW_AT_THE_TOP})
    trainer = arguments(counted, "trainer")
    # A whole limit counts micro-batches, so that their number in a step decides how many steps an epoch has.
    in_batches = isinstance(trainer.get("limit_train_batches"), int)
    for name, keys in _HOW.items():
        section = counted.get(name)
        if not isinstance(section, dict):
            continue
        values = arguments(counted, name)
        for key in keys - ({"accumulate_grad_batches"} if in_batches else set()):
            values.pop(key, None)
        if "callbacks" in values and not (acting := _acting(values["callbacks"])):
            values.pop("callbacks")
        elif "callbacks" in values:
            values["callbacks"] = acting
        if section.get("init_args") == {}:
            section.pop("init_args")
        if section == {}:
            counted.pop(name)
    return canonical_hash(_with_file_contents(counted))


def _acting(callbacks: Any) -> list[Any]:
    given = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    return [each for each in given if not str(_class_path(each)).startswith(_WATCHERS)]


def _class_path(callback: Any) -> Any:
    return callback.get("class_path") if isinstance(callback, Mapping) else callback


def _with_file_contents(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): _with_file_contents(item, f"{key}.{name}" if key else str(name)) for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_file_contents(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith("asset:"):
        return {"sha256": content_hash(asset(value.removeprefix("asset:") + ".safetensors"))}
    named = named_file(interpolate(value, key))
    if named is None:
        return value  # with its variables unreplaced: a moved data folder is still the same data
    record = named.with_suffix(".json")
    if named.suffix != ".safetensors" or not record.is_file():
        return {"sha256": content_hash(named)}
    return {"sha256": content_hash(named), "record": _described(record)}


def named_file(text: str) -> Path | None:
    """The file that a value of a configuration names; None for any other text, such as a class that is called like one.

    A folder of an artefact names its weights.
    """
    if len(text) >= 1024 or "\n" in text or not ("/" in text or Path(text).suffix):
        return None
    path = Path(text).expanduser()
    if path.is_dir():
        return next((path / name for name in ARTEFACTS if (path / name).is_file()), None)
    return path if path.is_file() else None


def _described(record: Path) -> Any:
    """What a record says beside how it came to be; its text if it is not one."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return content_hash(record)
    if isinstance(found, dict):
        return {key: value for key, value in found.items() if key not in ("provenance", "versions", "loaded", "judged")}
    return found


def content_hash(path: Path) -> str:
    """SHA-256 of a file, remembered while its size and time of change stay."""
    state = path.stat()
    return _cached_hash(str(path), state.st_mtime_ns, state.st_size)


@functools.lru_cache
def _cached_hash(path: str, modified: int, size: int) -> str:
    return file_sha256(path)
