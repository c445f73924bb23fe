"""A file with several models: one is taken, it is said which, and `weights_key` takes another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from safetensors.torch import save_file

from gkd_lightning.cli import main
from gkd_lightning.encoders import Encoder, EncoderSpec, build_encoder, export_encoder, load_student
from gkd_lightning.errors import UserError
from tests.encoders.test_layouts import under
from tests.encoders.test_published import State

SPEC = EncoderSpec(
    "vit_tiny_patch16_224", image_size=32, patch_size=8, options={"embed_dim": 16, "depth": 2, "num_heads": 2}
)


def filled(value: float) -> State:
    """A model's tensors, all of one value, by which it is known again."""
    return {key: torch.full_like(tensor, value) for key, tensor in build_encoder(SPEC).model.state_dict().items()}


def loaded_from(path: Path, **changes: Any) -> Encoder:
    return build_encoder(EncoderSpec(**{**vars(SPEC), "weights": str(path), **changes}))


def value_of(encoder: Encoder) -> float:
    values = {value for tensor in encoder.model.state_dict().values() for value in tensor.unique().tolist()}
    assert len(values) == 1
    return float(values.pop())


OPTIMIZER = {
    "state": {0: {"exp_avg": torch.ones(3), "step": torch.ones(())}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}
ONE, TWO, THREE = filled(1.0), filled(2.0), filled(3.0)
FILES: dict[str, tuple[Any, list[str]]] = {
    "dino": (
        {
            "student": under("module.backbone.", TWO),
            "teacher": {**under("backbone.", ONE), "head.weight": torch.ones(1)},
            "optimizer": OPTIMIZER,
        },
        ["teacher.backbone", "student.backbone"],
    ),
    "timm": (
        {"epoch": 3, "state_dict": ONE, "state_dict_ema": TWO, "optimizer": OPTIMIZER},
        ["state_dict", "state_dict_ema"],
    ),
    "deit": ({"model_ema": TWO, "model": ONE, "args": {}}, ["model", "model_ema"]),
    "gkd": (
        {
            "model": {
                **under("teacher.backbone.", TWO),
                **under("student.backbone.", ONE),
                "fea_head.weight": torch.ones(1),
            }
        },
        ["model.student.backbone", "model.teacher.backbone"],
    ),
    "lightning": (
        {
            "state_dict": {**under("net.", ONE), **under("ema.module.", TWO), **under("old._orig_mod.", THREE)},
            "loops": {},
        },
        ["state_dict.net", "state_dict.ema", "state_dict.old"],
    ),
    "jepa": (
        {"encoder": under("module.", ONE), "target_encoder": under("module.", TWO)},
        ["encoder", "target_encoder"],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_choice_is_told_and_another_can_be_made(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, places = FILES[name]
    torch.save(content, path := tmp_path / "several.pth")
    encoder = loaded_from(path)
    assert value_of(encoder) == 1.0
    line = f"took {places[0]}, not {', '.join(places[1:])}: weights_key takes another"
    assert capsys.readouterr().out == f"{path}: {line}\n"
    assert str(encoder.loaded).splitlines()[0] == line
    for value, place in enumerate(places, start=1):
        encoder = loaded_from(path, weights_key=place)
        assert value_of(encoder) == value
        assert capsys.readouterr().out == f"{path}: took {place}\n"


@pytest.mark.parametrize("key", ["student", "student.module", "student.backbone", "student.module.backbone"])
def test_a_key_may_be_a_beginning_and_leave_wrappers_out(key: str, tmp_path: Path) -> None:
    torch.save(FILES["dino"][0], path := tmp_path / "several.pth")
    assert value_of(loaded_from(path, weights_key=key)) == 2.0


def test_what_lies_under_a_key_may_be_several(tmp_path: Path) -> None:
    torch.save({"a": FILES["gkd"][0], "b": THREE}, path := tmp_path / "several.pth")
    assert str(loaded_from(path, weights_key="a.model").loaded).startswith(
        "took a.model.student.backbone, not a.model.teacher."
    )


@pytest.mark.parametrize(
    "content",
    [{"model": ONE}, {"model": {"module": ONE}}, {"model": under("net.", ONE)}],
    ids=["plain", "wrapped", "net"],
)
def test_where_there_is_nothing_to_choose_a_key_has_to_exist(content: Any, tmp_path: Path) -> None:
    torch.save(content, path := tmp_path / "one.pth")
    assert value_of(loaded_from(path, weights_key="model")) == 1.0


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (FILES["dino"][0], "teachr.backbone", r"weights_key: teachr\.backbone is not in .*several\.pth, did you mean "
         r"'teacher\.backbone'\? \(teacher\.backbone, student\.backbone\)"),
        (FILES["timm"][0], "ema", r"ema is not in .* \(state_dict, state_dict_ema\)"),
        (FILES["timm"][0], "state_dic", r"state_dic is not in"),
        ({"net": {"odd": ONE["norm.bias"]}}, "not", r"not is not in .*, did you mean 'net'\? \(net\)"),
        (ONE, "teacher", "teacher is not in .* (one model at its top: leave weights_key out)"),
    ],
    ids=["typing", "half a word", "half a key", "unknown", "one"],
)  # fmt: skip
def test_a_key_that_the_file_lacks(content: Any, key: str, message: str, tmp_path: Path) -> None:
    torch.save(content, path := tmp_path / "several.pth")
    with pytest.raises(UserError, match=message.replace("(one", r"\(one").replace("out)", r"out\)")) as caught:
        loaded_from(path, weights_key=key)
    assert "\n" not in str(caught.value)


def test_safetensors_with_prefixes_hold_several_too(tmp_path: Path) -> None:
    save_file({**under("student.", TWO), **under("teacher.", ONE)}, path := tmp_path / "several.safetensors")
    assert value_of(loaded_from(path)) == 2.0
    assert value_of(loaded_from(path, weights_key="teacher")) == 1.0


def test_a_model_that_does_not_fit_says_what_else_there_is(tmp_path: Path) -> None:
    deeper = build_encoder(EncoderSpec(**{**vars(SPEC), "options": {**SPEC.options, "depth": 3}})).model.state_dict()
    torch.save({"teacher": deeper, "student": ONE}, path := tmp_path / "several.pth")
    with pytest.raises(UserError, match=r"has 'blocks\.2.* took teacher, not student: weights_key takes another"):
        loaded_from(path)
    assert value_of(loaded_from(path, weights_key="student")) == 1.0


def test_values_of_what_is_left_out_do_not_count(tmp_path: Path) -> None:
    broken = {**TWO, "norm.bias": torch.full((16,), torch.nan)}
    torch.save({"model": ONE, "model_ema": broken}, path := tmp_path / "several.pth")
    assert value_of(loaded_from(path)) == 1.0
    with pytest.raises(UserError, match=r"hold NaN or infinity, first norm\.bias"):
        loaded_from(path, weights_key="model_ema")


def test_a_key_belongs_to_a_file(tmp_path: Path) -> None:
    assert build_encoder(EncoderSpec(**{**vars(SPEC), "weights_key": "teacher"})).loaded is None
    with pytest.raises(UserError, match="weights_key: teacher chooses in a file, and weights: pretrained is timm's"):
        loaded_from(Path("pretrained"), weights_key="teacher")


def test_one_process_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(FILES["timm"][0], path := tmp_path / "several.pth")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    loaded_from(path)
    assert capsys.readouterr().out == ""


def test_the_record_of_a_student_is_as_it_was_and_says_which(tmp_path: Path) -> None:
    """Records count in the hashes of stages that start from them."""
    torch.save(FILES["timm"][0], path := tmp_path / "several.pth")
    student = loaded_from(path, weights_key="state_dict_ema")
    artefact = export_encoder(student, tmp_path, stage="converted", provenance={})
    record = json.loads((tmp_path / "student.json").read_text())
    assert list(record["encoder"]) == [
        "name", "weights", "image_size", "patch_size", "resize", "normalization", "options", "tolerate",
    ]  # fmt: skip
    assert record["loaded"].splitlines()[0] == "took state_dict_ema"
    assert value_of(load_student(artefact)) == 2.0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {
        name: build_encoder(EncoderSpec("vit_tiny_patch16_224")).model.state_dict() for name in ("student", "teacher")
    }
    torch.save(models, path := tmp_path / "several.pth")
    check = [str(path), "--model", "vit_tiny_patch16_224"]
    assert main(["weights", "check", *check]) == 0
    assert f"{path}: took teacher, not student: weights_key takes another\n" in capsys.readouterr().out
    out = ["--out", str(tmp_path / "student")]
    assert main(["weights", "convert", *check, *out, "--weights-key", "student"]) == 0
    assert "\ntook student\n" in capsys.readouterr().out
    found = load_student(tmp_path / "student").model.state_dict()
    assert all(torch.equal(value, models["student"][key]) for key, value in found.items())
    assert json.loads((tmp_path / "student/student.json").read_text())["provenance"]["weights_key"] == "student"
    assert main(["weights", "check", *check, "--weights-key", "ema"]) == 2
    assert capsys.readouterr().err == f"gkd: encoder: weights_key: ema is not in {path} (teacher, student)\n"
