"""What is known of the rights in what a student was made from; what is not known is said to be unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import PurePath
from typing import Any, NamedTuple

import timm

from gkd_lightning.data.benchmarks import Card

UNKNOWN = "unknown: fill in"
OURS = "Apache-2.0, part of gkd-lightning"


class Terms(NamedTuple):
    """A licence of weights."""

    title: str
    commercial: str
    """Whether the weights may be used commercially: ``yes``, ``no``, ``on its terms``, ``unknown``."""


TERMS = {
    "apache-2.0": Terms("Apache-2.0", "yes"),
    "mit": Terms("MIT", "yes"),
    "cc-by-nc-4.0": Terms("CC-BY-NC-4.0", "no"),
    "dinov3-license": Terms("DINOv3 License", "on its terms"),
    "nvidia-open-model-license": Terms("NVIDIA Open Model License", "on its terms"),
    "apple-ascl": Terms("Apple Sample Code License", "on its terms"),
    "apple-amlr": Terms("Apple Machine Learning Research License", "no"),
    "fair-noncommercial-research-license": Terms("FAIR Noncommercial Research License", "no"),
}
"""By timm's name of a licence; no legal advice: read it before you use what it is for."""
FILES = {"franca_vit": Terms("Franca's RAIL-AMS, research only", "no")}
"""By how the name of its authors' file begins, for what timm does not have."""


class Source(NamedTuple):
    """Something that a student was made from."""

    part: str
    """``teacher``, ``first weights`` or ``data``."""
    name: str
    licence: str
    homepage: str = ""
    identifier: str = ""
    """Its name on the Hugging Face Hub if it is a model of timm's, the short name of a published data set."""


def sources(stages: Mapping[str, Mapping[str, Any]]) -> list[Source]:
    """Teachers, first weights and training data of all stages, each once.

    Args:
        stages: configurations by stage, as `results.json` has them (``provenance.config``).
    """
    found: list[Source] = []
    for config in stages.values():
        found += _models(config.get("model"))
        found += [source for each in _datasets(config.get("data")) if (source := _data(each)) is not None]
    order = ("teacher", "first weights", "data")
    return sorted(dict.fromkeys(found), key=lambda each: order.index(each.part))


def _models(config: Any, key: str = "") -> Iterator[Source]:
    """Every encoder's specification below `config`, which is a mapping with a name and weights."""
    if not isinstance(config, Mapping):
        return
    name, weights = config.get("name"), config.get("weights")
    if isinstance(name, str) and isinstance(weights, str) and not weights.startswith("artefact:"):
        yield _model("teacher" if "teacher" in key else "first weights", name, weights)
    for inner, value in config.items():
        yield from _models(value, f"{key}.{inner}")


def terms_of(name: str, weights: str | None) -> Terms:
    """The licence of an encoder's weights, `EncoderSpec`'s two fields: timm's word for its own files, ours for ours,
    a known file's authors' for theirs."""
    if weights is None:
        return Terms("random weights", "yes")
    if weights.startswith("asset:"):
        return TERMS["apache-2.0"]
    for beginning, terms in FILES.items():
        if PurePath(weights).name.startswith(beginning):
            return terms
    known = _of_timm(name, weights)
    told = None if known is None else known.license
    return TERMS.get(told, Terms(told, "unknown")) if told else Terms("unknown", "unknown")


def _of_timm(name: str, weights: str | None) -> Any:
    """What timm says about weights of its own; None for any others."""
    if weights != "pretrained" and not (weights or "").startswith("timm:"):
        return None
    published = name if weights == "pretrained" else str(weights).removeprefix("timm:")
    return timm.get_pretrained_cfg(published, allow_unregistered=True)


def _model(part: str, name: str, weights: str) -> Source:
    if weights.startswith("asset:"):
        return Source(part, f"{weights.removeprefix('asset:')} ({name})", OURS)
    published = name if weights == "pretrained" else weights.removeprefix("timm:")
    if weights == "pretrained" or weights.startswith("timm:"):
        known = _of_timm(name, weights)
        where = known.hf_hub_id if known is not None else None
        page = f"https://huggingface.co/{where}" if where else ""
        told = f"{known.license}, according to timm" if known is not None and known.license else UNKNOWN
        return Source(part, published, told, page, where or "")
    terms = terms_of(name, weights)
    licence = UNKNOWN if terms.commercial == "unknown" else terms.title
    return Source(part, f"{name}, weights from {PurePath(weights).name}", licence)


def _datasets(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every ``class_path`` with its arguments that holds no other: the data sets inside modules and wrappers."""
    if isinstance(config, list):
        for value in config:
            yield from _datasets(value)
    if isinstance(config, Mapping):
        inner = [found for value in config.values() for found in _datasets(value)]
        yield from inner
        if not inner and "class_path" in config:
            yield config


def _data(config: Mapping[str, Any]) -> Source | None:
    path = str(config["class_path"])
    kind = _ours(path)
    if kind is not None and not hasattr(kind, "image"):
        return None  # no data set, but what cuts or augments
    card = getattr(kind, "card", None)
    if isinstance(card, Card):
        return Source("data", card.title, card.licence, card.homepage, card.name)
    name = path.rpartition(".")[2]
    if kind is not None and name.startswith("MiniCity"):
        return Source("data", f"{name}, rendered", OURS)
    arguments = config.get("init_args") or {}
    folder = arguments.get("root") or arguments.get("images")
    return Source("data", f"{name}, {PurePath(folder).name}" if isinstance(folder, str) else name, UNKNOWN)


def _ours(path: str) -> Any:
    """The class of this package that a path names; None for any other, whose code is not run for a card."""
    module, _, name = path.rpartition(".")
    if not path.startswith("gkd_lightning."):
        return None
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None
