"""YAML as configurations and recipes use it: plain numbers, no duplicate keys, values from the environment."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import yaml

from gkd_lightning.errors import UserError

try:
    from yaml import CSafeLoader as _SafeLoader  # ten times as fast; PyYAML may have been built without it
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

_ENVIRONMENT = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\.\d[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.(inf|nan))$"
)


class _Once(yaml.constructor.SafeConstructor):
    """Refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' is written twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Loader(_Once, yaml.SafeLoader):
    """`yaml.SafeLoader` that reads ``1e-4`` as a number and refuses a key written twice."""


class _FastLoader(_Once, _SafeLoader):
    """The same by libyaml, which tells mistakes in other words and places."""


for _loader in (_Loader, _FastLoader):
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


class _Dumper(yaml.SafeDumper):
    """`yaml.SafeDumper` without anchors: a composed configuration shows every value where it counts."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


MOST_VALUES = 1_000_000
"""Of a file, each counted wherever an anchor repeats it."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises `yaml.YAMLError`, also for anchors that repeat themselves or without bounds."""
    try:
        value = yaml.load(text, Loader=_FastLoader)  # a safe one
    except yaml.YAMLError:
        value = yaml.load(text, Loader=_Loader)  # for the same message everywhere
    if _values(value, {}) > MOST_VALUES:
        raise yaml.YAMLError(f"its anchors make more than {MOST_VALUES:,} values of it, or one that holds itself")
    return _apart(value)


def _apart(value: Any) -> Any:
    """A copy in which every alias is a value of its own: setting a key of one changes no other."""
    if isinstance(value, dict):
        return {key: _apart(item) for key, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def _values(value: Any, known: dict[int, float]) -> float:
    """How many values there are with every alias written out; infinite for one inside itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf  # while its own are counted
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_values(item, known) for item in items)
    return known[id(value)]


def parse_dumped(text: str) -> Any:
    """The value of a text that PyYAML itself has written, by its own rules."""
    return yaml.load(text, Loader=_SafeLoader)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: if the file is missing, not YAML, or not a mapping.
    """
    path = Path(path)
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {yaml_problem(error)}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected keys and values at the top, found {type(value).__name__}")
    return value


def yaml_problem(error: yaml.YAMLError) -> str:
    """One line about a YAML error: position and problem."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def dump_yaml(value: Any) -> str:
    """YAML text of plain values, in the given order, without anchors."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def interpolate(value: Any, key: str = "") -> Any:
    """Replace ``${env:NAME}`` in every string by the environment variable.

    Raises:
        UserError: if a variable is not set; the message names the key.
    """
    if isinstance(value, dict):
        return {name: interpolate(item, f"{key}.{name}" if key else str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            where = f"{key.replace('.init_args', '')}: " if key else ""
            raise UserError(f"{where}{match.group(0)} needs the environment variable {name}, set it: export {name}=…")
        return os.environ[name]

    return _ENVIRONMENT.sub(lookup, value)
