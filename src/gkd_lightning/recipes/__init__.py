"""What a user writes: YAML, fragments, recipes, rows, swaps; how they are checked, what is said about mistakes."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.recipes.benchmark import FULL, Part, load_benchmark, load_profile
    from gkd_lightning.recipes.constructors import told_by_key
    from gkd_lightning.recipes.datasets import build_dataset, dataset_specs, datasets_of
    from gkd_lightning.recipes.fragments import (
        Config,
        arguments,
        changed,
        compose,
        find_fragment,
        get_value,
        set_value,
        teachers_of,
    )
    from gkd_lightning.recipes.parser_messages import explain
    from gkd_lightning.recipes.recipe import (
        EVALUATE,
        Basis,
        MethodRecipe,
        Recipe,
        StageRecipe,
        parse_setting,
        split_scope,
    )
    from gkd_lightning.recipes.recipe_reader import load_recipe, shipped_recipes
    from gkd_lightning.recipes.rivals import Rival
    from gkd_lightning.recipes.swapped_fragments import FRAGMENT, Swap, require_used, swapped
    from gkd_lightning.recipes.yaml_text import dump_yaml, interpolate, parse_dumped, parse_yaml, read_yaml

__all__ = [
    "Basis",
    "Config",
    "EVALUATE",
    "FRAGMENT",
    "FULL",
    "MethodRecipe",
    "Part",
    "Recipe",
    "Rival",
    "StageRecipe",
    "Swap",
    "arguments",
    "build_dataset",
    "changed",
    "compose",
    "dataset_specs",
    "datasets_of",
    "dump_yaml",
    "explain",
    "find_fragment",
    "get_value",
    "interpolate",
    "load_benchmark",
    "load_profile",
    "load_recipe",
    "parse_dumped",
    "parse_setting",
    "parse_yaml",
    "read_yaml",
    "require_used",
    "set_value",
    "shipped_recipes",
    "split_scope",
    "swapped",
    "teachers_of",
    "told_by_key",
]

__getattr__ = on_demand(__name__, __file__)
