"""Configuration fragments put together: merged, mounted at a key, changed by ``key=value``.

Nothing here imports torch, so that a plan of a whole study costs no start-up time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gkd_lightning.errors import UserError, nearest
from gkd_lightning.files import shipped_root
from gkd_lightning.recipes.yaml_text import read_yaml

Config = dict[str, Any]
Fragment = str | Mapping[str, str]
"""A file, or ``{dotted.key: file}``: the file's mapping is mounted at the key."""

_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def merge(base: Config, overlay: Mapping[str, Any]) -> Config:
    """`base` with `overlay` on top: mappings merge, anything else replaces.

    A changed ``class_path`` drops the arguments that belonged to the old class. (Setting ``model.class_path`` keeps
    them: for a subclass that takes them too.) So does one in the place of the default's bare arguments, such as
    another head's in the place of Mask2Former's.
    """
    result = copy.deepcopy(base)
    if "class_path" in overlay:
        other = base.get("class_path", overlay["class_path"]) != overlay["class_path"]
        result = {key: value for key, value in result.items() if key in _CLASS_KEYS and not other}
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(dict(value) if isinstance(value, Mapping) else value)
    return result


def _parent(config: Config, key: str) -> tuple[Config, str]:
    """The mapping that holds dotted `key`, made where it is missing, and the key's last part.

    ``model.alpha`` steps into ``model.init_args.alpha`` where ``model`` names a class.
    """
    node = config
    *sections, last = key.split(".")
    if not all((*sections, last)):
        raise UserError(f"{key!r}: not a dotted key such as model.alpha")
    for part in sections:
        node = _arguments(node, part)
        if node.get(part) is None:
            node[part] = {}
        if not isinstance(node[part], dict):
            raise UserError(f"{key}: '{part}' is a value, not a section, so nothing can be set inside it")
        node = node[part]
    return _arguments(node, last), last


def _arguments(node: Config, part: str) -> Config:
    if "class_path" in node and part not in _CLASS_KEYS:
        arguments: Config = node.setdefault("init_args", {})
        return arguments
    return node


def set_value(config: Config, key: str, value: Any) -> None:
    """Set dotted `key` of `config` in place."""
    node, last = _parent(config, key)
    node[last] = copy.deepcopy(value)


def changed(config: Mapping[str, Any], values: Mapping[str, Any]) -> Config:
    """A copy of `config` with other values at dotted keys."""
    copied = copy.deepcopy(dict(config))
    for key, value in values.items():
        set_value(copied, key, value)
    return copied


def get_value(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Value at dotted `key`, with the same stepping into ``init_args``."""
    node: Any = config
    for part in key.split("."):
        if isinstance(node, Mapping) and "class_path" in node and part not in _CLASS_KEYS:
            node = node.get("init_args") or {}
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def arguments(config: Mapping[str, Any], section: str) -> Config:
    """What a section holds: its `init_args` where it names a class. Empty for one that is missing or no mapping."""
    found = config.get(section)
    if isinstance(found, Mapping) and ("class_path" in found or "init_args" in found):
        found = found.get("init_args")
    return found if isinstance(found, dict) else {}


def teachers_of(model: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Specifications of the encoders that a model's arguments say it learns from; a single one is called `teacher`."""
    several = model.get("teachers")
    if isinstance(several, Mapping):
        found = {str(name): spec.get("encoder") for name, spec in several.items() if isinstance(spec, Mapping)}
    else:
        found = {"teacher": model.get("teacher")}
    return {name: spec for name, spec in found.items() if isinstance(spec, Mapping)}


def mount(config: Config, key: str, fragment: Mapping[str, Any]) -> None:
    """Merge `fragment` into the section at dotted `key`, in place."""
    node, last = _parent(config, key)
    section = node.get(last)
    node[last] = merge(section, fragment) if isinstance(section, dict) else copy.deepcopy(dict(fragment))


def find_fragment(name: str, beside: Path | None = None) -> Path:
    """A fragment's file, or the one of that name below the shipped ``configs/``.

    Args:
        name: as a recipe or the command line has it.
        beside: folder of the recipe that names it; None for the command line, which means the working folder.

    Raises:
        UserError: if it is nowhere; the message names the nearest shipped fragment.
    """
    configs = shipped_root() / "configs"
    candidates = [(beside or Path()) / Path(name).expanduser(), configs / name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = [path.relative_to(configs).as_posix() for path in configs.rglob("*.yaml")]
    raise UserError(f"{name}: no such configuration fragment{nearest(name, known)}")


def compose(fragments: Iterable[Fragment], beside: Path | None = None, base: Config | None = None) -> Config:
    """Merge fragments in order; a later one wins.

    A dotted key at the top of a fragment is set as on the command line, after the rest of the fragment:
    ``model.class_path: …`` keeps the arguments that are there.
    """
    config: Config = copy.deepcopy(base) if base else {}
    for fragment in fragments:
        if isinstance(fragment, str):
            config = _laid_on(config, read_yaml(find_fragment(fragment, beside)))
        else:
            for key, name in fragment.items():
                mount(config, key, read_yaml(find_fragment(name, beside)))
    return config


def _laid_on(config: Config, fragment: Mapping[str, Any]) -> Config:
    config = merge(config, {key: value for key, value in fragment.items() if "." not in key})
    for key, value in fragment.items():
        if "." in key:
            set_value(config, key, value)
    return config
