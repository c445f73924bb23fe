"""The data sets that a configuration fragment names, built without model or trainer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import jsonargparse

from gkd_lightning.data import ImageDataset
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import check_numbers
from gkd_lightning.recipes.constructors import told_by_key
from gkd_lightning.recipes.fragments import arguments, find_fragment
from gkd_lightning.recipes.parser_messages import explain
from gkd_lightning.recipes.yaml_text import interpolate, read_yaml


def datasets_of(fragment: str) -> dict[str, ImageDataset]:
    """Data sets by name: `dataset` of a training fragment with its `val` sets, `domains` of an evaluation.

    Raises:
        UserError: no such fragment, none in it, or arguments that a data set does not take.
    """
    path = find_fragment(fragment)
    found = dataset_specs(interpolate(read_yaml(path)))
    if not found:
        raise UserError(f"{path}: names no data set (data.init_args.dataset, .val or .domains)")
    return {name: build_dataset(str(path), name, value) for name, value in found.items()}


def dataset_specs(config: Mapping[str, Any]) -> dict[str, Any]:
    """The `class_path` and `init_args` of every data set that a configuration names, by its name there."""
    data = arguments(config, "data")
    found = {"dataset": data["dataset"]} if data.get("dataset") is not None else {}
    for key in ("val", "domains"):
        found |= data[key] if isinstance(data.get(key), Mapping) else {}
    return found


def build_dataset(where: str, name: str, value: Any) -> ImageDataset:
    """A data set from its specification.

    Args:
        where: the file that names it, for messages.
        name: its name there.
        value: `class_path` and `init_args`.

    Raises:
        UserError: arguments that it does not take.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--dataset", type=ImageDataset)  # not `name`: argparse would rewrite its hyphens
    try:
        parsed = parser.parse_object({"dataset": value})
        check_numbers(parsed, {})
        with told_by_key(parsed.as_dict(), {}):
            built = parser.instantiate(parsed)
    except argparse.ArgumentError as error:
        raise UserError(f"{where}: {name}: {explain(str(error), {'dataset': object})}") from error
    dataset: ImageDataset = built["dataset"]
    return dataset
