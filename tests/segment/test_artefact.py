import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gkd_lightning.encoders import Frozen, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.files import file_sha256
from gkd_lightning.segment import Segmenter, load_segmenter, save_segmenter
from tests.segment.fake import HEAD, SPACE, SPEC


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Segmenter, Path]:
    torch.manual_seed(0)
    segmenter = Segmenter.for_encoder(
        Frozen(build_encoder(SPEC)), 3, HEAD, window=32, stride=20, scales=(4, 2, 1, 0.25)
    )
    path = save_segmenter(
        segmenter, tmp_path / "a", label_space=SPACE, protocol={"resize": "none"}, provenance={"seed": 1}
    )
    return segmenter, path


def test_comes_back_as_it_was(saved: tuple[Segmenter, Path]) -> None:
    segmenter, path = saved
    for where in (path, path.parent, str(path)):
        loaded, space, record = load_segmenter(where)
        assert space == SPACE
        assert (loaded.window, loaded.stride, loaded.blocks) == (32, 20, [0, 1, 2, 3])
        assert loaded.scales == [4, 2, 1, 0.25]
        assert record["versions"]["torch"] == torch.__version__
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        assert not loaded.training
        assert isinstance(loaded.encoder, Frozen)
    images = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    segmenter.eval().requires_grad_(
        False
    )  # as the loaded one is: on some CPUs a matrix product asks, and rounds otherwise
    with torch.no_grad():
        assert loaded.scores(images).equal(segmenter.scores(images))
    assert sorted(file.name for file in path.parent.iterdir()) == ["segmenter.json", "segmenter.safetensors"]


def test_missing_file(saved: tuple[Segmenter, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*missing"):
        load_segmenter(tmp_path / "nowhere")
    saved[1].with_name("segmenter.json").unlink()
    with pytest.raises(UserError, match=r"segmenter\.json: missing"):
        load_segmenter(saved[1])


def test_a_pickle_is_never_opened(saved: tuple[Segmenter, Path]) -> None:
    saved[1].write_bytes(pickle.dumps({"head": 1}))
    with pytest.raises(UserError, match="not a readable safetensors file") as caught:
        load_segmenter(saved[1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "gkd-encoder"}', '{"kind": "gkd-segmenter"}'])
def test_record_of_something_else(saved: tuple[Segmenter, Path], text: str) -> None:
    saved[1].with_name("segmenter.json").write_text(text)
    with pytest.raises(UserError, match="not the record of a segmenter"):
        load_segmenter(saved[1])


def test_weights_of_another_architecture(saved: tuple[Segmenter, Path]) -> None:
    path = saved[1]
    record = json.loads(path.with_name("segmenter.json").read_text())
    record["head"]["queries"] = 7
    path.with_name("segmenter.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="queries_embedder"):
        load_segmenter(path)


def test_missing_tensor(saved: tuple[Segmenter, Path]) -> None:
    state = load_file(saved[1])
    del state["encoder.model.pos_embed"]
    save_file(state, saved[1])
    record = saved[1].with_name("segmenter.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": file_sha256(saved[1])}))
    with pytest.raises(UserError, match=r"1 tensors do not fit .* encoder\.model\.pos_embed"):
        load_segmenter(saved[1])
