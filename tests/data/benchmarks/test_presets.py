"""Named protocols: the sizes that the official evaluation works at, and what a user's own rule overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.data import Protocol, TargetDataModule
from gkd_lightning.data.benchmarks import ACDC, BDD100K, GTAV, Cityscapes, FoggyZurich, Mapillary, Synthia, UrbanSyn
from gkd_lightning.data.modules import preset_protocol
from gkd_lightning.data.protocol import fitted_size
from gkd_lightning.errors import UserError
from tests.data.helpers import Scribbles

SHAPES = json.loads((Path(__file__).parents[2] / "golden/fixtures/x_resize_shapes.json").read_text())
INPUTS = {"cityscapes": (2048, 1024), "bdd100k": (1280, 720), "gtav": (1914, 1052), "acdc": (1920, 1080)}


def test_official_sizes_give_the_official_shapes() -> None:
    sets = {"cityscapes": Cityscapes, "bdd100k": BDD100K, "gtav": GTAV, "acdc": ACDC, "synthia": Synthia}
    boxes = {name: preset_protocol("gkd-official", name, kind("x")).size for name, kind in sets.items()}
    assert boxes == {
        "cityscapes": (1024, 512), "bdd100k": (1280, 720), "gtav": (1280, 720), "acdc": (960, 540),
        "synthia": (2560, 1580),
    }  # fmt: skip
    assert preset_protocol("gkd-official", "mapillary", Mapillary("x")).size == (1024, 512)
    official = SHAPES["test_keep_ratio (input WxH, scale) -> new WxH"]
    for name, (width, height) in INPUTS.items():
        box = boxes[name]
        assert box is not None
        assert list(fitted_size(width, height, box)) == official[f"{width}x{height} @ ({box[0]}, {box[1]})"]


def test_every_domain_has_its_own_rule() -> None:
    domains = {"cityscapes": Cityscapes("x", "val"), "bdd100k": BDD100K("x", "val")}
    module = TargetDataModule(domains, protocol="gkd-official")
    assert module.protocol_of("cityscapes") == Protocol("fit", (1024, 512), split="val", id_map="cityscapes-19")
    assert module.protocol_of("bdd100k").size == (1280, 720)
    own = Protocol("exact", (512, 256))
    module = TargetDataModule(domains, protocol="gkd-official", protocols={"bdd100k": own})
    assert (module.protocol_of("bdd100k"), module.protocol_of("cityscapes").size) == (own, (1024, 512))
    module = TargetDataModule(domains, protocol=own)
    assert module.protocol_of("bdd100k") == module.protocol_of("cityscapes") == own


def test_full_resolution() -> None:
    acdc = preset_protocol("full-resolution", "night", ACDC("x", "val", "night"))
    assert (acdc.resize, acdc.size, acdc.split) == ("none", None, "night val")
    assert preset_protocol("full-resolution", "m", Mapillary("x", half=False)).split == "val v1.2"
    with pytest.raises(UserError, match=r"domains.m: is read at reduced size, set half: false"):
        preset_protocol("full-resolution", "m", Mapillary("x"))


def test_what_a_preset_does_not_know() -> None:
    with pytest.raises(UserError, match="knows published data sets only, and mine is a Scribbles"):
        TargetDataModule({"mine": Scribbles(1)}, protocol="gkd-official")
    for unknown in (UrbanSyn("x"), FoggyZurich("x")):
        with pytest.raises(UserError, match="has no rule for u"):
            preset_protocol("gkd-official", "u", unknown)
    assert preset_protocol("full-resolution", "u", FoggyZurich("x")).split == "testv2"
    with pytest.raises(UserError, match="no preset 'official'; give one of gkd-official, full-resolution"):
        preset_protocol("official", "c", Cityscapes("x"))
    with pytest.raises(UserError, match="protocols: 'bdd' is none of the domains cityscapes"):
        TargetDataModule({"cityscapes": Cityscapes("x")}, protocols={"bdd": Protocol()})


def test_a_domain_with_a_rule_of_its_own_needs_none_of_the_preset() -> None:
    own = Protocol("fit", (960, 540))
    domains: dict[str, Any] = {"city": Cityscapes("x"), "zurich": FoggyZurich("x")}
    with pytest.raises(UserError, match="no rule for zurich"):
        TargetDataModule(domains, protocol="gkd-official")
    data = TargetDataModule(domains, protocol="gkd-official", protocols={"zurich": own})
    assert data.protocol_of("zurich") == own
    assert data.protocol_of("city") == preset_protocol("gkd-official", "city", domains["city"])
